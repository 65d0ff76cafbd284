"""Every command that README.md and CONTRIBUTING.md show is executed, in a temporary folder, on embedded data.

A command that needs more than that is skipped with the reason; that the program would take it is checked all the same.
Python code is run by tests/test_snippets.py, and that of README.md by tests/latentbench/commands/test_score.py.
"""

import importlib
import re
import shlex
import shutil
from pathlib import Path

import pytest

import latentbench
from latentbench.commands import VERBS
from latentbench.commands.cli import main
from latentbench.plugins.registry import Plugins
from tests.documents import REPOSITORY, blocks, inline, plugin_files

DOCUMENTS = ("README.md", "CONTRIBUTING.md")
#: Commands that are not executed here -> why.
NOT_HERE = {
    r"make demo": "takes minutes: the quick board, which is run below with fewer models",
    r"make test": "is what runs this test",
    r"pip install .*": "changes this environment: tests/test_journeys.py installs the wheel",
    r"latentbench (data prepare|run) mnist-shift .*": "needs MNIST, and hours",
    r"python -m tests\.golden\.make.*": "makes the golden records again, in minutes: tests/golden replays them",
    r"latentbench (data prepare|run) .*--device cuda.*": "needs a GPU",
    r"latentbench extractor .*": "downloads weights, or trains them for minutes",
    r"latentbench check-records leaderboards/results": "takes minutes: tests/test_committed_records.py runs it",
}
#: Commands -> options that make them short.
SHORTER = {
    r"latentbench run quick": "--models pca,null-brightness --datasets textures,digits-shift",
    r"latentbench .*run quick --models centre-distance": "--datasets textures,digits-shift",
}
SHOWN = [
    pytest.param(document, command, id=f"{document.partition('.')[0]}: {command}")
    for document in DOCUMENTS
    for block in blocks(document)
    for command in block.commands
]
INLINE = [
    pytest.param(document, command, id=f"{document.partition('.')[0]}: {command}")
    for document in DOCUMENTS
    for command in inline(document, r"latentbench (?!\w+\.yaml).*")
]
#: What stands for another word in an inline command, and what to type for it.
PLACEHOLDERS = {"KEY": "last", "RUN": "last", "BOARD": "quick", "FOLDER": "results"}
#: Verbs of inline commands that are executed; they train nothing. A verb alone is a name, and no whole command.
QUICK = {"list", "show", "plan", "runs", "check-records"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By document: a folder with the repository's records, and the files that a reader is told to write.

    Each command finds what those before it have left.
    """
    made = {}
    for document in DOCUMENTS:
        made[document] = folder = tmp_path_factory.mktemp(document.partition(".")[0])
        shutil.copytree(REPOSITORY / "leaderboards", folder / "leaderboards")
        for name, text in plugin_files(document).items():
            (folder / name).write_text(text)
    return made


def arguments_of(command: str) -> list[list[str]]:
    """What may be typed after ``latentbench``: one list for each of the first word's, or subcommand's, alternatives."""
    typed = re.sub(r"\[[A-Z]+\]|\.\.\.", "", command.replace("\\|", "|"))  # of what may be left out, a name is
    words = [word.strip("[]") for word in typed.split()[1:]]
    divided = next((place for place, word in enumerate(words) if "|" in word), None)
    if divided is None:
        return [words]
    return [[*words[:divided], word, *words[divided + 1 :]] for word in words[divided].split("|")]


def verb_of(words: list[str]) -> list[str]:
    """The command among the words, with its subcommand where it is a group."""
    offered = Plugins.load().offers("commands")
    place = next((place for place, word in enumerate(words) if word in VERBS or word in offered), None)
    if place is None:
        return []
    group = words[place] in ("claims", "data") or hasattr(
        offered.get(words[place], None) and offered[words[place]].value, "commands"
    )
    return words[place : place + 1 + (group and place + 1 < len(words))]


def skip_what_is_not_for_here(command: str) -> None:
    for pattern, reason in NOT_HERE.items():
        if re.fullmatch(pattern, command):
            pytest.skip(f"{command}: {reason}")


@pytest.mark.parametrize(("document", "command"), [*SHOWN, *INLINE])
def test_the_program_takes_every_command_that_is_shown(
    document: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in arguments_of(command) if command.startswith("latentbench") else []:  # else it is another program's
        verb = verb_of(words)
        assert verb or words == ["--help"], f"{command} in {document} names no command"
        assert main([*verb, "--help"]) == 0
        known = set(re.findall(r"--?[a-z-]+", capsys.readouterr().out)) | {"--plugin", "--debug"}
        assert {word.partition("=")[0] for word in words if word.startswith("-")} <= known


@pytest.mark.slow
@pytest.mark.parametrize(("document", "command"), SHOWN)
def test_every_command_that_is_shown_does_what_it_should(
    document: str,
    command: str,
    folders: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    skip_what_is_not_for_here(command)
    more = [options for pattern, options in SHORTER.items() if re.fullmatch(pattern, command)]
    program, *words = shlex.split(" ".join([command, *more[-1:]]))
    assert program == "latentbench", "say in NOT_HERE why it is not executed"
    monkeypatch.chdir(folders[document])
    code = main(words)
    assert code == 0, capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("document", "command"),
    [
        pytest.param(document, command, id=f"{document.partition('.')[0]}: {command}")
        for document in DOCUMENTS
        for command in inline(document, rf"latentbench ({'|'.join(QUICK)}) .+")
    ],
)
def test_every_command_within_the_text_that_trains_nothing_does_what_it_should(
    document: str,
    command: str,
    folders: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    skip_what_is_not_for_here(command)
    monkeypatch.chdir(folders[document])
    for words in arguments_of(command):
        code = main([PLACEHOLDERS.get(word, word) for word in words])
        assert code == 0, capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_expression_within_the_text_can_be_evaluated(
    document: str, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folders[document])
    names = {"latentbench": latentbench, "MyModel": Plugins.load().get("models", "pca").value}
    for expression in inline(document, r"latentbench\.[a-z_.]+\(.*\)|latentbench(\.(?!toml$)\w+)+"):
        importlib.import_module("latentbench.testing")
        assert eval(expression, names) is not None, expression
