"""The simulated device refuses and counts what PyTorch documents of CUDA, and computes what the CPU computes."""

import copy
import io
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn import functional

from latentbench.testing.simulated_device import count_synchronizations, simulated_device


@pytest.fixture
def device():
    with simulated_device() as device:
        yield device


def here():
    return torch.arange(6.0).view(2, 3)


#: What CUDA refuses -> (what to do with a tensor of the device, the beginning of PyTorch's error).
MIXED = "Expected all tensors to be on the same device"
REFUSED = {
    "sum": (lambda x: x + here(), MIXED),
    "sum, the other way": (lambda x: here() + x, MIXED),
    "product with a number of the device": (lambda x: here() * x.sum(), MIXED),
    "in place": (lambda x: here().add_(x), MIXED),
    "in place into a number": (lambda x: torch.zeros(()).add_(x.sum()), MIXED),
    "matrix product": (lambda x: x @ here().T, MIXED),
    "matrix and number": (lambda x: functional.linear(x, torch.ones(1, 3)), MIXED),
    "cat": (lambda x: torch.cat([x, here()]), MIXED),
    "stack of numbers": (lambda x: torch.stack([x.sum(), here().sum()]), MIXED),
    "where": (lambda x: torch.where(here() > 1, x, 0.0), MIXED),
    "index_select": (lambda x: x.index_select(0, torch.tensor([0])), MIXED),
    "gather": (lambda x: x.gather(1, torch.zeros(2, 1, dtype=torch.int64)), MIXED),
    "embedding": (lambda x: functional.embedding(torch.tensor([1]), x), MIXED),
    "index of a CPU tensor": (lambda x: here()[torch.tensor([0], device=x.device)], MIXED),
    "loss": (lambda x: functional.mse_loss(x, here()), MIXED),
    "cross-entropy": (lambda x: functional.cross_entropy(x, torch.tensor([0, 1])), MIXED),
    "layer on the CPU": (lambda x: nn.Linear(3, 2)(x), MIXED),
    "numpy": (lambda x: x.numpy(), "can't convert sim:0 device type tensor to numpy"),
    "asarray": (lambda x: np.asarray(x), "can't convert sim:0 device type tensor to numpy"),
    "numpy function": (lambda x: np.add(x, 1), "can't convert sim:0 device type tensor to numpy"),
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("inference", [False, True])
def test_what_cuda_refuses_is_refused(what, inference, device):
    do, message = REFUSED[what]
    x = here().to(device)
    with pytest.raises((RuntimeError, TypeError), match=message), torch.inference_mode(inference):
        do(x)


#: Drawing with a generator of the other device -> what to do with a generator of the CPU and one of the device.
OTHER_GENERATOR = {
    "rand": lambda cpu, sim: torch.rand(2, generator=cpu, device="sim"),
    "rand on the CPU": lambda cpu, sim: torch.rand(2, generator=sim),
    "randperm": lambda cpu, sim: torch.randperm(2, generator=cpu, device="sim"),
    "randint on the CPU": lambda cpu, sim: torch.randint(3, (2,), generator=sim),
    "normal_": lambda cpu, sim: torch.ones(2, device="sim").normal_(generator=cpu),
    "uniform_ on the CPU": lambda cpu, sim: torch.ones(2).uniform_(generator=sim),
    "bernoulli": lambda cpu, sim: torch.bernoulli(torch.ones(2, device="sim"), generator=cpu),
    "multinomial": lambda cpu, sim: torch.multinomial(torch.ones(2, device="sim"), 1, generator=cpu),
    "initialization": lambda cpu, sim: nn.init.xavier_uniform_(torch.ones(2, 2, device="sim"), generator=cpu),
}


@pytest.mark.parametrize("what", OTHER_GENERATOR)
def test_a_generator_of_the_other_device_is_refused(what, device):
    with pytest.raises(RuntimeError, match=r"Expected a '(sim|cpu)' device type for generator but found '(sim|cpu)'"):
        OTHER_GENERATOR[what](torch.Generator(), torch.Generator(device))


#: What CUDA takes although a CPU tensor is among it: numbers (tensors of shape ()) where values are combined one by
#: one, and indices.
TAKEN = {
    "sum with a number": lambda x: x + torch.tensor(1.0),
    "where with a number": lambda x: torch.where(x > 1, torch.tensor(0.0), x),
    "fill": lambda x: x.clone().fill_(torch.tensor(2.0)),
    "masked_fill": lambda x: x.masked_fill(x > 1, torch.tensor(2.0)),
    "index": lambda x: x[torch.tensor([0])],
    "set at an index": lambda x: x.clone().index_put_((torch.tensor([0]),), torch.ones(3, device=x.device)),
}


@pytest.mark.parametrize("what", TAKEN)
def test_what_cuda_takes_of_the_cpu_is_taken(what, device):
    found = TAKEN[what](here().to(device))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "ones", lambda *size, device: torch.full(size, 1.0))
        expected = TAKEN[what](here())
    assert found.device == device
    assert torch.equal(found.cpu(), expected)


