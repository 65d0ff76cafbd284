"""A simulated accelerator, ``sim:0``: a second device for PyTorch whose tensors never mix with CPU tensors.

It finds, on a machine without a GPU, the mistakes that a GPU would find: a tensor or a generator left on the CPU, and
a wait for the device in a loop that should not wait::

    with simulated_device() as device, count_synchronizations() as found:
        x = torch.ones(3, device=device)
        x + torch.ones(3)  # RuntimeError: Expected all tensors to be on the same device ...
        x.sum().item()
    assert found == {"item": 1}

It computes on the CPU, and refuses and counts by what PyTorch documents of CUDA. An operation may not take tensors of
both devices, except that a pointwise one takes a CPU tensor of shape () and indexing takes indices from the CPU;
``.numpy()`` needs ``.cpu()``; a generator is of the device that it draws on; and the device's global generator is not
the CPU's. A wait is what ``torch.cuda.set_sync_debug_mode`` reports: reading values, results whose shape depends on
values, and copies between the devices that are not ``non_blocking``.

Limits:
    - It says nothing about speed and memory. Its bits are those of the CPU kernels, where the CPU has the same ones;
      a real device rounds otherwise.
    - There is one device of this kind, without streams, and ``x.is_cuda`` is False: code for CUDA alone does not run.
    - ``torch.Generator`` is replaced while it is open, because PyTorch has no generators for backends in Python.
    - ``nn.LSTM``, ``nn.GRU`` and ``nn.RNN`` cells are fused on accelerators, and these kernels do not exist here.
    - Optimizers take their loop over single tensors unless ``foreach=True`` is given; ``fused`` does not exist.
    - Autocast casts what both CPU and CUDA cast, and refuses what CUDA refuses under it.
    - Once used, the name stays registered with PyTorch until the process ends, and ``torch.accelerator`` reports it.
    - It depends on private functions of PyTorch that exist since 2.10, and is tested on 2.13.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from latentbench.errors import LatentbenchError
from latentbench.testing.simulated_autocast import AUTOCAST_KEY, autocast_kernels, overload

__all__ = ["NAME", "count_synchronizations", "simulated_device"]

#: The device's type, as in ``torch.device("sim", 0)``.
NAME = "sim"

#: Operations whose result needs the device's values on the host -> what the wait is called.
_SYNCHRONIZING = {
    "_local_scalar_dense": "item",
    "nonzero": "nonzero",
    "masked_select": "masked_select",
    "equal": "equal",
    "allclose": "allclose",
    "_unique": "unique",
    "_unique2": "unique",
    "unique_dim": "unique",
    "unique_consecutive": "unique",
    "unique_dim_consecutive": "unique",
    "bincount": "bincount",
    "multinomial": "multinomial",
    "_linalg_check_errors": "linalg",
    "_linalg_eigh": "linalg",
    "_linalg_svd": "linalg",
    "linalg_eig": "linalg",
}
#: Operations that take their indices from either device.
_INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}
#: Factories that PyTorch would make from an empty output, in place; here they are made on the host at once.
_FACTORIES = (
    *("arange", "arange.start", "arange.start_step", "eye", "eye.m", "linspace", "logspace"),
    *("randperm", "randperm.generator", "range", "range.step"),
)

#: What ``count_synchronizations`` counts in, the innermost last.
_counters: list[Counter[str]] = []


@contextmanager
def simulated_device() -> Iterator[torch.device]:
    """Open the simulated device for a block.

    It is open in the thread that opens it. Afterwards PyTorch is as it was, but for the registered name.

    Raises:
        LatentbenchError: another backend has PyTorch's only place for one (``PrivateUse1``).
    """
    _register()
    autograd: Any = torch.autograd
    generator, run_backward = torch.Generator, autograd._engine_run_backward

    def in_this_thread(*args: Any, **kwargs: Any) -> Any:
        """Run a backward pass where it is asked for: a device that is registered late gets no thread from PyTorch.

        That is set for each pass, because ``torch.inference_mode(False)`` sets it back.
        """
        with torch.autograd.set_multithreading_enabled(False):
            return run_backward(*args, **kwargs)

    torch.Generator = _Generator  # type: ignore[misc, assignment]
    autograd._engine_run_backward = in_this_thread
    try:
        with _PythonSide():
            yield torch.device(NAME, 0)
    finally:
        torch.Generator = generator  # type: ignore[misc]
        autograd._engine_run_backward = run_backward


@contextmanager
def count_synchronizations() -> Iterator[Counter[str]]:
    """Count by cause how often the block waits for the simulated device."""
    counter: Counter[str] = Counter()
    _counters.append(counter)
    try:
        yield counter
    finally:
        _counters.remove(counter)


def _synchronize(cause: str) -> None:
    for counter in _counters:
        counter[cause] += 1


class _SimulatedTensor(torch.Tensor):
    """A tensor that says it is on ``sim:0``; a CPU tensor holds its values."""

    _host: Tensor

    @staticmethod
    def __new__(cls, values: Tensor) -> "_SimulatedTensor":
        made: _SimulatedTensor = torch.Tensor._make_wrapper_subclass(
            cls,
            values.size(),
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            layout=values.layout,
            device=torch.device(NAME, 0),
        )
        made._host = values
        return made

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, op: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if torch.is_inference_mode_enabled():  # PyTorch leaves it to us to take composite operations apart
            result = op.decompose(*args, **(kwargs or {}))
            if result is not NotImplemented:
                return result
        return _run(op, args, kwargs or {})

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        """With its counterpart, lets ``Module.to`` keep its Parameter objects, as it does for CUDA."""
        return ["_host"], None

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Tensor], *_: Any) -> "_SimulatedTensor":
        return _SimulatedTensor(inner["_host"])

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """What ``torch.save`` writes: the values, and the device that they were on; ``map_location`` applies."""
        rebuild = torch._utils._rebuild_device_tensor_from_cpu_tensor
        return rebuild, (self._host.detach(), self.dtype, str(self.device), self.requires_grad)

    def _follow(self) -> "_SimulatedTensor":
        """Take over shape and strides where an operation has changed those of the values in place."""
        values = self._host
        if self.shape != values.shape or self.stride() != values.stride():
            with torch._C._AutoDispatchBelowAutograd(), torch._C._DisableTorchDispatch():
                self.as_strided_(values.size(), values.stride(), values.storage_offset())
        return self

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        _synchronize("repr")
        return f"{self._host!r} on {self.device}"

    def tolist(self) -> Any:
        """A nested list, at the price of a wait."""
        _synchronize("tolist")
        return self._host.tolist()

    def numpy(self, *_: Any, **__: Any) -> Any:
        """Refused, as for CUDA."""
        raise TypeError(
            f"can't convert {self.device} device type tensor to numpy. "
            "Use Tensor.cpu() to copy the tensor to host memory first."
        )

    __array__ = numpy


def _run(op: Any, args: Any, kwargs: Any) -> Any:
    """Run one ATen operation that takes or makes tensors of the simulated device."""
    name, draws = _facts(op)
    found: list[Any] = []
    on_host, options = _on_host(args, found), _on_host(kwargs, found)
    simulated = [leaf for leaf in found if isinstance(leaf, _SimulatedTensor)]
    host = [leaf for leaf in found if isinstance(leaf, Tensor) and not isinstance(leaf, _SimulatedTensor)]
    device = next((leaf for leaf in found if isinstance(leaf, torch.device)), None)
    if name == "_has_compatible_shallow_copy_type":
        return len(simulated) != 1
    if name == "copy_":
        _count_copy(*args, **kwargs)
    elif name == "_to_copy" and device is not None and device.type != NAME:
        _count_copy(None, *args, **kwargs)
    else:
        if simulated and host:
            _refuse_both_devices(op, name, args, host)
        _count(name, args, kwargs)

    if draws and not any(isinstance(leaf, torch._C.Generator) for leaf in found):
        with _global_generator.in_use():
            result = op(*on_host, **options)
    else:
        result = op(*on_host, **options)

    on_device = bool(simulated) if device is None else device.type == NAME

    def on_simulated(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor) or isinstance(leaf, _SimulatedTensor):
            return leaf
        for tensor in reversed(simulated):
            if tensor._host is leaf:  # changed in place
                return tensor._follow()
        if not on_device or any(leaf is tensor for tensor in host):
            return leaf
        inference = leaf.is_inference()  # a view of an ordinary tensor is one in inference mode, too
        if inference == torch.is_inference_mode_enabled():
            return _SimulatedTensor(leaf)
        with torch.inference_mode(inference):
            return _SimulatedTensor(leaf)

    return _mapped(on_simulated, result)


@cache
def _facts(op: Any) -> tuple[str, bool]:
    """The operation's name, and whether it draws random numbers."""
    return op._schema.name.removeprefix("aten::"), torch.Tag.nondeterministic_seeded in op.tags


