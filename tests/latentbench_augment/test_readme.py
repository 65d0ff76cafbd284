"""What the README shows works as it is printed there."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

README = Path(__file__).parents[2] / "plugins" / "latentbench_augment" / "README.md"


def test_the_snippet_draws_a_contact_sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(snippet, str(README), "exec"), {})
    sheet = np.asarray(Image.open("sheet.png"))
    clean, corrupted, masks = (sheet[2 + row * 130 : 130 + row * 130] for row in range(3))
    assert sheet.shape == (2 + 3 * 130, 2 + 10 * 130, 3)
    assert (masks[..., :1] == masks).all()
    assert not (clean != corrupted)[masks == 0].any()
    assert (clean != corrupted).any()
