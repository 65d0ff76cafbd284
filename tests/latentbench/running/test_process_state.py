"""What a plugin changed of a process, settings and functions of libraries, is told by name and put back."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn.modules.module import register_module_forward_hook

from latentbench.running.process_state import ProcessState


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