#: What to do with a tensor of the device -> the causes; first what CUDA waits for, as
#: ``torch.cuda.set_sync_debug_mode`` and the documentation of torch.linalg say, then what it does not wait for.
SYNCHRONIZES: dict[str, tuple[Callable[[Any], Any], dict[str, int]]] = {
    "item": (lambda x: x.sum().item(), {"item": 1}),
    "float": (lambda x: float(x.sum()), {"item": 1}),
    "if": (lambda x: bool(x.sum() > 1), {"item": 1}),
    "tolist": (lambda x: x.tolist(), {"tolist": 1}),
    "print": (str, {"repr": 1}),
    "nonzero": (lambda x: x.nonzero(), {"nonzero": 1}),
    "where": (lambda x: torch.where(x > 1), {"nonzero": 1}),
    "masked_select": (lambda x: x.masked_select(x > 1), {"masked_select": 1}),
    "mask": (lambda x: x[x > 1], {"index by a mask": 1}),
    "set under a mask": (lambda x: x.clone().index_put_((x[:, 0] > 1,), x[1:]), {"index by a mask": 1}),
    "masked_fill with a number of the device": (lambda x: x.masked_fill(x > 1, x.sum()), {"item": 1}),
    "unique": (lambda x: x.unique(), {"unique": 1}),
    "equal": (lambda x: torch.equal(x, x), {"equal": 1}),
    "allclose": (lambda x: torch.allclose(x, x), {"allclose": 1}),
    "bincount": (lambda x: x.long().flatten().bincount(), {"bincount": 1}),
    "repeats": (lambda x: x.repeat_interleave(x[0].long()[1:], 0), {"repeat_interleave": 1}),
    "one_hot without a number": (lambda x: functional.one_hot(x.long()), {"item": 1}),
    "multinomial": (lambda x: torch.multinomial(x + 1, 1), {"multinomial": 1}),
    "to the host": (lambda x: x.cpu(), {"copy to the host": 1}),
    "into a CPU tensor": (lambda x: here().copy_(x), {"copy to the host": 1}),
    "to the device": (lambda x: here().to(x.device), {"copy to the device": 1}),
    "into a tensor of the device": (lambda x: x.clone().copy_(here()), {"copy to the device": 1}),
    "tensor of numbers": (lambda x: torch.tensor([1.0], device=x.device), {"copy to the device": 1}),
    "new_tensor": (lambda x: x.new_tensor(1.0), {"copy to the device": 1}),
    "index from the CPU": (lambda x: x[torch.tensor([0])], {"copy to the device": 1}),
    "cholesky": (lambda x: torch.linalg.cholesky(x @ x.T + 1), {"linalg": 1}),
    "eigh": (lambda x: torch.linalg.eigh(x @ x.T), {"linalg": 1}),
    "svd": (lambda x: torch.linalg.svd(x), {"linalg": 1}),
    "inv": (lambda x: torch.linalg.inv(x @ x.T + torch.eye(2, device=x.device)), {"linalg": 1}),
    "arithmetic": (lambda x: (x @ x.T).exp().mean(), {}),
    "factories": (
        lambda x: (x.new_zeros(3), torch.full((2,), 3.0, device=x.device), torch.arange(3, device="sim")),
        {},
    ),
    "random numbers": (lambda x: torch.randn(3, device=x.device), {}),
    "index on the device": (lambda x: x[torch.arange(2, device=x.device)], {}),
    "slice": (lambda x: x[:1, 1:], {}),
    "one number under a mask": (lambda x: x.clone().masked_fill_(x > 1, 0.0), {}),
    "set one number under a mask": (lambda x: x.clone().__setitem__(x > 1, 0.0), {}),
    "where of three": (lambda x: torch.where(x > 1, x, 0.0), {}),
    "repeats of a number": (lambda x: x.repeat_interleave(2, 0), {}),
    "one_hot of a number": (lambda x: functional.one_hot(x.long(), 6), {}),
    "non_blocking to the device": (lambda x: here().to(x.device, non_blocking=True), {}),
    "non_blocking to the host": (lambda x: x.to("cpu", non_blocking=True), {}),
    "dtype": (lambda x: x.double().to(torch.int64), {}),
    "clipping": (lambda x: nn.utils.clip_grad_norm_([nn.Parameter(x)], 1.0), {}),
    "sort and topk": (lambda x: (x.sort(), x.topk(2), x.argmax(1), x.quantile(0.5)), {}),
}