def _on_host(tree: Any, found: list[Any]) -> Any:
    """Nested tuples, lists and dictionaries, which are all that operations take, with values and devices of the host.

    What was given of tensors, devices and generators is appended to ``found``.
    """
    if isinstance(tree, (tuple, list)):
        return type(tree)([_on_host(branch, found) for branch in tree])
    if isinstance(tree, dict):
        return {name: _on_host(branch, found) for name, branch in tree.items()}
    if isinstance(tree, (Tensor, torch.device, torch._C.Generator)):
        found.append(tree)
        if isinstance(tree, _SimulatedTensor):
            return tree._host
        if isinstance(tree, torch.device):
            return torch.device("cpu")
    return tree


def _mapped(function: Callable[[Any], Any], tree: Any) -> Any:
    """The same nested tuples, lists and dictionaries, of the function's values; PyTorch's ``tree_map`` is slower."""
    if isinstance(tree, (tuple, list)):
        return type(tree)([_mapped(function, branch) for branch in tree])
    if isinstance(tree, dict):
        return {name: _mapped(function, branch) for name, branch in tree.items()}
    return function(tree)


def _refuse_both_devices(op: Any, name: str, args: Any, host: list[Tensor]) -> None:
    """Raise as CUDA does where tensors of the host are given, too, and may not be."""
    if name in _INDEXING and isinstance(args[0], _SimulatedTensor):
        indices = {id(index) for index in args[1]}
        host = [tensor for tensor in host if id(tensor) not in indices]
    changed = name.endswith("_") and not isinstance(args[0], _SimulatedTensor)
    takes_scalars = (
        torch.Tag.pointwise in op.tags or name.startswith(("fill", "masked_fill", "_foreach_")) or name in _INDEXING
    )
    if host and (changed or not all(tensor.dim() == 0 and takes_scalars for tensor in host)):
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices, "
            f"{NAME}:0 and {host[0].device}! (in {op})"
        )


