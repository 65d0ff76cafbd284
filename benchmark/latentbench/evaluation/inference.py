"""What a model gives for images: one capability run over batches, its output checked against its promise."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from latentbench.data.splits import DataInfo
from latentbench.devices import fork_rng
from latentbench.errors import LatentbenchError, blame
from latentbench.model import Model, memory_format_of
from latentbench.value_name import wrong_piece

__all__ = ["WHOLE_CODE", "Parts", "as_codes", "infer", "seeded"]

#: Arrays (N, ...) by part: by subspace, attribute, facet or score's name; "" alone where one tensor is given.
Parts = dict[str, npt.NDArray[Any]]

#: What is float32 whatever a model gives: images, whose numbers are of size one. Anything else stays float64 where a
#: model gives that: numbers that differ would become ties, in a rank, an argmax or a distance.
_ROUNDED = ("reconstruct", "decode", "sample")

#: The name of the code where ``encode`` gives one without named subspaces.
WHOLE_CODE = "z"


def infer(
    model: Model,
    capability: str,
    batches: Iterable[Tensor],
    info: DataInfo,
    *,
    seed: int,
    device: torch.device,
    where: str,
    codes: Iterable[Tensor | Mapping[str, Tensor]] | None = None,
) -> Parts:
    """Run one capability over batches of images, in inference mode, without gradients.

    The images themselves are made outside of inference mode, as the model's parameters and buffers were: so a method
    that leaves it for gradients of its own can use them there (``latentbench.capabilities``).

    PyTorch's global generators are seeded for it and put back afterwards, so that the result depends on no other draw
    and no other draw depends on it.

    Args:
        model: a fitted model that has the capability; it is left in eval mode, and, as the images are, in the memory
            format that its options ask for.
        capability: a name of ``latentbench.capabilities``; ``sample`` draws as many images as the batches hold.
        batches: images, each (B, C, H, W) float32 on ``device``.
        info: the shapes and attributes that the output is held against.
        seed: of PyTorch's global generators.
        device: where model and images are.
        where: what is being run, as the beginning of an error ("model 'vae', capability 'score' on split 'test'").
        codes: for ``decode``, and for ``sample`` with something given: codes on ``device``, in place of ``batches``.

    Returns:
        All batches as one: int64 for ``cluster``; float32 for images; for anything else float64 where the model gives
        that in any batch, else float32. A code without subspaces is the part ``WHOLE_CODE``.

    Raises:
        LatentbenchError: an output of the wrong type, names, shape or dtype, or not finite.
    """
    model.eval()
    memory_format = memory_format_of(model.config)
    reordered = memory_format is not torch.contiguous_format
    if reordered:
        model.to(memory_format=memory_format)  # type: ignore[call-overload]
    method = getattr(model, capability)
    chunks: list[Parts] = []
    with seeded(device, seed):
        for given in batches if codes is None else codes:
            size = len(given if isinstance(given, Tensor) else next(iter(given.values())))
            if reordered and codes is None and capability != "sample" and isinstance(given, Tensor):
                given = given.contiguous(memory_format=memory_format)
            arguments = (given,) if capability != "sample" else (size,) if codes is None else (size, given)
            with blame(where), torch.inference_mode():
                result = method(*arguments)
            parts = _parts(result, capability, info, where)
            if chunks and parts.keys() != chunks[0].keys():
                raise LatentbenchError(where, f"expected {_names(chunks[0])} in every batch, got {_names(parts)}")
            chunks.append(
                {
                    part: _array(tensor, capability, (size, *_shape(capability, part, info)), _at(where, part))
                    for part, tensor in parts.items()
                }
            )
    return {part: _whole([chunk[part] for chunk in chunks], _at(where, part)) for part in chunks[0]}


@contextmanager
def seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Seed PyTorch's global generators for the block, and put them back after it."""
    with fork_rng(device):
        torch.manual_seed(seed)
        yield


