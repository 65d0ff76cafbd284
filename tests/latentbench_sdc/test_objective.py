"""The objective against a loop over pixels, and its identity with the mean squared error."""

import pytest
import torch

from latentbench_sdc.objective import restoration_error

#: Of the clean and the corrupted part, where a test needs some that differ.
WEIGHTS = (0.9, 0.1)


@pytest.fixture
def drawn():
    generator = torch.Generator().manual_seed(0)
    restored, target = torch.rand(2, 4, 3, 10, 12, generator=generator)
    mask = torch.rand(4, 1, 10, 12, generator=generator)
    return restored, target, mask


def test_it_is_what_a_loop_over_the_pixels_gives(drawn):
    restored, target, mask = drawn
    found = restoration_error(restored, target, mask, (0.7, 0.4))
    for image in range(4):
        clean = corrupted = clean_sum = corrupted_sum = 0.0
        for row in range(10):
            for column in range(12):
                m = float(mask[image, 0, row, column])
                clean_sum, corrupted_sum = clean_sum + 1 - m, corrupted_sum + m
                for channel in range(3):
                    r = float(restored[image, channel, row, column]) - float(target[image, channel, row, column])
                    clean, corrupted = clean + (1 - m) * r * r / 3, corrupted + m * r * r / 3
        expected = 0.7 * clean / clean_sum + 0.4 * corrupted / corrupted_sum
        assert float(found[image]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("weights", "pixels"), [((0.9, 0.1), 12), ((0.5, 0.5), 60), ((0.75, 0.25), 30)])
def test_it_is_the_mean_squared_error_where_the_mask_covers_the_share_of_its_weight(drawn, weights, pixels):
    """w_c / |1 - M| = w_m / |M|: every pixel counts the same, in value and in gradient."""
    restored, target, _ = drawn
    mask = torch.zeros(4, 1, 120)
    mask[..., :pixels] = 1
    for image in mask:
        image[0] = image[0, torch.randperm(120)]
    x = restored.clone().requires_grad_()
    found = restoration_error(x, target, mask.view(4, 1, 10, 12), weights)
    mean = (x - target).square().mean((1, 2, 3))
    torch.testing.assert_close(found, mean)
    ours, theirs = (torch.autograd.grad(loss.sum(), x, retain_graph=True)[0] for loss in (found, mean))
    torch.testing.assert_close(ours, theirs)


def test_a_smaller_corrupted_part_counts_more_for_each_pixel(drawn):
    restored, target, _ = drawn
    counts = []
    for pixels in (12, 4):
        mask = torch.zeros(4, 1, 120)
        mask[..., :pixels] = 1
        x = restored.clone().requires_grad_()
        restoration_error(x, target, mask.view(4, 1, 10, 12), WEIGHTS).sum().backward()
        pixel = 2 * (x.detach() - target)[..., 0, 0] / 3
        counts.append(x.grad[..., 0, 0] / pixel)
    torch.testing.assert_close(counts[0], torch.full((4, 3), 0.1 / 12))
    torch.testing.assert_close(counts[1], torch.full((4, 3), 0.1 / 4))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_an_image_that_has_no_other_part_counts_as_a_whole(drawn, value):
    restored, target, mask = drawn
    mask[1] = value
    found = restoration_error(restored, target, mask, WEIGHTS)
    assert float(found[1]) == pytest.approx(float((restored - target)[1].square().mean()), rel=1e-6)
    alone = restoration_error(restored[[0, 2]], target[[0, 2]], mask[[0, 2]], WEIGHTS)
    torch.testing.assert_close(found[[0, 2]], alone)


def test_plain_weighting_does_not_look_at_the_mask(drawn):
    restored, target, mask = drawn
    found = restoration_error(restored, target, mask, None)
    torch.testing.assert_close(found, (restored - target).square().mean((1, 2, 3)))


def test_a_gradient_is_finite_whatever_the_mask(drawn):
    """The part that is missing is divided by something, although its value is not used."""
    restored, target, mask = drawn
    mask[0], mask[1], mask[2] = 0, 1, 1e-12
    x = restored.clone().requires_grad_()
    restoration_error(x, target, mask, WEIGHTS).sum().backward()
    assert torch.isfinite(x.grad).all()


def test_half_precision_is_added_up_in_float32(drawn):
    restored, target, mask = drawn
    found = restoration_error(restored.bfloat16(), target, mask, WEIGHTS)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, restoration_error(restored.bfloat16().float(), target, mask, WEIGHTS))


@pytest.mark.parametrize("weights", [None, (0.5, 0.5), (0.7, 0.1)])
def test_of_images_that_are_left_clean_it_is_the_mean_squared_error_whatever_the_weights(drawn, weights):
    restored, target, mask = drawn
    found = restoration_error(restored, target, torch.zeros_like(mask), weights)
    assert torch.equal(found, (restored - target).square().mean(1, keepdim=True).mean((1, 2, 3)))