@pytest.mark.parametrize("what", SYNCHRONIZES)
@pytest.mark.parametrize("inference", [False, True])
def test_what_cuda_waits_for_is_counted(what, inference, device):
    do, causes = SYNCHRONIZES[what]
    x = here().to(device)
    with torch.inference_mode(inference), count_synchronizations() as found:
        do(x)
    assert found == causes


def test_counts_nest_and_end_with_their_block(device):
    x = torch.ones(3, device=device)
    with count_synchronizations() as outer:
        x.tolist()
        with count_synchronizations() as inner:
            x.sum().item()
        x.tolist()
    x.tolist()
    assert (inner, outer) == ({"item": 1}, {"item": 1, "tolist": 2})


class Everything(nn.Module):
    """Convolutions, batch norm, layer norm, attention, an embedding, and two layers that share a weight."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.up, self.layer = nn.ConvTranspose2d(4, 2, 2, stride=2), nn.LayerNorm(16)
        self.attention, self.embedding = nn.MultiheadAttention(8, 2, batch_first=True), nn.Embedding(5, 16)
        self.first, self.tied = nn.Linear(8, 16), nn.Linear(8, 16)
        self.tied.weight = self.first.weight

    def forward(self, images, labels):
        x = functional.gelu(self.norm(self.conv(images)))
        x = functional.max_pool2d(self.up(x), 2)
        x = x.flatten(1).unflatten(1, (16, 8))
        x, _ = self.attention(x, x, x)
        x = self.layer(functional.elu(self.first(x[:, -1]) + self.tied(x[:, 0])))
        return functional.cross_entropy(x @ self.embedding.weight.T, labels) + x.std(0).sum() + x[:, ::2].amax(1).mean()


def trained(device, optimizer, steps=4):
    """Losses of each step, and the trained module, whose draws are all from the CPU's generator."""
    torch.manual_seed(0)
    module = Everything().to(device)
    images, labels = torch.rand(steps, 6, 1, 8, 8), torch.randint(5, (steps, 6))
    stepper, losses = optimizer(module.parameters()), []
    for batch, truth in zip(images.to(device), labels.to(device), strict=True):
        stepper.zero_grad()
        loss = module(batch, truth)
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        stepper.step()
        losses.append(loss.detach())
    return module, torch.stack(losses).tolist(), stepper


OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, 0.1, momentum=0.9),
    "sgd foreach": lambda parameters: torch.optim.SGD(parameters, 0.1, momentum=0.9, foreach=True),
    "adam": lambda parameters: torch.optim.Adam(parameters, 0.01),
    "adam foreach": lambda parameters: torch.optim.Adam(parameters, 0.01, amsgrad=True, foreach=True),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, 0.01),
    "adamw foreach": lambda parameters: torch.optim.AdamW(parameters, 0.01, foreach=True),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_gives_the_bits_of_the_cpu_and_does_not_wait(name, device):
    expected, losses, _ = trained("cpu", OPTIMIZERS[name])
    found, losses_there, _ = trained(device, OPTIMIZERS[name])
    assert losses_there == losses
    assert found.tied.weight is found.first.weight
    for key, value in expected.state_dict().items():
        there = found.state_dict()[key]
        assert there.device == device
        assert torch.equal(there.cpu(), value), key
    x, labels = torch.rand(6, 1, 8, 8, device=device), torch.zeros(6, dtype=torch.int64, device=device)
    stepper = OPTIMIZERS[name](found.parameters())
    for again in range(2):
        with count_synchronizations() as synchronizations:
            found(x, labels).backward()
            stepper.step()
        assert again == 0 or not synchronizations


