"""The sheets: what is walked, and where its images stand."""

import torch

from latentbench_infostylegan.codes import Codes
from latentbench_infostylegan.pictures import ACROSS, table, walks


def test_each_code_is_walked_by_itself() -> None:
    torch.manual_seed(0)
    codes = Codes(2, (3, 10))
    start = codes.draw(1)[0]
    rows = walks(codes, start).unflatten(0, (-1, ACROSS))
    assert len(rows) == 2 + 1 + 2  # ten values take two rows
    first, second, three, *ten = rows
    torch.testing.assert_close(first[:, 0], torch.linspace(-1, 1, ACROSS))
    torch.testing.assert_close(second[:, 1], torch.linspace(-1, 1, ACROSS))
    assert three[:, 2:5].argmax(1).tolist() == [0, 1, 2, 2, 2, 2, 2, 2]
    assert torch.cat(ten)[:, 5:].argmax(1).tolist() == [*range(10), *[9] * 6]
    for row, places in ((first, [0]), (second, [1]), (three, [2, 3, 4])):
        rest = [place for place in range(codes.size) if place not in places]
        assert torch.equal(row[:, rest], start[rest].expand(ACROSS, -1))
    assert torch.equal(codes.nearest(rows.flatten(0, 1)), rows.flatten(0, 1))


def test_a_table_has_its_images_in_rows_between_white_lines() -> None:
    images = torch.rand(2 * ACROSS, 3, 4, 5)
    whole = table(images)
    assert whole.shape == (3, 2 * 5 + 1, ACROSS * 6 + 1)
    assert torch.equal(whole[:, 6:10, 7:12], images[ACROSS + 1])
    assert (whole[:, [0, 5, 10]] == 1).all()
    assert (whole[:, :, ::6] == 1).all()