def _count(name: str, args: Any, kwargs: Any) -> None:
    """Count the waits of an operation other than a copy."""
    if name in _SYNCHRONIZING:
        _synchronize(_SYNCHRONIZING[name])
    elif name == "repeat_interleave" and kwargs.get("output_size") is None:
        _synchronize("repeat_interleave")
    elif name in ("masked_fill", "masked_fill_") and isinstance(args[2], _SimulatedTensor):
        _synchronize("item")  # CUDA reads the value
    elif name in _INDEXING and isinstance(args[0], _SimulatedTensor):
        indices = [index for index in args[1] if index is not None]
        for index in indices:
            if not isinstance(index, _SimulatedTensor):
                _synchronize("copy to the device")
            elif index.dtype in (torch.bool, torch.uint8) and not (name != "index" and args[2].numel() == 1):
                _synchronize("index by a mask")  # one number under a mask is a masked_fill, which does not wait


def _count_copy(to: Tensor | None, source: Tensor, non_blocking: bool = False, **options: Any) -> None:
    """Count a copy into ``to``, or into a new CPU tensor, if it goes from one device to the other and waits."""
    there, here = isinstance(to, _SimulatedTensor), isinstance(source, _SimulatedTensor)
    if there != here and not (non_blocking or options.get("non_blocking")):
        _synchronize("copy to the device" if there else "copy to the host")


class _GlobalGenerator:
    """The device's global generator. Operations without a generator draw from it in the place of the CPU's."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(torch.initial_seed())

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Let PyTorch's default CPU generator be this one."""
        host = torch.get_rng_state()
        torch.set_rng_state(self.generator.get_state())
        try:
            yield
        finally:
            self.generator.set_state(torch.get_rng_state())
            torch.set_rng_state(host)


_global_generator = _GlobalGenerator()