def test_gradients_are_those_of_the_cpu_through_views_indices_and_double_backward(device):
    def gradient(on):
        x = torch.linspace(-1, 1, 12, dtype=torch.float64, device=on).view(3, 4).requires_grad_()
        y = (x[torch.tensor([0, 2, 2], device=on)].T.unsqueeze(0) * x.T).cumsum(-1).tanh()
        (first,) = torch.autograd.grad(y.logsumexp((1, 2)).sum(), x, create_graph=True)
        first.square().sum().backward()
        assert x.grad is not None
        return x.grad.cpu()

    assert torch.equal(gradient(device), gradient("cpu"))


def test_dropout_keeps_the_share_that_it_should_and_scales_it(device):
    torch.manual_seed(0)
    dropped = functional.dropout(torch.ones(10_000, device=device), 0.25)
    kept = dropped != 0
    assert torch.equal(dropped, kept / 0.75)
    assert abs(float(kept.float().mean()) - 0.75) < 4 * (0.25 * 0.75 / 10_000) ** 0.5


@pytest.mark.parametrize(("h", "w"), [(8, 8)])
def test_autocast_casts_as_on_the_cpu(h, w, device):
    torch.manual_seed(0)
    module, images = (
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)),
        torch.rand(2, 1, h, w),
    )
    expected, results = copy.deepcopy(module), []
    for net, on in ((expected, torch.device("cpu")), (module.to(device), device)):
        x = images.to(on)
        with torch.autocast(on.type, torch.bfloat16):
            y = net(x)
            loss = functional.mse_loss(y, torch.zeros_like(y))
        assert (y.dtype, loss.dtype) == (torch.bfloat16, torch.float32)
        loss.backward()
        results.append([y.cpu(), loss.cpu(), *(cast(Tensor, parameter.grad).cpu() for parameter in net.parameters())])
    assert all(torch.equal(here, there) for here, there in zip(*results, strict=True))


def test_autocast_refuses_binary_cross_entropy_as_on_cuda(device):
    p = torch.full((2,), 0.5, device=device)
    with torch.autocast("sim", torch.bfloat16), pytest.raises(RuntimeError, match="unsafe to autocast"):
        functional.binary_cross_entropy(p, p)
    functional.binary_cross_entropy(p, p)


def test_the_global_generator_is_not_that_of_the_cpu_and_one_seed_seeds_both(device):
    torch.manual_seed(5)
    here, there = torch.rand(4), torch.rand(4, device=device)
    assert torch.equal(here, there.cpu())
    torch.manual_seed(5)
    torch.rand(4)
    assert torch.equal(torch.rand(4, device=device).cpu(), here)
    torch.manual_seed(5)
    torch.dropout(torch.ones(9, device=device), 0.5, True)
    assert torch.equal(torch.rand(4), here)


def test_fork_rng_puts_back_the_generators_that_it_is_told_of(device):
    torch.manual_seed(5)
    expected = torch.rand(4, device=device)
    torch.manual_seed(5)
    with torch.random.fork_rng(devices=[device], device_type="sim"):
        torch.rand(4, device=device)
    assert torch.equal(torch.rand(4, device=device), expected)
    torch.manual_seed(5)
    with torch.random.fork_rng(devices=[], device_type="sim"):
        torch.rand(4, device=device)
    assert not torch.equal(torch.rand(4, device=device), expected)


def test_a_generator_is_seeded_and_its_state_put_back(device):
    generator = torch.Generator(device).manual_seed(3)
    assert (generator.device, torch.Generator().device.type) == (device, "cpu")
    assert isinstance(generator, torch.Generator)
    assert isinstance(torch.default_generator, torch.Generator)
    state = generator.get_state()
    expected = torch.randperm(9, generator=generator, device=device)
    generator.set_state(state)
    assert torch.equal(torch.randperm(9, generator=generator, device=device), expected)
    assert torch.equal(expected.cpu(), torch.randperm(9, generator=torch.Generator().manual_seed(3)))


