"""The shell completes boards, models, datasets, metrics and keys, by click's own means."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from tests.latentbench.commands.test_runs import save, spec

from latentbench.commands.cli import group
from latentbench.commands.common import Invocation
from latentbench.plugins.registry import Plugins
from latentbench.records.store import Store

BOARD = """\
name: mine
title: Mine
datasets: [{name: toy-blobs, label: few}, {name: toy-blobs, label: many, options: {size: 48}}]
models: [pca, centre-distance]
variants: [{model: centre-distance, label: narrow, options: {latent_dim: 2}}]
rank: auroc@test
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(BOARD)
    return tmp_path


def completed(*words: str) -> list[str]:
    """What the last word may become, where the others stand before it."""
    shell = ShellComplete(group, {"obj": Invocation()}, "latentbench", "_LATENTBENCH_COMPLETE")
    return [item.value for item in shell.get_completions([*words[:-1]], words[-1])]


def test_boards_are_completed_by_name_and_else_as_files():
    assert completed("run", "mnist") == ["mnist-shift"]
    assert completed("plan", "") == sorted(Plugins.load().offers("boards"))
    shell = ShellComplete(group, {"obj": Invocation()}, "latentbench", "_LATENTBENCH_COMPLETE")
    assert [item.type for item in shell.get_completions(["run"], "./min")] == ["file"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run", "mine.yaml", "--models", ""], ["pca", "centre-distance", "narrow"]),
        (["run", "mine.yaml", "--models", "n"], ["narrow"]),
        (["run", "mine.yaml", "--models", "pca,n"], ["pca,narrow"]),
        (["run", "mine.yaml", "--models", "pca,"], ["pca,centre-distance", "pca,narrow"]),
        (["run", "mine.yaml", "--datasets", ""], ["few", "many"]),
        (["run", "nothing.yaml", "--datasets", ""], []),
        (["runs", "--status", "f"], ["finished", "failed"]),
    ],
)
def test_names_of_a_list_are_completed_one_after_the_other(words, expected):
    assert completed(*words) == expected


def test_keys_models_and_datasets_of_the_runs_are_completed():
    store = Store(Path("results"))
    save(store, spec("vae", "ood"), 1)
    save(store, spec("pca", "mnist"), 2)
    keys = [spec("pca", "mnist").key, spec("vae", "ood").key]
    for command in (["show"], ["rm"], ["rm", "last"]):
        assert completed(*command, "") == ["last", *keys]
        assert completed(*command, keys[0][:10]) == [keys[0]]
    assert completed("show", "--results", "elsewhere", "") == ["last"]
    assert completed("runs", "--models", "") == ["pca", "vae"]
    assert completed("runs", "--datasets", "o") == ["ood"]


def test_what_is_installed_is_completed():
    assert completed("list", "metrics", "aur") == ["auroc"]
    assert completed("evaluate", "--metrics", "auroc,aupr") == ["auroc,auprc", "auroc,aupro30", "auroc,aupro5"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shells_get_clicks_own_script(shell):
    environment = {**os.environ, "_LATENTBENCH_COMPLETE": f"{shell}_source"}
    program = [sys.executable, "-c", "from latentbench.commands.cli import main; main()"]
    result = subprocess.run(program, capture_output=True, text=True, env=environment, check=True)
    assert "_LATENTBENCH_COMPLETE" in result.stdout


def test_a_shell_asks_through_the_environment():
    environment = {
        **os.environ, "_LATENTBENCH_COMPLETE": "zsh_complete", "COMP_WORDS": "latentbench run mnist", "COMP_CWORD": "2",
    }  # fmt: skip
    program = [sys.executable, "-c", "from latentbench.commands.cli import main; main()"]
    result = subprocess.run(program, capture_output=True, text=True, env=environment, check=True)
    assert result.stdout.splitlines()[:2] == ["plain", "mnist-shift"]