class _AnyGenerator(type(torch.Generator)):  # type: ignore[misc]
    """So that every generator is an instance of what ``torch.Generator`` is replaced by."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, torch._C.Generator)


class _Generator(torch._C.Generator, metaclass=_AnyGenerator):
    """Takes the place of ``torch.Generator``: makes generators of the simulated device, too."""

    def __new__(cls, device: torch.device | str | int = "cpu") -> Any:
        if torch.device(device).type != NAME:
            return torch._C.Generator(device)
        return super().__new__(cls, "cpu")  # type: ignore[call-arg]

    device = property(lambda self: torch.device(NAME, 0))


class _PythonSide(TorchFunctionMode):
    """What has to be seen above the dispatcher: generators, and tensors made of Python numbers."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        generator = kwargs.get("generator")
        if generator is not None:
            _refuse_other_generator(generator, args, kwargs.get("device"))
        if function in (torch.tensor, torch.as_tensor, torch.Tensor.new_tensor):
            device = kwargs.get("device", args[0].device if function is torch.Tensor.new_tensor else None)
            if device is not None and torch.device(device).type == NAME:
                return _from_python(function, args, kwargs)
        return function(*args, **kwargs)


def _from_python(function: Any, args: Any, kwargs: dict[str, Any]) -> Tensor:
    """What ``torch.tensor`` and its kind do on a device: make the tensor on the host, and copy it."""
    requires_grad = kwargs.get("requires_grad", False)
    host = {name: value for name, value in kwargs.items() if name not in ("device", "requires_grad")}
    if function is torch.Tensor.new_tensor:
        like, *args = args
        host.setdefault("dtype", like.dtype)
        function = torch.tensor
    if isinstance(args[0], Tensor):
        moved = args[0].to(torch.device(NAME, 0), *args[1:], **host)
        return moved if function is torch.as_tensor else moved.detach().clone().requires_grad_(requires_grad)
    made: Tensor = function(*args, **host)
    return made.to(torch.device(NAME, 0)).requires_grad_(requires_grad)


def _refuse_other_generator(generator: torch.Generator, args: Any, device: Any) -> None:
    """Raise as CUDA does if the generator is not of the device that is drawn on."""
    found: list[Any] = []
    _on_host(args, found)
    tensor = next((leaf for leaf in found if isinstance(leaf, Tensor)), None)
    on = torch.device(device) if device is not None else tensor.device if tensor is not None else torch.device("cpu")
    if on.type != generator.device.type:
        raise RuntimeError(f"Expected a '{on.type}' device type for generator but found '{generator.device.type}'")


class _Module:
    """``torch.sim``: what PyTorch asks of a device's module."""

    def is_available(self) -> bool:
        return True

    def is_initialized(self) -> bool:
        return True

    def current_device(self) -> int:
        return 0

    def set_device(self, device: Any) -> None:
        pass

    def device_count(self) -> int:
        return 1

    def get_device_name(self, device: Any = None) -> str:
        return NAME

    def synchronize(self, device: Any = None) -> None:
        _synchronize("synchronize")

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed(self, seed: int) -> None:
        _global_generator.generator.manual_seed(seed)

    manual_seed_all = manual_seed

    def get_rng_state(self, device: Any = 0) -> Tensor:
        return _global_generator.generator.get_state()

    def set_rng_state(self, state: Tensor, device: Any = 0) -> None:
        _global_generator.generator.set_state(state)


@lru_cache(maxsize=1)
def _register() -> tuple[Any, ...]:
    """Register the device with PyTorch; returns what has to live as long as the process."""

    class Guard(torch._C._acc.DeviceGuard):
        def type_(self) -> Any:
            return torch._C._autograd.DeviceType.PrivateUse1

    class Hooks(torch._C._acc.PrivateUse1Hooks):
        def is_available(self) -> bool:
            return True

        def has_primary_context(self, index: int) -> bool:
            return True

        def is_built(self) -> bool:
            return True

    taken = torch._C._get_privateuse1_backend_name()
    if taken != "privateuseone":
        raise LatentbenchError(f"the device '{NAME}' cannot be had beside PyTorch's backend '{taken}'", "uninstall one")
    hooks, guard = Hooks(), Guard()
    torch.utils.backend_registration._setup_privateuseone_for_python_backend(NAME, _Module(), hooks, guard)
    everything: Any = torch.library.Library("_", "IMPL")  # type: ignore[no-untyped-call]
    aten: Any = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]
    everything.fallback(lambda op, *args, **kwargs: _run(op, args, kwargs), "PrivateUse1")
    for name in _FACTORIES:
        op = overload(name)
        aten.impl(name, lambda *args, op=op, **kwargs: _run(op, args, kwargs), "PrivateUse1")
    everything.fallback(torch.library.fallthrough_kernel, AUTOCAST_KEY)
    for name, kernel in autocast_kernels(NAME):
        aten.impl(name, kernel, AUTOCAST_KEY)
    return hooks, guard, everything, aten
