"""What the README shows works as it is printed there."""

import re
from pathlib import Path

README = Path(__file__).parents[2] / "plugins" / "latentbench_patches" / "README.md"


def test_the_snippet_gives_a_map_for_each_image() -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    given: dict[str, object] = {}
    exec(compile(snippet, str(README), "exec"), given)
    maps = given["maps"]
    assert getattr(maps, "shape", None) == (5, 64, 96)
