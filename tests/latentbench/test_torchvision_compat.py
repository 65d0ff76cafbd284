"""Each in a process of its own, because operators are declared, and torchvision imported, once for a process."""

import subprocess
import sys
from pathlib import Path


def run(script: str, *path: Path) -> subprocess.CompletedProcess[str]:
    """Run ``script`` with the folders of ``path`` first on the module path."""
    prefix = f"import sys; sys.path[:0] = {[str(folder) for folder in path]!r}\n"
    prefix += "from latentbench.torchvision_compat import import_torchvision\n"
    return subprocess.run([sys.executable, "-c", prefix + script], capture_output=True, text=True)


def package(folder: Path, source: str) -> Path:
    """A stand-in for torchvision in ``folder``."""
    (folder / "torchvision").mkdir()
    (folder / "torchvision" / "__init__.py").write_text(source)
    return folder


def test_torchvisions_python_parts_work_and_a_second_import_is_the_first() -> None:
    done = run(
        "first = import_torchvision(); assert import_torchvision() is first\n"
        "import torchvision; assert torchvision is first\n"
        "import torch\n"
        "from torchvision.datasets import MNIST\n"
        "from torchvision.transforms import v2\n"
        "print(v2.functional.resize(torch.ones(1, 4, 4), [8, 8]).sum().item(), len(MNIST.resources))\n"
    )
    assert done.stdout.split() == ["64.0", "4"], done.stderr


def test_absent_operators_are_declared_and_stay(tmp_path: Path) -> None:
    source = (
        "import torch\n"
        "try:\n    schemas = [str(getattr(torch.ops.torchvision, name).default._schema) for name in ('nms', 'qnms')]\n"
        "except AttributeError:\n    raise RuntimeError('operator torchvision::nms does not exist') from None\n"
    )
    done = run(
        "import gc, torch; schemas = import_torchvision().schemas; gc.collect()\n"
        "assert schemas == [str(getattr(torch.ops.torchvision, n).default._schema) for n in ('nms', 'qnms')]\n"
        "print(*schemas, sep='\\n')\n",
        package(tmp_path, source),
    )
    assert done.stdout.splitlines() == [
        f"torchvision::{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor" for name in ("nms", "qnms")
    ], done.stderr


def test_nothing_is_declared_where_torchvision_imports(tmp_path: Path) -> None:
    done = run("import_torchvision(); print('torch' in sys.modules)", package(tmp_path, ""))
    assert done.stdout.strip() == "False", done.stderr  # not so much as the means of declaring


def test_another_failure_of_the_import_is_not_hidden(tmp_path: Path) -> None:
    done = run("import_torchvision()", package(tmp_path, "raise RuntimeError('built for another torch')"))
    assert done.returncode != 0
    assert "RuntimeError: built for another torch" in done.stderr
