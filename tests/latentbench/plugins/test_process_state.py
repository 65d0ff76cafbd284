"""What a plugin changed of a process, settings and functions of libraries, is told by name and put back."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn.modules.module import register_module_forward_hook

import latentbench.running.execute
import latentbench_metrics.detection
from latentbench import Metric
from latentbench.plugins.process_state import ProcessState


def turn(module: object, name: str) -> Callable[[], None]:
    return lambda: setattr(module, name, not getattr(module, name))


@pytest.mark.parametrize(
    ("change", "clause"),
    [
        (
            lambda: torch.set_float32_matmul_precision("medium"),
            "the precision of float32 matrix products became medium",
        ),
        (lambda: torch.set_flush_denormal(True), "the flushing of denormal numbers became True"),
        (turn(torch.backends.mkldnn, "enabled"), "torch.backends.mkldnn.enabled became False"),
        (turn(torch.backends.cudnn, "enabled"), "torch.backends.cudnn.enabled became False"),
        (turn(torch.backends.cudnn, "benchmark"), "torch.backends.cudnn.benchmark became True"),
        (turn(torch.backends.cudnn, "deterministic"), "torch.backends.cudnn.deterministic became True"),
        (lambda: torch.set_num_threads(3), "the number of threads became 3"),
        (lambda: torch.set_default_dtype(torch.float64), "the default dtype became torch.float64"),
        (
            lambda: np.seterr(all="raise"),
            f"NumPy's handling of floating-point errors became {dict.fromkeys(np.geterr(), 'raise')}",
        ),
    ],
)
def test_a_changed_setting_is_told_and_put_back(change: Callable[[], None], clause: str) -> None:
    before = ProcessState.now()
    assert before.undo() == []
    change()
    assert before.undo() == [clause]
    assert before.undo() == []
    assert torch.full((), 1e-40).mul(1) > 0


@pytest.mark.parametrize(
    ("owner", "where", "name"),
    [
        (torch.nn.Conv2d, "torch.nn.modules.conv.Conv2d", "forward"),
        (torch.nn.Conv2d, "torch.nn.modules.conv.Conv2d", "__call__"),  # inherited
        (torch.nn.Linear, "torch.nn.modules.linear.Linear", "reset_parameters"),
        (torch.Tensor, "torch.Tensor", "mean"),  # inherited
        (torch.optim.Adam, "torch.optim.adam.Adam", "step"),
        (torch.nn.init, "torch.nn.init", "kaiming_uniform_"),
        (torch.nn.functional, "torch.nn.functional", "max"),  # hides what is built in
        (np.linalg, "numpy.linalg", "norm"),
        (
            LogisticRegression,
            "sklearn.linear_model._logistic.LogisticRegression",
            "predict_proba",
        ),
        (LogisticRegression, "sklearn.linear_model._logistic.LogisticRegression", "predict"),  # inherited
        (latentbench.running.execute, "latentbench.running.execute", "measure"),
        (latentbench.running.execute, "latentbench.running.execute", "sorted"),  # hides what is built in
        (Metric, "latentbench.metric.Metric", "measure"),
        (latentbench_metrics.detection, "latentbench_metrics.detection", "AUROC"),
        (latentbench_metrics.detection.AUROC, "latentbench_metrics.detection.AUROC", "compute"),
        (latentbench_metrics.detection.AUROC, "latentbench_metrics.detection.AUROC", "measure"),  # inherited
    ],
)
@pytest.mark.parametrize("wrap", [lambda function: function, torch.no_grad()], ids=["plain", "wrapped by torch"])
def test_a_replaced_function_is_told_and_put_back(
    owner: ModuleType | type, where: str, name: str, wrap: Callable[[Any], Any]
) -> None:
    absent = object()
    before, original = ProcessState.now(), vars(owner).get(name, absent)
    told = "torch.utils._contextlib" if wrap.__class__ is torch.no_grad else __name__
    try:
        setattr(owner, name, wrap(lambda *_: None))
        assert before.undo() == [f"{where}.{name} was replaced by one of module {told}"]
        assert vars(owner).get(name, absent) is original
        assert before.undo() == []
    finally:
        if original is not absent:
            setattr(owner, name, original)
        elif name in vars(owner):
            delattr(owner, name)


def test_layers_and_inherited_methods_compute_what_they_did_before() -> None:
    images = torch.rand((2, 3, 4, 4), generator=torch.Generator().manual_seed(0))
    layer = torch.nn.Conv2d(3, 5, 1)
    before, conv, mean = ProcessState.now(), torch.nn.Conv2d.forward, torch.Tensor.mean
    setattr(torch.nn.Conv2d, "forward", lambda self, x: conv(self, x) * 1.2)  # noqa: B010  # as mypy wants it
    setattr(torch.Tensor, "mean", lambda *given, **named: mean(*given, **named) * 1.1)  # noqa: B010
    assert len(before.undo()) == 2
    weights, bias = layer.weight.detach().numpy()[:, :, 0, 0], layer.bias.detach().numpy()  # type: ignore[union-attr]
    expected = np.einsum("oc,bchw->bohw", weights, images.numpy()) + bias[:, None, None]
    np.testing.assert_allclose(layer(images).detach().numpy(), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(images.mean((1, 2, 3)).numpy(), images.numpy().mean((1, 2, 3)), rtol=1e-6)


def test_a_hook_of_all_modules_is_told_and_taken_away() -> None:
    before, layer = ProcessState.now(), torch.nn.Identity()
    register_module_forward_hook(lambda module, given, result: result * 2)
    (told,) = before.undo()
    assert told.startswith("torch.nn.modules.module._global_forward_hooks became ")
    assert layer(torch.ones(1)).item() == 1
    assert before.undo() == []


def test_what_a_library_prepares_late_and_new_names_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    before = ProcessState.now()
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)])  # PyTorch wraps its ``step`` then
    optimizer.step()
    monkeypatch.setattr(torch.Tensor, "of_acme", lambda tensor: tensor, raising=False)
    monkeypatch.setattr(torch.nn.functional, "of_acme", lambda tensor: tensor, raising=False)
    assert before.undo() == []
    assert hasattr(torch.Tensor, "of_acme")
    assert hasattr(torch.nn.functional, "of_acme")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a package like those of built-in plugins, which nobody has imported yet."""
    name = f"latentbench_{tmp_path.name}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "late.py").write_text("def late(): return 1\n")
    (tmp_path / name / "__init__.py").write_text(
        "from functools import cache, cached_property\n"
        "import torch\n"
        "from pydantic import BaseModel\n"
        "REGISTRY = []\n"
        "@cache\n"
        "def seven(): return 7\n"
        "class Outer:\n"
        "    def method(self): return 1\n"
        "    @property\n"
        "    def value(self): return 2\n"
        "    @cached_property\n"
        "    def kept(self): return 3\n"
        "    @classmethod\n"
        "    def of(cls): return 4\n"
        "    @staticmethod\n"
        "    def alone(): return 5\n"
        "    class Inner:\n"
        "        def method(self): return 6\n"
        "class Tree(BaseModel):\n"
        "    leaf: 'Leaf | None' = None\n"
        "class Leaf(BaseModel):\n"
        "    size: int = 1\n"
        "class Slow(torch.optim.SGD):\n"
        "    def step(self, closure=None): return super().step(closure)\n"
        "def __getattr__(name):\n"
        "    if name != 'late': raise AttributeError(name)\n"
        "    from importlib import import_module\n"
        "    globals()['late'] = import_module('.late', __name__).late\n"
        "    return late\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return name


@pytest.mark.parametrize("imported", ["before", "by the plugin"])
def test_what_replaces_functions_of_a_built_in_plugin_is_told_even_of_one_that_it_is_first_to_import(
    package: str, imported: str
) -> None:
    if imported == "before":
        import_module(package)
    before = ProcessState.now()
    module: Any = import_module(package)
    outer = module.Outer
    outer.method = lambda self: -1
    outer.value = property(lambda self: -1)
    outer.kept = property(lambda self: -1)
    outer.of = classmethod(lambda cls: -1)
    outer.alone = staticmethod(lambda: -1)
    outer.Inner.method = lambda self: -1
    module.seven = lambda: -1
    places = ["seven", *(f"Outer.{name}" for name in ("method", "value", "kept", "of", "alone", "Inner.method"))]
    assert before.undo() == [f"{package}.{place} was replaced by one of module {__name__}" for place in places]
    made = outer()
    found = [made.method(), made.value, made.kept, made.of(), made.alone(), made.Inner().method()]
    assert [*found, module.seven()] == [*range(1, 8)]
    assert before.undo() == []


def test_what_a_built_in_plugin_prepares_late_is_no_change(package: str) -> None:
    module = import_module(package)
    before = ProcessState.now()
    assert module.late() == 1
    assert module.seven() == 7
    assert module.Outer().kept == 3
    module.REGISTRY.append(module.Outer)
    module.Tree.model_rebuild()
    assert module.Tree(leaf=module.Leaf()).leaf.size == 1
    module.Slow([torch.zeros(1, requires_grad=True)]).step()  # PyTorch wraps its ``step``
    module.Outer.of_acme = lambda self: 8
    derived = type("Derived", (module.Outer,), {"method": lambda self: 9})
    assert before.undo() == []
    assert (derived().method(), derived().of_acme()) == (9, 8)
    assert hasattr(module.Slow.step, "hooked")
