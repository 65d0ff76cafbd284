"""``runs`` and ``rm``: what is there is listed as the records say it, and what is removed can be taken back."""

import json
from pathlib import Path

import pytest

from latentbench.commands.cli import main
from latentbench.records.record import Environment, Failure, Phase, Record, Value
from latentbench.records.store import Store
from latentbench.spec import UNTRAINED, Budget, RunSpec

FULL = Budget()


def spec(model: str = "vae", dataset: str = "ood", seed: int = 0, budget: Budget = FULL, **config: object) -> RunSpec:
    return RunSpec(
        model=model, model_version=1, config={"beta": 1, **config}, dataset=dataset, dataset_version=1,
        options={"pair": "a"}, split_hash="00", seed=seed, budget=budget,
    )  # fmt: skip


def save(store: Store, of: RunSpec, hour: int, *, failed: bool = False, plugin: str = "") -> Record:
    value = Value(value=0.5, metric="auroc", version=1, title="AUROC", higher_is_better=True)
    record = Record(
        key=of.key,
        status="failed" if failed else "finished",
        spec=of,
        values={} if failed else {"auroc@test": value},
        phases={"fit": Phase(seconds=60.0, peak_memory_bytes=1)},
        started="2026-01-01T00:00:00+00:00",
        finished=f"2026-01-01T{hour:02}:00:00+00:00",
        environment=Environment(
            python="3", platform="p", packages={}, cpu="c", threads=1, device="cpu",
            plugins={"model": plugin} if plugin else {}, loaded={plugin.split()[0]: plugin} if plugin else {},
        ),
        failure=Failure(type="E", message="m", traceback="t") if failed else None,
    )  # fmt: skip
    store.save_record(record)
    return record


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Six runs: four with records, one that was begun, and one that this process is at."""
    monkeypatch.chdir(tmp_path)
    store = Store(Path("results"))
    save(store, spec(seed=0), 3)
    save(store, spec(seed=1, beta=4), 2)
    save(store, spec(budget=UNTRAINED), 4)
    save(store, spec("pca", "mnist"), 1, failed=True, plugin="stranger 1.0")
    with store.lock(spec(seed=7)):
        (store.work(spec(seed=7)) / "checkpoint.pt").write_bytes(b"state")
    return store


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict]:
    assert main(["runs", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_every_run_is_listed_with_its_key_and_the_last_one_at_the_end(store: Store, capsys) -> None:
    rows = listed(capsys)
    assert [row["key"] for row in rows] == [
        spec(seed=7).key, spec("pca", "mnist").key, spec(seed=1, beta=4).key, spec(seed=0).key,
        spec(budget=UNTRAINED).key,
    ]  # fmt: skip
    assert [row["status"] for row in rows] == ["unfinished", "failed", "finished", "finished", "finished"]
    assert [row["untrained"] for row in rows] == [False, False, False, False, True]
    assert rows[1]["code"] == ["stranger 1.0"]
    assert not rows[1]["current"]
    assert rows[2]["seconds"] == 60.0

    assert main(["runs"]) == 0
    out, err = capsys.readouterr()
    header, *lines = out.splitlines()
    assert header.split() == ["key", "model", "dataset", "seed", "status", "ended", "seconds", "code", "settings"]
    assert [line.split()[0] for line in lines] == [row["key"] for row in rows]
    assert "stranger 1.0 (other)" in lines[1]
    assert lines[2].endswith("beta=4")
    assert lines[3].endswith("beta=1")
    assert "untrained vae" in lines[4]
    assert err == "5 of 5 runs in results\n"


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (["--models", "vae"], 4),
        (["--models", "vae,pca"], 5),
        (["--models", "vae", "--models", "pca"], 5),
        (["--datasets", "mnist"], 1),
        (["--models", "vae", "--datasets", "mnist"], 0),
        (["--status", "finished"], 3),
        (["--status", "failed,unfinished"], 2),
        (["--status", "running"], 0),
        (["--code", "other"], 1),
        (["--code", "current"], 4),
    ],
)
def test_filters_are_combined(store: Store, capsys, arguments: list[str], count: int) -> None:
    assert len(listed(capsys, *arguments)) == count


def test_a_run_that_a_process_is_at_is_running(store: Store, capsys) -> None:
    with store.lock(spec(seed=7)):
        assert [row["key"] for row in listed(capsys, "--status", "running")] == [spec(seed=7).key]
    assert listed(capsys, "--status", "running") == []


def test_quiet_prints_the_keys_alone(store: Store, capsys) -> None:
    assert main(["runs", "--status", "failed", "-q"]) == 0
    assert capsys.readouterr() == (f"{spec('pca', 'mnist').key}\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "vea"], "no run of model 'vea' in results: did you mean 'vae'? known: pca, vae"),
        (["--datasets", "odd"], "no run of dataset 'odd' in results: did you mean 'ood'?"),
        (["--status", "broken"], "Invalid value for '--status': there is no 'broken': known: failed, finished, "),
        (["--models", ""], "Invalid value for '--models': it names nothing"),
        (["--results", "empty"], "no runs in empty: name their folder with --results"),
    ],
)
def test_a_mistake_is_one_line(store: Store, capsys, arguments: list[str], message: str) -> None:
    assert main(["runs", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"latentbench: error: {message}")


# Finding a run


def test_a_run_is_named_by_its_key_as_the_last_one_or_by_model_dataset_and_seed(store: Store) -> None:
    last = spec(seed=0)  # the untrained twin, which ended later, is passed over
    for wanted in (last.key, last.key[:6], "last", "vae/ood/0"):
        assert store.find(wanted)[1].spec == last
    assert store.find("pca/mnist/0")[1].spec == spec("pca", "mnist")


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("vae/ood/5", "no run of vae on ood with seed 5 in results: its seeds are 0, 1"),
        ("vae/mnist/0", "no run of vae on mnist with seed 0 in results: `latentbench runs` lists what is there"),
        (
            "",
            "no run in results with a key that begins with '': a run is named by its key, 'last' or "
            "MODEL/DATASET/SEED; 4 records are there",
        ),
    ],
)
def test_a_run_that_is_not_there_is_told(store: Store, capsys, wanted: str, message: str) -> None:
    assert main(["show", wanted]) == 2
    assert capsys.readouterr().err == f"latentbench: error: {message}\n"


def test_several_runs_of_one_name_are_told_apart_by_their_settings(store: Store, capsys) -> None:
    save(store, spec(seed=0, beta=9), 5)
    assert main(["show", "vae/ood/0"]) == 2
    err = capsys.readouterr().err
    assert "2 runs of vae on ood with seed 0 in results: name one by its key: " in err
    assert f"{spec(seed=0).key} (beta=1)" in err
    assert f"{spec(seed=0, beta=9).key} (beta=9)" in err


def test_last_of_a_folder_with_nothing_but_twins_is_nothing(tmp_path: Path, capsys) -> None:
    save(Store(tmp_path), spec(budget=UNTRAINED), 4)
    assert main(["show", "last", "--results", str(tmp_path)]) == 2
    assert f"no run of a model in {tmp_path}" in capsys.readouterr().err


# Removing


def files(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.name not in ("lock", "spec")
    }


def test_a_removed_run_is_gone_and_moved_back_it_is_what_it_was(store: Store, capsys) -> None:
    path = store.path(spec(seed=0))
    for suffix in (".npz.xz", ".safetensors", ".samples.png"):
        path.with_suffix(suffix).write_bytes(suffix.encode())
    (path.parent.parent / "00.npz.xz").write_bytes(b"targets")
    before, others = files(store.root), listed(capsys)

    assert main(["rm", "vae/ood/0", "--yes"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == f"{spec(seed=0).key}: vae on ood, seed 0"
    trash = Path(told[1].removeprefix("1 run is in "))
    assert trash.parent == store.root / ".trash"
    assert store.read(spec(seed=0)) is None
    left = files(store.root)
    assert {name for name in before if name not in left} == {
        str(path.with_suffix(suffix).relative_to(store.root))
        for suffix in (".json", ".npz.xz", ".safetensors", ".samples.png")
    }
    assert listed(capsys) == [row for row in others if row["key"] != spec(seed=0).key]

    for file in [file for file in trash.rglob("*") if file.is_file() and ".work" not in file.parts]:
        file.rename(store.root / file.relative_to(trash))
    assert files(store.root) == before


def test_an_unfinished_run_is_removed_by_its_key(store: Store, capsys) -> None:
    key = spec(seed=7).key
    assert main(["rm", key[:8], "--yes"]) == 0
    assert f"{key}: vae on ood, seed 7, unfinished" in capsys.readouterr().out
    assert not store.work(spec(seed=7)).exists()
    assert [file.read_bytes() for file in store.root.glob(f".trash/*/.work/{key}/checkpoint.pt")] == [b"state"]


@pytest.mark.parametrize(("answer", "gone"), [("y", True), ("n", False)])
def test_it_asks(store: Store, capsys, monkeypatch: pytest.MonkeyPatch, answer: str, gone: bool) -> None:
    asked = []

    def prompt(question: str) -> str:
        asked.append(question)
        return answer

    monkeypatch.setattr("click.termui.visible_prompt_func", prompt)
    assert main(["rm", "vae/ood/0", "vae/ood/1"]) == 0
    assert len(asked) == 1
    out = capsys.readouterr().out
    assert ("2 runs are in results/.trash/" in out) == gone
    assert ("nothing was removed" in out) != gone
    assert (store.read(spec(seed=0)) is None) == (store.read(spec(seed=1, beta=4)) is None) == gone


def test_where_nobody_answers_nothing_is_removed(store: Store, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_: str) -> str:
        raise EOFError

    monkeypatch.setattr("click.termui.visible_prompt_func", nobody)
    assert main(["rm", "vae/ood/0"]) == 2
    assert "nothing was removed, for nobody answered: --yes removes without asking" in capsys.readouterr().err
    assert store.read(spec(seed=0)) is not None


def test_a_run_that_a_process_is_at_is_not_removed(store: Store, capsys) -> None:
    with store.lock(spec(seed=7)):
        assert main(["rm", spec(seed=7).key, "--yes"]) == 2
    assert "another process is carrying out vae on ood, seed 7" in capsys.readouterr().err
    assert (store.work(spec(seed=7)) / "checkpoint.pt").read_bytes() == b"state"
