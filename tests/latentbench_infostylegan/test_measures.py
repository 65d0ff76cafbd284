"""Measures of a generator: variation against closed forms, and what readers find of codes that do and do not show."""

from math import log

import pytest
import torch
from torch import Tensor

from latentbench_infostylegan.codes import Codes
from latentbench_infostylegan.measures import Reader, blurred, deviation, recovered, recovered_names

CODES = Codes(1, (3,))


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_the_variation_of_independent_pixels_is_their_standard_deviation() -> None:
    x = 0.3 * torch.randn(500, 2, 8, 8)
    assert deviation(x).item() == pytest.approx(0.3, rel=0.02)
    group = torch.arange(500) // 5
    shifted = x + torch.randn(100)[group][:, None, None, None]
    assert deviation(shifted).item() > 1
    assert deviation(shifted, group).item() == pytest.approx(0.3, rel=0.02)  # 0.27 if it were not unbiased


def test_images_without_a_label_and_labels_with_one_image_are_no_part_of_the_variation_of_a_label() -> None:
    x = torch.tensor([0.0, 2.0, 100.0, -100.0])[:, None, None, None]
    assert deviation(x, torch.tensor([0, 0, 1, -1])).item() == pytest.approx(2**0.5)
    assert deviation(x, torch.tensor([-1, -1, -1, 0])).item() == 0


def test_blurring_keeps_what_is_even_and_removes_what_alternates() -> None:
    board = (torch.arange(32)[:, None] + torch.arange(32)).remainder(2).float().expand(1, 3, 32, 32)
    seen = blurred(board)
    assert seen.shape == board.shape
    assert (seen - 0.5).abs()[:, :, 4:-4, 4:-4].max() < 0.02
    ramp = torch.linspace(0, 1, 32).expand(1, 1, 32, 32)
    torch.testing.assert_close(blurred(ramp)[:, :, :, 4:-4], ramp[:, :, :, 4:-4])


def visible(count: int) -> tuple[Tensor, Tensor]:
    """The number is the brightness of the left half, the category the place of a bar in the right one."""
    c = CODES.draw(count)
    images = torch.zeros(count, 1, 16, 16)
    images[:, :, :, :8] = (0.5 + 0.4 * c[:, 0])[:, None, None, None]
    images[:, :, :, 9:15] = c[:, 1:].repeat_interleave(2, 1)[:, None, None, :]
    return images, c


def hidden(count: int) -> tuple[Tensor, Tensor]:
    """The number is the contrast of a chessboard of single pixels, and the category shows nowhere."""
    c = CODES.draw(count)
    board = (torch.arange(16)[:, None] + torch.arange(16)).remainder(2).float() - 0.5
    return 0.5 + 0.4 * c[:, :1, None, None] * board, c


def test_codes_that_show_are_recovered_from_sharp_and_blurred_images() -> None:
    found = dict(zip(recovered_names(CODES), recovered(CODES, visible, 80).tolist(), strict=True))
    for suffix in ("", "_blurred"):
        assert found[f"recovered_accuracy_categorical-1{suffix}"] > 0.98
        assert found[f"recovered_r2_continuous-1{suffix}"] > 0.9
        assert log(3) < found[f"recovered_nats{suffix}"] < CODES.entropy + 1.1  # 1.77 nats of a number are the most


def test_a_code_in_marks_that_nobody_sees_is_lost_by_blurring_and_one_that_shows_nowhere_is_not_recovered() -> None:
    found = dict(zip(recovered_names(CODES), recovered(CODES, hidden, 80).tolist(), strict=True))
    assert found["recovered_r2_continuous-1"] > 0.9
    assert found["recovered_r2_continuous-1_blurred"] < 0.5
    assert found["recovered_accuracy_categorical-1"] == pytest.approx(1 / 3, abs=0.06)
    assert found["recovered_nats_blurred"] < 0.5


@pytest.mark.parametrize("size", [16, 28, 32, 128])
def test_readers_take_all_sizes(size: int) -> None:
    assert Reader(size, 3, 7)(torch.rand(2, 3, size, size)).shape == (2, 7)
