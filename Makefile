# Two commands on a fresh machine: `make demo` and `make test`. Each makes .venv first, once. `make test-long` runs the
# tests that take minutes each, and are not part of `make test`.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

# Tests start many processes: whatever the environment says, only the first one compiles the code.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-long lint clean

# The quick board for every model, on embedded data, and its leaderboard.
demo: $(INSTALLED)
	$(BIN)/latentbench run quick --out results
	$(BIN)/latentbench leaderboard quick --results results --to results/tables
	@echo "records: results/    one run: $(BIN)/latentbench show KEY"

# Files are given out in the order of tests/conftest.py. Timings want the machine to themselves, so they come last and one
# at a time; the options shorten what is measured for the report alone, for what is asserted has rounds of its own.
test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --ignore tests/performance
	$(BIN)/python -m pytest tests/performance --benchmark-max-time 0.2 --benchmark-min-rounds 3

test-long: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 --dist loadscope -m long

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "latentbench needs Python 3.11 or newer: make PYTHON=python3.12 ..." >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $@

clean:
	rm -rf .venv results .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
