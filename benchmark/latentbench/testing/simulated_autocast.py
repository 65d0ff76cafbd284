"""Autocast on the simulated device: what both CPU and CUDA cast is cast, and what CUDA bans is banned."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

__all__ = ["AUTOCAST_KEY", "autocast_kernels", "overload"]

#: The dispatch key under which PyTorch looks for a backend's casts.
AUTOCAST_KEY = "AutocastPrivateUse1"

#: What autocast runs in the lower precision on CPU and CUDA alike.
_LOWER = (
    *("addbmm", "addmm", "baddbmm", "bmm", "linalg_vecdot", "linear", "matmul", "mm", "prelu"),
    *("_convolution.deprecated", "conv1d", "conv2d", "conv3d", "conv_tbc"),
    *("conv_transpose1d", "conv_transpose2d.input", "conv_transpose3d.input", "scaled_dot_product_attention"),
)
#: What autocast runs in float32 on both.
_FLOAT32 = (
    *("binary_cross_entropy_with_logits", "cosine_embedding_loss", "hinge_embedding_loss", "huber_loss", "kl_div"),
    *("l1_loss", "margin_ranking_loss", "mse_loss", "multi_margin_loss", "multilabel_margin_loss", "nll_loss"),
    *("nll_loss2d", "poisson_nll_loss", "smooth_l1_loss", "soft_margin_loss", "triplet_margin_loss"),
    *("cdist", "prod", "prod.dim_int"),
)

_Kernel = Callable[..., Any]


def autocast_kernels(device_type: str) -> Iterator[tuple[str, _Kernel]]:
    """(ATen operation, what it does under autocast) of every operation that autocast changes."""
    for name in _LOWER:
        yield name, _casting(overload(name), lambda: torch.get_autocast_dtype(device_type))
    for name in _FLOAT32:
        yield name, _casting(overload(name), lambda: torch.float32)
    yield "binary_cross_entropy", _banned


def overload(name: str) -> _Kernel:
    """The ATen operation called ``name`` ("mm", "prod.dim_int")."""
    packet, _, which = name.partition(".")
    found: _Kernel = getattr(getattr(torch.ops.aten, packet), which or "default")
    return found


def _casting(op: _Kernel, dtype: Callable[[], torch.dtype]) -> _Kernel:
    """``op`` with its floating-point arguments cast, and without autocast inside."""

    def cast(leaf: Any) -> Any:
        return leaf.to(dtype()) if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf

    def kernel(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = tree_map(cast, args), tree_map(cast, kwargs)
        with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, AUTOCAST_KEY))):
            return op(*args, **kwargs)

    return kernel


def _banned(*_: Any, **__: Any) -> Any:
    raise RuntimeError(
        "torch.nn.functional.binary_cross_entropy and torch.nn.BCELoss are unsafe to autocast: "
        "use binary_cross_entropy_with_logits"
    )
