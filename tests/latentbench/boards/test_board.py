"""Boards: what their YAML may say, and errors that name the file and the line."""

from pathlib import Path
from string import ascii_lowercase, ascii_uppercase
from textwrap import dedent
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import latentbench_boards
from latentbench.boards.board import Board, find_board, load_board
from latentbench.errors import LatentbenchError
from latentbench.plugins.registry import Plugins
from latentbench.value_name import ValueName

BOARDS = sorted(Path(latentbench_boards.__file__).parent.glob("*.yaml"))
MINIMAL = "name: b\ntitle: A board\ndatasets: [digits]\nrank: auroc@test\n"
VARIANTS = "name: b\ntitle: t\nrank: a@b\ndatasets: [d]\nmodels: [vae, ae]\nvariants:\n  - {model: vae, label: small}\n"
DATASETS = "name: b\ntitle: t\nrank: a@b\ndatasets:\n  - d\n"


def write(folder: Path, text: str, name: str = "b.yaml") -> Path:
    path = folder / name
    path.write_text(dedent(text))
    return path


def test_a_minimal_board_has_the_documented_defaults(tmp_path):
    board = load_board(write(tmp_path, MINIMAL))
    (digits,) = board.datasets
    assert (digits.name, digits.label, digits.options, digits.optional) == ("digits", "digits", {}, False)
    assert (board.models, board.seeds, board.budget.max_steps, board.average) == ("all", 1, None, False)
    assert board.values(digits) == ["auroc@test"]


def test_a_diagnosis_is_a_null_or_a_null_and_its_value(tmp_path):
    text = DATASETS + "  - {name: e, diagnosis: n}\n  - name: f\n    diagnosis: {row: n, value: a@b}\n"
    found = [entry.diagnosis for entry in load_board(write(tmp_path, text)).datasets]
    assert [one and (one.row, one.value) for one in found] == [None, ("n", None), ("n", "a@b")]


def test_everything_that_a_board_can_say_is_read(tmp_path):
    text = """
        name: b
        title: A board
        description: >-
          Of two
          lines.
        datasets:
          - plain
          - name: tuned
            label: tuned-0.9
            options: {correlation: 0.9, classes: [3, 8]}
            optional: true
            rank: mig@test
            columns: []
            seeds: 2
            budget: {max_steps: 9}
        average: true
        models: [vae, pca]
        variants:
          - {model: vae, label: vae-2d, options: {latent_dim: 2}, datasets: [plain], seeds: 1, budget: {}}
        seeds: 5
        budget: {max_steps: 100}
        rank: accuracy[left]@test/uncorrelated
        columns: [auroc@test, fpr95@test/a=-0.5]
    """
    board = load_board(write(tmp_path, text))
    assert board == Board.model_validate(
        {
            "name": "b",
            "title": "A board",
            "description": "Of two lines.",
            "datasets": [
                {"name": "plain", "label": "plain", "options": {}, "optional": False, "rank": None, "columns": None},
                {
                    "name": "tuned",
                    "label": "tuned-0.9",
                    "options": {"correlation": 0.9, "classes": [3, 8]},
                    "optional": True,
                    "rank": "mig@test",
                    "columns": [],
                    "seeds": 2,
                    "budget": {"max_steps": 9},
                },
            ],
            "average": True,
            "models": ["vae", "pca"],
            "seeds": 5,
            "budget": {"max_steps": 100},
            "variants": [
                {
                    "model": "vae",
                    "label": "vae-2d",
                    "options": {"latent_dim": 2},
                    "datasets": ["plain"],
                    "seeds": 1,
                    "budget": {"max_steps": None},
                }
            ],
            "rank": "accuracy[left]@test/uncorrelated",
            "columns": ["auroc@test", "fpr95@test/a=-0.5"],
        }
    )


def test_seeds_and_budget_are_those_of_the_variant_else_of_the_dataset_else_of_the_board():
    few, own = {"seeds": 2, "budget": {"max_steps": 9}}, {"seeds": 1, "budget": {"max_steps": None}}
    board = Board.model_validate(
        {
            "name": "b",
            "title": "t",
            "rank": "a@b",
            "seeds": 5,
            "budget": {"max_steps": 100},
            "datasets": ["plain", {"name": "few", **few}],
            "variants": [{"model": "vae", "label": "v"}, {"model": "vae", "label": "own", "datasets": ["few"], **own}],
        }
    )
    plain, few_entry = board.datasets
    v, other = board.variants
    found = [
        (board.seeds_of(entry, variant), board.budget_of(entry, variant).max_steps)
        for entry in board.datasets
        for variant in (None, v, other)
    ]
    assert found == [(5, 100), (5, 100), (1, None), (2, 9), (2, 9), (1, None)]
    assert [board.variants_on(entry) for entry in (plain, few_entry)] == [[v], [v, other]]


