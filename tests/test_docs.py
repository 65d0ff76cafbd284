"""What the documentation shows works as it is printed there."""

import csv
import re
from pathlib import Path

import pytest

from latentbench.commands import VERBS
from latentbench.commands.cli import main
from latentbench.plugins.registry import Plugins
from latentbench.testing import check_model

REPOSITORY = Path(__file__).parents[1]
CONTRIBUTING = (REPOSITORY / "CONTRIBUTING.md").read_text()
README = (REPOSITORY / "README.md").read_text()


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_whole_plugin_of_the_first_page_keeps_the_contract_and_gets_a_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin = tmp_path / "centre_distance.py"
    plugin.write_text(blocks(CONTRIBUTING, "python")[0])
    check_model(Plugins.load([plugin]).get("models", "centre-distance").value)

    out = str(tmp_path / "results")
    run = ["--plugin", str(plugin), "run", "quick", "--models", "centre-distance", "--out", out]
    assert main([*run, "--datasets", "digits-shift,textures"]) == 0
    assert main(["--plugin", str(plugin), "leaderboard", "quick", "--results", out]) == 0
    with (tmp_path / "results" / "quick.csv").open(newline="") as file:
        places = [
            (line["label"], line["ranked_by"], line["rank_first"])
            for line in csv.DictReader(file)
            if (line["variant"], line["group"]) == ("centre-distance", "model") and line["value"] == line["ranked_by"]
        ]
    assert places == [("digits-shift", "accuracy@test/uncorrelated", "1"), ("textures", "auroc@test", "1")]
    assert "4 of 4 runs are finished" in capsys.readouterr().out


def test_every_command_line_shown_is_one_that_the_program_takes(capsys: pytest.CaptureFixture[str]) -> None:
    shown = [
        line.removeprefix("$ ").split("#")[0].split()
        for text in (README, CONTRIBUTING)
        for block in blocks(text, "console")
        for line in block.splitlines()
        if line.startswith("$ latentbench")
    ]
    assert len(shown) >= 5
    for words in shown:
        verb = next(word for word in words[1:] if word in VERBS)
        verbs = [verb, words[words.index(verb) + 1]] if verb == "data" else [verb]
        options = {word for word in words if word.startswith("--")} - {"--plugin"}
        assert main([*verbs, "--help"]) == 0
        assert options <= set(re.findall(r"--[a-z-]+", capsys.readouterr().out)), words
