"""Fashion-MNIST: its facts, and its files on disk; ten classes of clothing, shoes and bags in the place of digits."""

from latentbench_datasets.digits.idx_files import IdxFiles

__all__ = ["CITATION", "FILES", "LICENCE", "SOURCE", "download", "read"]

LICENCE = "MIT"
CITATION = (
    "H. Xiao, K. Rasul and R. Vollgraf: Fashion-MNIST: a novel image dataset for benchmarking machine learning "
    "algorithms. arXiv:1708.07747, 2017"
)
SOURCE = "https://github.com/zalandoresearch/fashion-mnist (torchvision.datasets.FashionMNIST downloads it)"

FILES = IdxFiles(
    "Fashion-MNIST",
    "FashionMNIST",
    LICENCE,
    {
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
)
read, download = FILES.read, FILES.download
