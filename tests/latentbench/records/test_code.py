"""Versions behind a run beside those that are loaded now. What other code made is in ``test_other_code.py``."""

from tests.latentbench.boards.test_references import run

from latentbench.plugins.registry import Plugins
from latentbench.records.code import newer_versions
from latentbench.spec import HARNESS_VERSION


def test_a_run_of_another_version_is_named() -> None:
    plugins = Plugins.load()
    model, dataset = plugins.get("models", "pca").value, plugins.get("datasets", "mnist").value
    spec = run("m", 0.5).spec.model_copy(
        update={"model": "pca", "model_version": model.version, "dataset": "mnist", "dataset_version": dataset.version}
    )
    assert newer_versions(spec, plugins) == ""
    older = spec.model_copy(update={"model_version": 0, "harness_version": HARNESS_VERSION - 1})
    assert newer_versions(older, plugins) == (
        f"model 'pca' was of version 0, and is of {model.version}, "
        f"the harness was of version {HARNESS_VERSION - 1}, and is of {HARNESS_VERSION}"
    )
