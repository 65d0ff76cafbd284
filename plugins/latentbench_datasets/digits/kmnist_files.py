"""Kuzushiji-MNIST: its facts, and its test files on disk; ten classes of cursive Japanese characters."""

from latentbench_datasets.digits.idx_files import IdxFiles

__all__ = ["CITATION", "FILES", "LICENCE", "SOURCE"]

LICENCE = "CC BY-SA 4.0"
CITATION = (
    "T. Clanuwat, M. Bober-Irizar, A. Kitamoto, A. Lamb, K. Yamamoto and D. Ha: Deep learning for classical Japanese "
    "literature. arXiv:1812.01718, 2018"
)
SOURCE = "http://codh.rois.ac.jp/kmnist (torchvision.datasets.KMNIST downloads it)"

#: The SHA-256 sums are of a local copy, whose compressed files have the published MD5 sums.
FILES = IdxFiles(
    "KMNIST",
    "KMNIST",
    LICENCE,
    {
        "t10k-images-idx3-ubyte": "76fbd229ce87db80dd281af5e6670de4ad0e42fb30a7bd643972994c47c1f42e",
        "t10k-labels-idx1-ubyte": "a11dc742be8e781a40a92f53d6a4957e7b7d36df2faa097659131ebfd8fd60c6",
    },
)