def test_boards_that_say_the_same_are_equal_wherever_they_are_written(tmp_path):
    (tmp_path / "other").mkdir()
    boards = [load_board(write(folder, MINIMAL)) for folder in (tmp_path, tmp_path / "other")]
    assert boards[0] == boards[1] == Board.model_validate(yaml.safe_load(MINIMAL))
    assert boards[0] != load_board(write(tmp_path, MINIMAL.replace("A board", "Another")))


def test_a_mistake_of_a_board_that_comes_from_no_file_names_the_board(tmp_path):
    assert str(Board.model_validate(yaml.safe_load(MINIMAL)).mistake(("rank",), "is odd")) == "board 'b': is odd"
    assert str(load_board(write(tmp_path, MINIMAL)).mistake(("rank",), "is odd")) == f"{tmp_path}/b.yaml:4: is odd"


RANKED = "name: b\ntitle: t\nrank: auroc@test\ncolumns: [fpr95@test]\n"


def test_a_dataset_s_own_rank_and_columns_stand_in_place_of_the_board_s(tmp_path):
    entries = [
        "plain",
        "{name: d, label: ranked, rank: mig@test}",
        "{name: d, label: shown, options: {a: 1}, columns: [sap@test, auroc@test]}",
        "{name: d, label: both, options: {a: 2}, rank: mig@test, columns: []}",
        "{name: d, label: several, options: {a: 3}, rank: [mig@test, auroc@test, mig@test]}",
        "{name: d, label: within, options: {a: 4}, rank: [mig@test, sap@test], columns: [irs@test, sap@test]}",
    ]
    board = load_board(write(tmp_path, RANKED + "datasets:\n" + "".join(f"  - {entry}\n" for entry in entries)))
    assert {entry.label: board.values(entry) for entry in board.datasets} == {
        "plain": ["auroc@test", "fpr95@test"],
        "ranked": ["mig@test", "fpr95@test"],
        "shown": ["auroc@test", "sap@test"],
        "both": ["mig@test"],
        "several": ["mig@test", "fpr95@test", "auroc@test"],
        "within": ["mig@test", "irs@test", "sap@test"],
    }
    assert {entry.label: board.ranking(entry) for entry in board.datasets[-3:]} == {
        "both": ["mig@test"],
        "several": ["mig@test", "auroc@test"],
        "within": ["mig@test", "sap@test"],
    }
    assert board.ranking() == ["auroc@test"]