def as_codes(parts: Parts, device: torch.device) -> Tensor | dict[str, Tensor]:
    """Codes as ``encode`` gave them, from what ``infer`` made of them: a tensor, or tensors by subspace."""
    tensors = {part: torch.from_numpy(array).to(device) for part, array in parts.items()}
    return tensors[WHOLE_CODE] if list(tensors) == [WHOLE_CODE] else tensors


def _parts(result: Any, capability: str, info: DataInfo, where: str) -> Mapping[str, Any]:
    """The capability's result by part, its names checked."""
    if capability == "encode" and isinstance(result, Tensor):
        return {WHOLE_CODE: result}
    if capability not in ("encode", "predict", "cluster") and not (
        capability == "score" and isinstance(result, Mapping)
    ):
        return {"": result}
    if not isinstance(result, Mapping):
        raise LatentbenchError(where, f"expected a mapping of names to tensors, got {type(result).__name__}")
    if capability == "predict" and set(result) != set(info.attributes):
        raise LatentbenchError(where, f"expected attributes {_names(info.attributes)}, got {_names(result)}")
    if capability != "predict" and not result:
        raise LatentbenchError(where, "expected a mapping of names to tensors, got an empty one")
    for name in result:
        if wrong := wrong_piece(name):
            raise LatentbenchError(where, wrong)
    return result


def _shape(capability: str, part: str, info: DataInfo) -> tuple[int | str, ...]:
    """Shape of one image's result; "D" stands for any size."""
    match capability:
        case "encode":
            return ("D",)
        case "predict":
            return (info.attributes[part],)
        case "localize":
            return (info.height, info.width)
        case "reconstruct" | "decode" | "sample":
            return info.image_shape
        case _:
            return ()


def _array(tensor: Any, capability: str, shape: tuple[int | str, ...], where: str) -> npt.NDArray[Any]:
    """One batch's result copied to the CPU, its type, shape and dtype checked."""
    if not isinstance(tensor, Tensor):
        raise LatentbenchError(where, f"expected a tensor, got {type(tensor).__name__}")
    found = tuple(tensor.shape)
    if len(found) != len(shape) or any(size not in ("D", got) for size, got in zip(shape, found, strict=True)):
        raise LatentbenchError(where, f"expected shape {_tuple(shape)}, got {_tuple(found)}")
    if capability == "cluster":
        if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
            raise LatentbenchError(where, f"expected integers, got {tensor.dtype}")
        return tensor.to("cpu", torch.int64, copy=True).numpy()
    if not tensor.is_floating_point():
        raise LatentbenchError(where, f"expected floating-point numbers, got {tensor.dtype}")
    keeps = tensor.dtype == torch.float64 and capability not in _ROUNDED
    return tensor.detach().to("cpu", torch.float64 if keeps else torch.float32, copy=True).numpy()


def _whole(chunks: list[npt.NDArray[Any]], where: str) -> npt.NDArray[Any]:
    """All batches as one array, checked to be of one width and finite."""
    widths = sorted({chunk.shape[1:] for chunk in chunks})
    if len(widths) > 1:
        raise LatentbenchError(where, f"expected one size for all images, got {' and '.join(map(_tuple, widths))}")
    array = np.concatenate(chunks)
    finite = np.isfinite(array)
    if not finite.all():
        kinds = (("NaN", np.isnan(array).sum()), ("infinite", np.isinf(array).sum()))
        bad = " and ".join(f"{count} {kind}" for kind, count in kinds if count)
        first = np.argwhere(~finite)[0][0]
        raise LatentbenchError(where, f"expected finite values, got {bad} of {array.size} (first at image {first})")
    return array


def _at(where: str, part: str) -> str:
    return f"{where}, '{part}'" if part else where


def _names(parts: Iterable[Any]) -> str:
    return ", ".join(map(str, parts)) or "(none)"


def _tuple(shape: tuple[int | str, ...]) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
