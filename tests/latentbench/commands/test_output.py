"""What is printed shows as what it is, whatever a record, a file's name or a plugin has in it."""

import io
import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from latentbench.commands.cli import main
from latentbench.commands.output import shown, shown_output
from latentbench.records.record import Environment, Failure, Record, Value
from latentbench.records.store import Store
from latentbench.spec import RunSpec

HOSTILE = "\x1b[2J\x1b]0;title\x07 \u202egnp.exe \r over\x9b31m \u2066 \x00 \u200b \udcff"
TEXTS = st.text(st.characters(codec=None, exclude_categories=[]))


def does_not_show(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


@given(TEXTS)
def test_nothing_is_left_that_does_not_show_and_what_does_stays(text: str) -> None:
    made = shown(text)
    assert [character for character in made if does_not_show(character)] == [c for c in text if c in "\n\t"]
    assert "".join(character for character in text if not does_not_show(character) or character in "\n\t") == "".join(
        part[1] for part in _pieces(text, made)
    )


def _pieces(text: str, made: str) -> list[tuple[str, str]]:
    """Each character of a text that shows, found in what was made of it in the same order."""
    found, place = [], 0
    for character in text:
        if does_not_show(character) and character not in "\n\t":
            place += 6 * (2 if ord(character) > 0xFFFF else 1)
        else:
            assert made[place] == character
            found.append((character, made[place]))
            place += 1
    assert place == len(made)
    return found


@given(TEXTS)
def test_json_stays_json(text: str) -> None:
    assert json.loads(shown(json.dumps({text: text}, ensure_ascii=False))) == {text: text}


@pytest.mark.parametrize(
    ("encoding", "written"),
    [
        ("utf-8", "µ ↑ \\u202e \\udcff\n"),
        ("latin-1", "µ \\u2191 \\u202e \\udcff\n"),
        ("ascii", "\\u00b5 \\u2191 \\u202e \\udcff\n"),
    ],
)
def test_every_text_can_be_printed_in_every_encoding(
    monkeypatch: pytest.MonkeyPatch, encoding: str, written: str
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    with shown_output():
        assert sys.stdout.encoding == encoding
        print("µ ↑ \u202e \udcff")
        click.echo("µ ↑ \u202e ")
        click.echo("µ ↑ \u202e ".encode())
    assert sys.stdout is stream
    stream.flush()
    assert stream.buffer.getvalue().decode(encoding) == written + 2 * written.replace("\\udcff", "")


def test_what_rich_does_to_a_terminal_is_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    with shown_output():
        Console(force_terminal=True, color_system="standard").print("[red]red[/red]")
    assert stream.getvalue() == "\x1b[31mred\x1b[0m\n"


def hostile_record() -> Record:
    spec = RunSpec(
        model="m", model_version=1, config={"a": HOSTILE}, dataset="d", dataset_version=1, options={"b\n": HOSTILE},
        split_hash="00", seed=0,
    )  # fmt: skip
    where = Environment(
        python=HOSTILE, platform="p\nforged      line", packages={HOSTILE: "1"}, cpu="c\nforged      line", threads=1,
        device="cpu", plugins={"model": HOSTILE}, loaded={HOSTILE: HOSTILE}, variables={"X": HOSTILE},
    )  # fmt: skip
    value = Value(value=0.5, metric="auroc", version=1, title="t", higher_is_better=True, readout="r\nforged      line")
    return Record(
        key=spec.key, status="failed", spec=spec, started=HOSTILE, finished=HOSTILE, environment=where,
        values={f"auroc[a\nforged      line{HOSTILE.translate({91: '', 93: ''})}]@test": value},
        unmeasured={"x@test": f"{HOSTILE}\nforged      line"},
        failure=Failure(type="E", message=f"{HOSTILE}\nforged      line", traceback=HOSTILE, log=[HOSTILE]),
    )  # fmt: skip


@pytest.mark.parametrize("options", [[], ["--full"], ["--json"]])
def test_show_prints_no_control_character_of_a_record_and_no_forged_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    record = hostile_record()
    Store(tmp_path).save_record(record)
    assert main(["show", record.key, "--results", str(tmp_path), *options]) == 0
    printed = capsys.readouterr().out
    assert not any(does_not_show(character) and character != "\n" for character in printed)
    assert "\\u202egnp.exe" in printed
    assert not any(line.startswith("forged") for line in printed.splitlines())
    if options == ["--json"]:
        assert json.loads(printed)["spec"]["config"] == {"a": HOSTILE}


def test_an_error_and_a_warning_are_shown_too(tmp_path: Path) -> None:
    plugin = tmp_path / "act.py"
    plugin.write_text(
        "import click, logging\nfrom latentbench import LatentbenchError, hookimpl\n@click.command('act')\ndef act():\n"
        f"    logging.getLogger('latentbench').warning({HOSTILE!r})\n    raise LatentbenchError({HOSTILE!r})\n"
        "@hookimpl\ndef latentbench_commands():\n    return [act]\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "latentbench", "--plugin", plugin, "act"],
        env={**os.environ, "PYTHONIOENCODING": "latin-1"}, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    lines = done.stderr.decode("latin-1").splitlines()
    assert [line.startswith("latentbench: error: ") for line in lines] == [False, True]
    assert all("\\u001b]0;title\\u0007 \\u202egnp.exe" in line for line in lines)
    assert not any(does_not_show(character) for line in lines for character in line)


def test_a_file_whose_name_is_no_utf8_is_named_and_read_like_any_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = os.fsdecode(b"ma\xdf.png")
    for name in ("train/good/a.png", "test/good/a.png", f"test/hole/{odd}"):
        path = tmp_path / "mvtec_like" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8)).save(path)
    arguments = ["data", "prepare", "mvtec-like", "--data-root", str(tmp_path), "--set", "validation=0"]
    assert main(arguments) == 0
    path.write_bytes(b"")
    assert main(arguments) == 2
    assert f"image {path.parent}/ma\\udcdf.png is empty (0 bytes)" in capsys.readouterr().err


def test_the_streams_are_put_back_and_a_closed_one_is_left_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    before = sys.stdout

    def fail() -> None:
        with shown_output():
            assert sys.stdout is not before
            assert sys.stderr is None
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert sys.stdout is before
