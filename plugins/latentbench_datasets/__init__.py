"""The standard splits: correlation shift of digits and faces, foreign images, images with defects, known factors."""

from typing import TYPE_CHECKING

from latentbench import hookimpl

if TYPE_CHECKING:
    from latentbench import Dataset

__all__ = ["latentbench_datasets"]


@hookimpl
def latentbench_datasets() -> list[type["Dataset"]]:
    """Offer the datasets; their modules are imported here, for they import torch."""
    from latentbench_datasets.celeba.dataset import CelebA, CelebANovelty, CelebASubset, CelebASubsetNovelty
    from latentbench_datasets.digits.embedded import EmbeddedDigits
    from latentbench_datasets.digits.mnist import Mnist
    from latentbench_datasets.digits.ood import Ood
    from latentbench_datasets.digits.shift import DigitsShift, MnistShift
    from latentbench_datasets.digits.svhn import SVHN
    from latentbench_datasets.mvtec.dataset import KolektorSDD, MagneticTile, MvtecAd, MvtecLike
    from latentbench_datasets.shapes3d import Shapes3D
    from latentbench_datasets.synthetic.scenes import Scenes
    from latentbench_datasets.synthetic.textures import Textures

    digits = [MnistShift, DigitsShift, Mnist, EmbeddedDigits, SVHN]
    faces = [CelebA, CelebANovelty, CelebASubset, CelebASubsetNovelty]
    return [*digits, *faces, Ood, MvtecAd, MvtecLike, MagneticTile, KolektorSDD, Scenes, Shapes3D, Textures]