def test_a_board_whose_datasets_all_rank_needs_no_rank(tmp_path):
    text = "name: b\ntitle: t\ndatasets:\n  - {name: d, rank: a@b}\n  - {name: e, rank: c@d}\ncolumns: [x@y]\n"
    board = load_board(write(tmp_path, text))
    assert [board.values(entry) for entry in board.datasets] == [["a@b", "x@y"], ["c@d", "x@y"]]


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_the_standard_boards_are_sound_and_are_found_by_name_and_by_path(path):
    by_path = find_board(str(path), Plugins.load())
    assert by_path == find_board(path.stem, Plugins.load())
    for entry in by_path.datasets:
        rank, *columns = by_path.values(entry)
        assert rank not in (by_path.columns if entry.columns is None else entry.columns)
        assert columns, "a table says more than who is first"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        # no YAML
        ("name: b\ntitle: 'open\n", 3, "found unexpected end of stream"),
        ("name: b\n\ttitle: t\n", 2, "found character '\\t' that cannot start any token"),
        ("name: b\ntitle: a: b\n", 2, "mapping values are not allowed here"),
        ("name: b\ntitle: \x07\n", 2, "a character that YAML does not allow"),
        ("name: b\ntitle: *nobody\n", 2, "found undefined alias 'nobody'"),
        ("name: b\ntitle: !!python/object:os.system x\n", 2, "could not determine a constructor for the tag"),
        ("name: b\n---\nname: c\n", 2, "but found another document"),
        ("name: b\ntitle: 2026-13-45\n", 2, "month must be in 1..12"),
        ("name: b\n[a]: c\n{d: e}: f\n", 2, "found unhashable key"),
        # no mapping, and keys that are wrong
        ("", 1, "a board maps keys to values: its keys are name, title, "),
        ("- name: b\n", 1, "a board maps keys to values"),
        (MINIMAL + "sedes: 3\n", 5, "unknown key 'sedes': did you mean 'seeds'? known: average, budget, "),
        (MINIMAL + "title: twice\n", 5, "the key 'title' is there twice"),
        (MINIMAL + "budget:\n  max_steps: 1\n  max_steps: 2\n", 7, "the key 'max_steps' is there twice"),
        (MINIMAL + "budget:\n  max_step: 1\n", 6, "unknown key 'max_step': did you mean 'max_steps'? known: max_steps"),
        (MINIMAL + "3: 4\n", 5, "'3': Keys should be strings"),
        ("name: b\ntitle: t\ndatasets: [d]\n", 1, "the board has no 'rank'"),
        ("name: b\ntitle: t\ndatasets: [d]\nrnak: a@b\n", 4, "unknown key 'rnak': did you mean 'rank'?"),
        (
            "name: b\ntitle: t\ndatasets:\n  - d\n  - nmae: d\nrank: a@b\n",
            5,
            "unknown key 'nmae': did you mean 'name'? known: budget, columns, diagnosis, label, name, ",
        ),
        ("name: b\ntitle: t\ndatasets:\n  - d\n  -\n    options: {}\nrank: a@b\n", 6, "datasets.1 has no 'name'"),
        # values
        (MINIMAL + "seeds: three\n", 5, "'seeds': Input should be a valid integer"),
        (MINIMAL + "seeds: 0\n", 5, "'seeds': Input should be greater than or equal to 1, got 0"),
        (MINIMAL + "budget: {max_steps: -1}\n", 5, "'budget.max_steps': Input should be greater than or equal to 0"),
        (MINIMAL + "models: 3\n", 5, "'models': Input should be a valid list or Input should be 'all', got 3"),
        (MINIMAL + "models:\n  - vae\n  - 3\n", 7, "'models.1': Input should be a valid string, got 3"),
        (
            MINIMAL + "columns:\n  - auroc@test\n  - auroc\n",
            7,
            "'columns.1': is not of the form metric[part]@split/con",
        ),
        (
            MINIMAL.replace("auroc@test", "auroc @test"),
            4,
            "'rank': is not of the form metric[part]@split/condition, as in",
        ),
        (MINIMAL.replace("[digits]", "[]"), 3, "'datasets': List should have at least 1 item"),
        (MINIMAL.replace("[digits]", "digits"), 3, "'datasets': Input should be a valid list, got 'digits'"),
        (MINIMAL.replace("A board", "yes"), 2, "'title': Input should be a valid string, got True"),
        # several datasets
        (
            DATASETS + "  - {name: d, options: {a: 2}}\n",
            6,
            "datasets.1 is called 'd' as datasets.0 is: give it a",
        ),
        (DATASETS + "  - name: e\n    options: {}\n    label: d\n", 8, "datasets.1 is called 'd' as datasets.0 is"),
        (
            DATASETS + "  - {name: d, label: e, rank: c@d}\n",
            6,
            "datasets.1 is the same data as datasets.0: leave ",
        ),
        (
            DATASETS + "  - name: e\n    label: two words\n",
            7,
            "'datasets.1.label': is not a word without blanks, commas",
        ),
        (DATASETS + "  - {name: e, label: 'a,b'}\n", 6, "'datasets.1.label': is not a word without blanks, commas"),
        (DATASETS + "  - {name: e, label: a=b}\n", 6, "'datasets.1.label': is not a word without blanks, commas"),
        (DATASETS + "  - {name: e, label: ''}\n", 6, "'datasets.1.label': is not a word without blanks, commas"),
        (DATASETS + "  - {name: e, label: 3}\n", 6, "'datasets.1.label': Input should be a valid string, got 3"),
        (DATASETS + "  - {name: e, label: null}\n", 6, "'datasets.1.label': Input should be a valid string, got None"),
        (DATASETS + "  - {name: 3}\n", 6, "'datasets.1.name': Input should be a valid string, got 3"),
        (DATASETS + "  - {name: 3, label: e}\n", 6, "'datasets.1.name': Input should be a valid string, got 3"),
        (DATASETS + "  - {label: e}\n", 6, "datasets.1 has no 'name'"),
        (
            DATASETS + "  - 3\n",
            6,
            "'datasets.1': Input should be a valid dictionary or instance of BoardDa",
        ),
        (
            DATASETS + "  - name: e\n    optional: perhaps\n",
            7,
            "'datasets.1.optional': Input should be a valid bool",
        ),
        (DATASETS + "  - name: e\n    rank: auroc\n", 7, "'datasets.1.rank': is not of the form metric[part]@split"),
        (
            DATASETS + "  - name: e\n    rank:\n      - a@b\n      - auroc\n",
            9,
            "'datasets.1.rank.1': is not of the form metric[part]@split/condition, as in auroc@test, got 'auroc'",
        ),
        (DATASETS + "  - name: e\n    rank: []\n", 7, "'datasets.1.rank': List should have at least 1 item"),
        (DATASETS + "  - name: e\n    columns: auroc@test\n", 7, "'datasets.1.columns': Input should be a valid list"),
        (DATASETS + "  - name: e\n    columns: [a@b, c]\n", 7, "'datasets.1.columns.1': is not of the form metric["),
        (
            DATASETS + "  - name: e\n    average: true\n",
            7,
            "unknown key 'average': known: budget, columns, diagnosis, label, name, ",
        ),
        (DATASETS + "average: often\n", 6, "'average': Input should be a valid boolean"),
        (DATASETS + "  - {name: e, seeds: 0}\n", 6, "'datasets.1.seeds': Input should be greater than or equal to 1"),
        (
            DATASETS + "  - name: e\n    budget: {max_step: 1}\n",
            7,
            "unknown key 'max_step': did you mean 'max_steps'? known: max_steps",
        ),
        # variants
        (VARIANTS + "  - {label: c}\n", 8, "variants.1 has no 'model'"),
        (VARIANTS + "  - {model: vae}\n", 8, "variants.1 has no 'label'"),
        (
            VARIANTS + "  - {model: vae, label: c, option: {}}\n",
            8,
            "unknown key 'option': did you mean 'options'? known: budget, datasets, label, model, options, seeds",
        ),
        (
            VARIANTS + "  - {model: vae, label: c, options: 3}\n",
            8,
            "'variants.1.options': Input should be a valid dict",
        ),
        (VARIANTS + "  - {model: vae, label: c d}\n", 8, "'variants.1.label': is not a word without blanks"),
        (
            VARIANTS + "  - model: vae\n    label: small\n",
            9,
            "variants.1 is called 'small' as variants.0 is: give it another label",
        ),
        (
            VARIANTS + "  - {model: vae, label: ae}\n",
            8,
            "variants.1 is called 'ae' as a model is: give it another label",
        ),
        (VARIANTS + "  - {model: pca, label: pca}\n", 8, "variants.1 is called 'pca' as a model is: give it another"),
        (
            VARIANTS + "  - model: vae\n    label: c\n    datasets:\n    - d\n    - dd\n",
            12,
            "variants.1 runs on 'dd', which no dataset of the board is called: did you mean 'd'? known: d",
        ),
        (
            VARIANTS + "  - {model: vae, label: c, budget: {max_steps: 0}}\n",
            8,
            "'variants.1.budget' leaves no step: give it 1 or more: the untrained twins run by themselves, if 'twins'",
        ),
        # what ranks
        ("name: b\ntitle: t\ndatasets: [d, e]\n", 1, "the board has no 'rank': the board needs one, or each of its "),
        (
            "name: b\ntitle: t\ndatasets:\n  - {name: d, rank: a@b}\n  - name: e\n    options: {}\n",
            5,
            "datasets.1 has no 'rank', and the board has none: the board needs one, or each of its datasets",
        ),
        (
            "name: b\ntitle: t\ndatasets:\n  - {name: d, rank: a@b}\naverage: true\n",
            5,
            "'average' needs a 'rank' of the board's own: the rows of means are ranked by it",
        ),
        # what is read against nulls, and what they tell
        (
            DATASETS + "  - name: e\n    diagnosis: {row: n, value: a@c}\n",
            7,
            "'a@c' is no value that the board shows here: did you mean 'a@b'?",
        ),
        (DATASETS + "  - name: e\n    diagnosis: {value: a@b}\n", 7, "datasets.1.diagnosis has no 'row'"),
        (
            DATASETS + "  - name: e\n    diagnosis: {row: n, vlaue: a@b}\n",
            7,
            "unknown key 'vlaue': did you mean 'value'?",
        ),
        (
            DATASETS + "columns: [c@d]\nno_merit: [c@e]\n",
            7,
            "'c@e' is no value that the board shows: did you mean 'c@d'",
        ),
        (DATASETS + "no_merit:\n  - a@b\n", 7, "'a@b' ranks: what ranks is a merit"),
        (VARIANTS + "ceilings:\n  - vea\n", 9, "the board has no row 'vea': did you mean 'vae'"),
        (
            "# a comment\n\n" + MINIMAL.replace("name: b", "name: c"),
            3,
            "the board is called 'c', its file 'b': name them",
        ),
    ],
)
def test_a_mistake_is_told_with_file_line_and_mend(tmp_path, text, line, message):
    path = tmp_path / "b.yaml"
    path.write_text(text)
    with pytest.raises(LatentbenchError) as caught:
        load_board(path)
    assert str(caught.value).startswith(f"{path}:{line}: {message}")
    assert "\n" not in str(caught.value)


