"""notMNIST in the format of MNIST: its facts, and its test files on disk; the letters A to J in many typefaces."""

from latentbench_datasets.digits.idx_files import IdxFiles

__all__ = ["CITATION", "FILES", "LICENCE", "SOURCE"]

LICENCE = "none stated for the images"
CITATION = "Y. Bulatov: notMNIST dataset. 2011"
SOURCE = "https://github.com/davidflanagan/notMNIST-to-MNIST"

#: No checksum is published. The SHA-256 sums are of a local copy of that repository's files.
FILES = IdxFiles(
    "notMNIST",
    "notMNIST",
    LICENCE,
    {
        "t10k-images-idx3-ubyte": "8e7f38ae95cc8f48e0986175ffc9137e5007ebcf3d8fdf6656c904eb9dab198b",
        "t10k-labels-idx1-ubyte": "5f8e6012f2ce730700d8d05fca098bc47f71d25b890e4bec7ac5ebfd614a4001",
    },
    by_hand=SOURCE,
)