def test_states_move_between_the_devices(device):
    module, _, optimizer = trained(device, OPTIMIZERS["adam"])
    state = {name: value.cpu() for name, value in module.state_dict().items()}
    back = Everything()
    back.load_state_dict(state)
    again = Everything().to(device)
    again.load_state_dict(load(save({name: value.clone() for name, value in back.state_dict().items()})))
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in again.state_dict().items())

    file = io.BytesIO()
    torch.save({"model": module.state_dict(), "optimizer": optimizer.state_dict()}, file)
    for where, on in (("cpu", "cpu"), (None, "sim")):
        file.seek(0)
        loaded = torch.load(file, map_location=where, weights_only=True)
        assert {value.device.type for value in loaded["model"].values()} == {on}
        assert loaded["optimizer"]["state"][0]["exp_avg"].device.type == on
    file.seek(0)
    loaded = torch.load(file, map_location="cpu", weights_only=True)
    assert loaded["model"]["first.weight"].data_ptr() == loaded["model"]["tied.weight"].data_ptr()
    resumed = OPTIMIZERS["adam"](again.parameters())
    resumed.load_state_dict(loaded["optimizer"])
    assert resumed.state_dict()["state"][0]["exp_avg"].device == device


def test_a_copy_of_a_module_is_one_of_its_own(device):
    module = Everything().to(device)
    twin = copy.deepcopy(module)
    assert twin.tied.weight is twin.first.weight
    assert isinstance(twin.first.weight, nn.Parameter)
    with torch.no_grad():
        twin.first.weight.zero_()
    assert bool(module.first.weight.detach().any())


def test_shapes_change_in_place(device):
    x = torch.arange(6.0, device=device).view(2, 3)
    assert x.unsqueeze_(0).shape == (1, 2, 3)
    assert x.squeeze_().t_().stride() == (1, 3)
    assert torch.equal((x + 1).cpu(), torch.arange(1, 7.0).view(2, 3).T)


def test_inference_mode_gives_what_no_grad_gives(device):
    module = Everything().to(device).eval()
    x, labels = torch.rand(6, 1, 8, 8, device=device), torch.zeros(6, dtype=torch.int64, device=device)
    with torch.no_grad():
        expected = module(x, labels)
    with torch.inference_mode():
        found = module(x, labels)
        view = x[0]
    assert torch.equal(found, expected)
    assert found.is_inference()
    assert not view.is_inference()


def test_leaving_puts_everything_back():
    generator, swap = torch.Generator, torch.__future__.get_swap_module_params_on_conversion()
    threads = torch._C._is_multithreading_enabled()
    with suppress(ZeroDivisionError), simulated_device():
        assert torch.Generator is not generator
        raise ZeroDivisionError
    assert torch.Generator is generator
    assert torch.__future__.get_swap_module_params_on_conversion() == swap
    assert torch._C._is_multithreading_enabled() == threads
    assert torch._C._len_torch_function_stack() == 0
    x = torch.ones(2, requires_grad=True)
    (x * torch.rand(2, generator=torch.Generator())).sum().backward()


def in_a_new_process(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_nothing_is_registered_before_the_first_use():
    name = "torch._C._get_privateuse1_backend_name()"
    code = f"import torch, latentbench.testing as t, latentbench.testing.simulated_device as s; before = {name}\n"
    assert in_a_new_process(f"{code}with s.simulated_device(): print(before, {name})") == "privateuseone sim"


def test_it_opens_after_a_backward_pass_on_the_cpu():
    code = """
import torch
from latentbench.testing.simulated_device import simulated_device
torch.ones(1, requires_grad=True).sum().backward()
with simulated_device() as device:
    x = torch.ones(1, device=device, requires_grad=True)
    x.sum().backward()
    print(x.grad.item())
"""
    assert in_a_new_process(code) == "1.0"


def test_beside_another_backend_in_pytorchs_only_place_it_is_refused():
    code = """
import torch
from latentbench import LatentbenchError
from latentbench.testing.simulated_device import simulated_device
torch.utils.rename_privateuse1_backend("npu")
try:
    with simulated_device():
        pass
except LatentbenchError as error:
    print(error)
"""
    assert "the device 'sim' cannot be had beside PyTorch's backend 'npu'" in in_a_new_process(code)