def test_a_key_that_comes_with_an_anchor_may_be_overridden(tmp_path):
    text = """
        name: b
        title: t
        datasets:
          - &first {name: d, options: &options {a: 1, b: 2}}
          - <<: *first
            label: e
            options:
              <<: *options
              b: 3
        rank: auroc@test
    """
    board = load_board(write(tmp_path, text))
    assert [dataset.options for dataset in board.datasets] == [{"a": 1, "b": 2}, {"a": 1, "b": 3}]


def test_a_file_that_cannot_be_read_is_named_with_the_systems_reason(tmp_path):
    with pytest.raises(LatentbenchError, match=r"^cannot read board .*none.yaml: No such file or directory$"):
        load_board(tmp_path / "none.yaml")
    with pytest.raises(LatentbenchError, match=r"^cannot read board .*: Is a directory$"):
        load_board(tmp_path)
    (tmp_path / "b.yaml").write_bytes(b"name: \xff")
    with pytest.raises(LatentbenchError, match=r"b.yaml: it is not UTF-8 text \(byte 6\)$"):
        load_board(tmp_path / "b.yaml")


@given(st.data())
def test_an_unknown_key_is_found_on_whatever_line_it_is(tmp_path_factory, data):
    lines = [
        "name: b",
        "title: t",
        "description: |\n  two\n  lines",
        "datasets:\n  - d\n  - name: e",
        "rank: a@b",
        "seeds: 2",
    ]
    ordered = data.draw(st.permutations([*lines, "nonsense: {a: [1, 2]}"]))
    text = "\n".join(ordered)
    line = text.split("nonsense")[0].count("\n") + 1
    with pytest.raises(LatentbenchError, match=rf"b.yaml:{line}: unknown key 'nonsense'"):
        load_board(write(tmp_path_factory.mktemp("boards"), text))


