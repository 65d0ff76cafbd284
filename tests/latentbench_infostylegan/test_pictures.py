"""The sheets: what is walked."""

import torch

from latentbench_infostylegan.codes import Codes
from latentbench_infostylegan.pictures import ACROSS, walks


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
