"""The weights that metrics of samples measure with: those that are shipped, and Inception's, which the user has to get.

Nothing here imports PyTorch before it is needed: metrics name their weights without reading them.
"""

import hashlib
import io
import os
import pickle
from dataclasses import dataclass
from pathlib import Path

from latentbench import LatentbenchError

__all__ = [
    "CELEBA_ATTRIBUTES",
    "INCEPTION",
    "MNIST_FASHION",
    "SCENES",
    "SHIPPED",
    "VARIABLE",
    "Shipped",
    "download_inception",
    "inception",
    "inception_path",
    "inception_unavailable",
]


@dataclass(frozen=True)
class Shipped:
    """An extractor that is shipped, its weights as `latentbench extractor train NAME` writes them."""

    name: str
    """What it was trained on."""
    sha256: str
    """Hex SHA-256 of the file. With other weights every metric that measures with them needs another version."""

    @property
    def file_name(self) -> str:
        """Of the weights, beside this module."""
        return f"{self.name.replace('-', '_')}.safetensors"

    @property
    def instrument(self) -> str:
        """What is recorded with every value that is measured with it."""
        return f"{self.name} sha256:{self.sha256}"

    def content(self, path: Path | None = None) -> bytes:
        """The content of the weights.

        Args:
            path: of the file, if it is not the one that was installed.

        Raises:
            LatentbenchError: they cannot be read, or are not those that the metrics' version stands for.
        """
        path, mend = path or Path(__file__).with_name(self.file_name), "install latentbench again"
        try:
            content = path.read_bytes()
        except OSError as error:
            raise LatentbenchError(f"cannot read {path}: {error.strerror}", mend) from error
        found = hashlib.sha256(content).hexdigest()
        if found != self.sha256:
            raise LatentbenchError(
                f"{path} is not what was shipped (SHA-256 expected {self.sha256}, found {found})", mend
            )
        return content


MNIST_FASHION = Shipped("mnist-fashion", "2d1e473aa6d7ac96ab5f959c5d63747c82ae5eaabe4981b6654b1d005bdbf3b0")
#: Trained on faces of CelebA, which is for non-commercial research only.
CELEBA_ATTRIBUTES = Shipped("celeba-attributes", "a5b16eb75f85e733cbe300f0bb15e083319536c31246da500ff5dbadeffaf3d9")
SCENES = Shipped("scenes", "74541ce96775e95d057be502285a732fe7d50050d9d4948ecfb76f6bbb1dcf0f")
#: By name.
SHIPPED = {one.name: one for one in (MNIST_FASHION, CELEBA_ATTRIBUTES, SCENES)}

#: torch-fidelity's name of the network that FID is defined by.
INCEPTION = "inception-v3-compat"
#: The environment variable with the path of its weights. They are measured with where it is set, and only there:
#: on one CPU core, Inception takes three quarters of an hour for each run.
VARIABLE = "LATENTBENCH_INCEPTION"
#: Of the file's SHA-256, as its published name has it.
INCEPTION_HASH_PREFIX = "6726825d"
_URL = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    f"weights-inception-2015-12-05-{INCEPTION_HASH_PREFIX}.pth"
)


def inception_path() -> Path | None:
    """The file that the user has chosen, if any."""
    path = os.environ.get(VARIABLE)
    return Path(path) if path else None


def inception_unavailable() -> str | None:
    """How to get the weights, in one line; None where they are chosen."""
    if inception_path():
        return None
    return f"it needs the Inception weights: `latentbench extractor fetch`, then set {VARIABLE} to their path"


def inception() -> io.BytesIO:
    """The chosen weights, checked and written anew, so that torch-fidelity unpickles nothing that came from outside.

    Raises:
        LatentbenchError: they are not chosen, cannot be read, are not the published ones, or hold more than tensors.
    """
    import torch

    path = inception_path()
    mend = f"get them with `latentbench extractor fetch` and set {VARIABLE} to their path"
    if path is None:
        raise LatentbenchError(f"{VARIABLE} is not set", mend)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LatentbenchError(f"cannot read the Inception weights {path}: {error.strerror}", mend) from error
    found = hashlib.sha256(content).hexdigest()
    if not found.startswith(INCEPTION_HASH_PREFIX):
        hashes = f"SHA-256 expected {INCEPTION_HASH_PREFIX}…, found {found[:8]}…"
        raise LatentbenchError(f"{path} does not hold the Inception weights ({hashes})", mend)
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError) as error:
        raise LatentbenchError(f"{path} holds more than weights, or is broken", mend) from error
    ours = io.BytesIO()
    torch.save(state, ours)
    ours.seek(0)
    return ours


def download_inception() -> Path:
    """Put the weights into PyTorch's cache, unless they are there; PyTorch checks the hash of what it downloads.

    Raises:
        LatentbenchError: the download failed, or gave something else.
    """
    import torch

    path = Path(torch.hub.get_dir(), "checkpoints", _URL.rpartition("/")[2])
    if path.is_file():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(_URL, str(path), hash_prefix=INCEPTION_HASH_PREFIX)
    except (OSError, RuntimeError) as error:
        raise LatentbenchError(
            f"cannot download {_URL} to {path} ({' '.join(str(error).split())})",
            f"download it by other means and set {VARIABLE} to its path",
        ) from error
    return path