WORDS = st.text(ascii_lowercase + "-0123456789", min_size=1, max_size=8)
OPTIONAL = st.just("") | WORDS
VALUE_NAMES = st.builds(ValueName, WORDS, WORDS, OPTIONAL, OPTIONAL).map(str)
ENTRIES = st.fixed_dictionaries(
    {"name": WORDS},
    optional={
        "label": WORDS,
        "options": st.dictionaries(WORDS, st.integers() | st.text(ascii_lowercase)),
        "optional": st.booleans(),
        "rank": VALUE_NAMES,
        "columns": st.lists(VALUE_NAMES),
        "seeds": st.integers(1, 100),
        "budget": st.fixed_dictionaries({"max_steps": st.none() | st.integers(1)}),
    },
)
#: Labels in capitals are those of no model.
VARIANTS_OF_MODELS = st.lists(
    st.fixed_dictionaries(
        {"model": WORDS, "label": st.text(ascii_uppercase, min_size=1)},
        optional={
            "options": st.dictionaries(WORDS, st.integers() | st.lists(st.booleans())),
            "seeds": st.integers(1, 9),
        },
    ),
    unique_by=lambda variant: variant["label"],
)


def name_of(entry: str | dict[str, Any]) -> str:
    return entry if isinstance(entry, str) else entry["name"]


def label_of(entry: str | dict[str, Any]) -> str:
    return entry if isinstance(entry, str) else entry.get("label", entry["name"])


@given(
    values=st.fixed_dictionaries(
        {
            "name": st.just("b"),
            "title": st.text(),
            "datasets": st.lists(WORDS | ENTRIES, min_size=1, unique_by=(label_of, name_of)),
            "rank": VALUE_NAMES,
        },
        optional={
            "average": st.booleans(),
            "models": st.one_of(st.just("all"), st.lists(WORDS)),
            "variants": VARIANTS_OF_MODELS,
            "seeds": st.integers(1, 100),
            "columns": st.lists(VALUE_NAMES),
            "budget": st.fixed_dictionaries({"max_steps": st.none() | st.integers(1)}),
        },
    ),
    flow=st.booleans(),
)
def test_what_is_written_as_yaml_is_what_is_read(tmp_path_factory, values, flow):
    path = tmp_path_factory.mktemp("boards") / "b.yaml"
    path.write_text(yaml.safe_dump(values, default_flow_style=flow))
    assert load_board(path) == Board.model_validate(values)
