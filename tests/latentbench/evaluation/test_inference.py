"""What a capability gives is run as promised and held against its promise, whatever a model really returns."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from latentbench import DataInfo, LatentbenchError, Model, Options
from latentbench.evaluation.inference import WHOLE_CODE, as_codes, infer

INFO = DataInfo(channels=1, height=4, width=6, train_size=10, attributes={"left": 2, "right": 3})
IMAGES = torch.rand((7, 1, 4, 6), generator=torch.Generator().manual_seed(0))


class Given(Model):
    """Returns what a test gives it: each method is the function of its name."""

    class Config(Options):
        pass

    def build(self, info):
        self.norm = nn.BatchNorm2d(1)

    @classmethod
    def that(cls, **methods):
        model = cls(cls.Config(), INFO)
        for name, method in methods.items():
            setattr(model, name, method)
        return model


def run(capability, method, *, sizes=(3, 4), seed=0):
    model = Given.that(**{capability: method})
    batches = torch.split(IMAGES, list(sizes))
    where = f"model 'given', capability '{capability}'"
    return infer(model, capability, batches, INFO, seed=seed, device=torch.device("cpu"), where=where)


@pytest.mark.parametrize(
    ("capability", "method", "expected"),
    [
        ("score", lambda x: x.sum((1, 2, 3)), {"": IMAGES.sum((1, 2, 3))}),
        (
            "score",
            lambda x: {"sum": x.sum((1, 2, 3)), "first": x[:, 0, 0, 0]},
            {"sum": IMAGES.sum((1, 2, 3)), "first": IMAGES[:, 0, 0, 0]},
        ),
        ("log_likelihood", lambda x: -x.double().mean((1, 2, 3)), {"": -IMAGES.double().mean((1, 2, 3))}),
        ("localize", lambda x: x.amax(1), {"": IMAGES[:, 0]}),
        ("reconstruct", lambda x: x.bfloat16(), {"": IMAGES.bfloat16().float()}),
        ("encode", lambda x: x.flatten(1)[:, :5], {WHOLE_CODE: IMAGES.flatten(1)[:, :5]}),
        (
            "encode",
            lambda x: {"s": x[:, 0, 0, :2], "t": x[:, 0, 1]},
            {"s": IMAGES[:, 0, 0, :2], "t": IMAGES[:, 0, 1]},
        ),
        (
            "predict",
            lambda x: {"right": x[:, 0, 0, :3], "left": x[:, 0, 0, :2]},
            {"left": IMAGES[:, 0, 0, :2], "right": IMAGES[:, 0, 0, :3]},
        ),
        ("cluster", lambda x: {"shape": x.flatten(1).argmax(1).int()}, {"shape": IMAGES.flatten(1).argmax(1)}),
        ("sample", lambda count: torch.full((count, 1, 4, 6), 0.5), {"": torch.full((7, 1, 4, 6), 0.5)}),
    ],
)
def test_the_output_is_that_of_all_batches_in_their_order(capability, method, expected):
    outputs = run(capability, method)
    assert outputs.keys() == expected.keys()
    for part, tensor in expected.items():
        assert outputs[part].dtype == tensor.numpy().dtype
        np.testing.assert_array_equal(outputs[part], tensor.numpy())


@pytest.mark.parametrize("capability", ["score", "log_likelihood"])
def test_float64_scores_are_not_rounded_into_ties(capability):
    means = IMAGES.double().mean((1, 2, 3))
    output = run(capability, lambda x: 1e7 + 0.05 * x.double().mean((1, 2, 3)))[""]
    assert output.dtype == np.float64
    np.testing.assert_array_equal(output, (1e7 + 0.05 * means).numpy())
    assert len(set(output)) == len(IMAGES) > len(set(output.astype(np.float32)))
    truth = (means > means.median()).numpy()
    assert roc_auc_score(truth, output) == 1
    several = run("score", lambda x: {"exact": x.double().sum((1, 2, 3)), "plain": x.sum((1, 2, 3)).half()})
    assert {name: scores.dtype for name, scores in several.items()} == {"exact": np.float64, "plain": np.float32}
    assert run("reconstruct", lambda x: x.double())[""].dtype == np.float32


def test_float64_maps_codes_and_logits_are_not_rounded_into_ties():
    exact = 1e9 + IMAGES.double()
    expected = {
        "localize": (lambda x: 1e9 + x[:, 0].double(), {"": exact[:, 0]}),
        "encode": (lambda x: {"s": 1e9 + x[:, 0, 0].double(), "t": x[:, 0, 1]}, {"s": exact[:, 0, 0]}),
        "predict": (
            lambda x: {"left": 1e9 + x[:, 0, 0, :2].double(), "right": 1e9 + x[:, 0, 0, :3].double()},
            {"left": exact[:, 0, 0, :2], "right": exact[:, 0, 0, :3]},
        ),
    }
    for capability, (method, parts) in expected.items():
        outputs = run(capability, method)
        for part, tensor in parts.items():
            assert outputs[part].dtype == np.float64
            np.testing.assert_array_equal(outputs[part], tensor.numpy())


def at_codes(capability, method, codes):
    model = Given.that(**{capability: method})
    return infer(model, capability, (), INFO, seed=0, device=torch.device("cpu"), where="its output", codes=codes)[""]


def test_codes_are_decoded_and_sampled_at_in_their_order_and_in_the_form_that_encode_gave_them():
    def sample(count, codes=None):
        return codes[:count].view(-1, 1, 4, 6)

    whole = as_codes(run("encode", lambda x: x.flatten(1)), torch.device("cpu"))
    assert isinstance(whole, torch.Tensor)
    np.testing.assert_array_equal(at_codes("decode", lambda z: z.view(-1, 1, 4, 6), whole.split(3)), IMAGES)
    np.testing.assert_array_equal(at_codes("sample", sample, whole.split([3, 4])), IMAGES)

    parts = as_codes(run("encode", lambda x: {"s": x[:, 0, 0, :1], "t": x[:, 0, 1, :1]}), torch.device("cpu"))
    assert isinstance(parts, dict)
    assert {name: tuple(code.shape) for name, code in parts.items()} == {"s": (7, 1), "t": (7, 1)}
    decoded = at_codes("decode", lambda z: (z["s"] - z["t"]).abs()[:, :, None, None].expand(-1, 1, 4, 6), [parts])
    np.testing.assert_array_equal(decoded[:, 0, 2, 3], (IMAGES[:, 0, 0, 0] - IMAGES[:, 0, 1, 0]).abs())


def test_what_is_decoded_is_checked_like_any_image():
    with pytest.raises(LatentbenchError, match=r"its output: expected shape \(2, 1, 4, 6\), got \(2, 24\)"):
        at_codes("decode", lambda z: z, [torch.zeros(2, 24)])


def test_a_model_may_give_the_same_buffer_for_every_batch():
    buffer = torch.empty(4)

    def score(images):
        return torch.sum(images, (1, 2, 3), out=buffer[: len(images)])

    np.testing.assert_array_equal(run("score", score)[""], IMAGES.sum((1, 2, 3)).numpy())


def with_nan(x):
    scores = torch.zeros(len(x))
    scores[-1] = torch.nan
    return scores


@pytest.mark.parametrize(
    ("capability", "method", "message"),
    [
        ("score", lambda x: x.mean((2, 3)), "expected shape (3,), got (3, 1)"),
        ("score", lambda x: x.mean(), "expected shape (3,), got ()"),
        ("score", lambda x: x.mean((1, 2, 3)).numpy(), "expected a tensor, got ndarray"),
        ("score", lambda x: None, "expected a tensor, got NoneType"),
        ("score", lambda x: torch.arange(len(x)), "expected floating-point numbers, got torch.int64"),
        ("score", with_nan, "expected finite values, got 2 NaN of 7 (first at image 2)"),
        (
            "score",
            lambda x: torch.full((len(x),), 1e300, dtype=torch.float64) * 1e10,
            "expected finite values, got 7 infinite of 7",
        ),
        (
            "score",
            lambda x: torch.tensor([0, torch.nan, torch.inf, -torch.inf])[: len(x)],
            "expected finite values, got 2 NaN and 3 infinite of 7 (first at image 1)",
        ),
        ("log_likelihood", lambda x: x.mean((1, 2, 3)).bool(), "expected floating-point numbers, got torch.bool"),
        ("localize", lambda x: x, "expected shape (3, 4, 6), got (3, 1, 4, 6)"),
        ("localize", lambda x: x[:, 0] / 0 * (x[:, 0] - x[:, 0]), "got 168 NaN of 168 (first at image 0)"),
        ("reconstruct", lambda x: x[:, 0], "expected shape (3, 1, 4, 6), got (3, 4, 6)"),
        ("sample", lambda count: torch.zeros(5, 1, 4, 6), "expected shape (3, 1, 4, 6), got (5, 1, 4, 6)"),
        ("encode", lambda x: x[:, 0], "'z': expected shape (3, D), got (3, 4, 6)"),
        ("encode", lambda x: (x, x), "expected a mapping of names to tensors, got tuple"),
        ("encode", lambda x: {}, "expected a mapping of names to tensors, got an empty one"),
        ("encode", lambda x: {"s": x.flatten(1), "t": x.sum()}, "'t': expected shape (3, D), got ()"),
        ("encode", lambda x: x.flatten(1)[:, : len(x)], "'z': expected one size for all images, got (3,) and (4,)"),
        (
            "encode",
            lambda x: {"s" if len(x) == 3 else "t": x.flatten(1)},
            "expected s in every batch, got t",
        ),
        ("predict", lambda x: x.flatten(1), "expected a mapping of names to tensors, got Tensor"),
        ("predict", lambda x: {"left": x}, "expected attributes left, right, got left"),
        (
            "predict",
            lambda x: dict.fromkeys(("left", "right", "rihgt"), x),
            "expected attributes left, right, got left, right, rihgt",
        ),
        (
            "predict",
            lambda x: dict.fromkeys(("left", "right"), x[:, 0, 0, :2]),
            "'right': expected shape (3, 3), got (3, 2)",
        ),
        ("cluster", lambda x: {"shape": x.mean((1, 2, 3))}, "'shape': expected integers, got torch.float32"),
        ("cluster", lambda x: {"shape": x[:, 0, 0, 0] > 0}, "'shape': expected integers, got torch.bool"),
        ("cluster", lambda x: torch.zeros(len(x)), "expected a mapping of names to tensors, got Tensor"),
        ("score", lambda x: {"a/b": x[:, 0, 0, 0]}, "a name has no blank and none of [ ] @ / :, unlike 'a/b'"),
        ("encode", lambda x: {"a b": x.flatten(1)}, "a name has no blank and none of [ ] @ / :, unlike 'a b'"),
        ("cluster", lambda x: {"": x[:, 0, 0, 0].long()}, "a name is not empty"),
        ("score", lambda x: {3: x[:, 0, 0, 0]}, "a name is a text, unlike 3"),
        ("score", lambda x: {"a" * 65: x[:, 0, 0, 0]}, "a name has at most 64 characters, unlike 'aaaa"),
    ],
)
def test_an_output_that_breaks_the_promise_is_named_with_what_was_expected_and_what_came(capability, method, message):
    with pytest.raises(LatentbenchError) as error:
        run(capability, method)
    assert str(error.value).startswith(f"model 'given', capability '{capability}'")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_it_runs_in_eval_mode_without_gradients():
    model = Given.that()
    seen = []

    def score(images):
        seen.append((model.training, model.norm.training, torch.is_inference_mode_enabled()))
        return model.norm(images).mean((1, 2, 3)) * torch.ones((), requires_grad=True)

    model.train().score = score
    infer(model, "score", [IMAGES], INFO, seed=0, device=torch.device("cpu"), where="")
    assert seen == [(False, False, True)]


def test_its_seed_alone_decides_random_outputs():
    def score(images):
        return torch.randn(len(images))

    torch.manual_seed(1)
    first = run("score", score, seed=5)[""]
    torch.manual_seed(2)
    assert np.array_equal(run("score", score, seed=5)[""], first)
    assert not np.array_equal(run("score", score, seed=6)[""], first)


def test_the_callers_random_numbers_go_on_as_if_nothing_had_happened():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    run("score", lambda images: torch.randn(len(images)))
    assert torch.equal(torch.rand(4), expected)


def test_an_error_leaves_the_callers_random_numbers_alone_too():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    with pytest.raises(LatentbenchError):
        run("score", lambda images: torch.randn(len(images), 1))
    assert torch.equal(torch.rand(4), expected)
