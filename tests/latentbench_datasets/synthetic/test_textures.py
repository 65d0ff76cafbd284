import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

from latentbench import Data, LatentbenchError, Role, StoredSplit
from latentbench.testing import check_dataset
from latentbench_datasets.synthetic.defects import DEFECTS
from latentbench_datasets.synthetic.surfaces import SURFACES
from latentbench_datasets.synthetic.textures import VISIBLE, Textures, photographs

NOWHERE = Path("no-such-folder")
SMALL = {
    "image_size": 32,
    "train_images": 6,
    "validation_images": 3,
    "normal_test_images": 4,
    "defective_test_images": 2,
}
KINDS = pytest.mark.parametrize("kind", SURFACES)


def load(**options: Any) -> Data:
    return Textures(Textures.Config.parse(options, "dataset 'textures'")).load(NOWHERE)


def stored(data: Data, name: str) -> StoredSplit:
    split = data.splits[name]
    assert isinstance(split, StoredSplit)
    return split


@KINDS
def test_every_kind_keeps_what_a_dataset_promises(kind: str, tmp_path: Path) -> None:
    check_dataset(Textures, tmp_path, options={**SMALL, "kind": kind})


def test_every_surface_is_a_kind() -> None:
    assert get_args(Textures.Config.model_fields["kind"].annotation) == tuple(SURFACES)


def test_splits_have_the_sizes_and_the_targets_that_they_should() -> None:
    data = load()
    assert data.info.image_shape == (3, 64, 64)
    assert data.info.attributes == {}
    assert {name: (split.role, len(split)) for name, split in data.splits.items()} == {
        "train": (Role.TRAIN, 240),
        "validation": (Role.VALIDATION, 40),
        "test": (Role.TEST, 120),
    }
    targets = stored(data, "test").targets
    assert targets.anomaly is not None
    assert targets.mask is not None
    assert targets.mask_known is None
    assert targets.anomaly.tolist() == [0] * 60 + [1] * 60
    np.testing.assert_array_equal(targets.mask.any((1, 2)), targets.anomaly == 1)


@settings(max_examples=40)
@given(
    kind=st.sampled_from(list(SURFACES)),
    defect=st.sampled_from(list(DEFECTS)),
    size=st.integers(32, 96),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_mask_is_exactly_where_an_image_differs_from_its_defect_free_original(
    kind: str, defect: str, size: int, seed: int
) -> None:
    def draw(*with_defect: Any) -> tuple[np.ndarray, np.ndarray]:
        images, masks = photographs(SURFACES[kind], torch.Generator().manual_seed(seed), 3, size, *with_defect)
        return images.numpy().astype(int), masks.numpy()

    (normal, nothing), (defective, mask) = draw(), draw(DEFECTS[defect])
    assert not nothing.any()
    change = np.abs(defective - normal)
    np.testing.assert_array_equal(change.any(1), mask == 1)
    assert (change.max(1)[mask == 1] >= VISIBLE).all()
    share = mask.mean((1, 2))
    assert ((share > 0.001) & (share < 0.25)).all()


@KINDS
def test_the_defects_of_the_test_split_are_the_four_in_turn(kind: str) -> None:
    split = stored(load(kind=kind, defective_test_images=5), "test")
    mask = split.targets.mask
    assert mask is not None
    assert not mask[:60].any()
    for place, (name, defect) in enumerate(DEFECTS.items()):
        generator = torch.Generator().manual_seed(3 + place)  # after the streams of train, validation, normal
        images, masks = photographs(SURFACES[kind], generator, 5, 64, defect)
        part = slice(60 + 5 * place, 65 + 5 * place)
        assert torch.equal(split.images[part], images), name
        np.testing.assert_array_equal(mask[part], masks)


def test_no_part_depends_on_the_size_of_another() -> None:
    data = load(**SMALL)
    other = load(**{**SMALL, "train_images": 9, "normal_test_images": 1})
    assert torch.equal(stored(data, "validation").images, stored(other, "validation").images)
    assert torch.equal(stored(data, "test").images[4:], stored(other, "test").images[1:])


def test_the_splits_depend_on_the_options_alone() -> None:
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 - the global generator is what must not matter
    outside = torch.get_rng_state()
    data = load(**SMALL)
    assert torch.equal(torch.get_rng_state(), outside)
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002
    assert load(**SMALL).split_hash == data.split_hash
    hashes = {load(**{**SMALL, **change}).split_hash for change in ({"seed": 1}, {"seed": 2}, {"kind": "tiles"})}
    assert len(hashes | {data.split_hash}) == 4


def test_seeds_and_splits_share_no_image() -> None:
    loaded = [load(**SMALL, seed=seed) for seed in range(3)]
    images = torch.cat([stored(data, name).images for data in loaded for name in data.splits]).flatten(1)
    assert len(torch.unique(images, dim=0)) == len(images)


@pytest.mark.parametrize(
    ("kind", "split_hash"),
    [
        ("weave", "2c56098877b552214587654e7bcd04776ee72612bf9966a3820ec543047a50da"),
        ("grain", "5af0e445681f5bf4ca21aa749913dcc698a279dbaa9d429ec83101b41582864d"),
        ("tiles", "866aa7b78e288448d1045f246fe5f200ff55bd6482ef8ed911558487f508ba31"),
        ("leather", "7a96bdd31127084cec487a0b0dabf5fac9bd10c9cd70ef63b0ef78e37cfc0dfe"),
    ],
)
def test_the_splits_are_those_of_version_two(kind: str, split_hash: str) -> None:
    """Other bytes need another ``version``: results of two are never compared."""
    assert Textures.version == 2
    assert load(kind=kind).split_hash == split_hash


@KINDS
def test_defects_are_neither_trivial_nor_impossible_for_a_linear_model(kind: str) -> None:
    data = load(kind=kind)
    train, test = (stored(data, name).images.flatten(1).numpy() / np.float32(255) for name in ("train", "test"))
    pca = PCA(32, random_state=0).fit(train)
    errors = (test - pca.inverse_transform(pca.transform(test))) ** 2
    assert 0.65 < roc_auc_score(stored(data, "test").targets.anomaly, errors.sum(1)) < 0.95
    pixels = errors.reshape(-1, 3, 64 * 64).sum(1)
    mask = stored(data, "test").targets.mask
    assert mask is not None
    assert 0.6 < roc_auc_score(mask.ravel(), pixels.ravel()) < 0.95


@pytest.mark.long
@KINDS
def test_the_splits_are_the_same_bytes_where_mkl_takes_its_path_for_other_cpus(kind: str) -> None:
    program = (
        "import sys, torch; from pathlib import Path; from latentbench_datasets.synthetic.textures import Textures;"
        "print(Textures(Textures.Config(kind=sys.argv[1])).load(Path()).split_hash)"
    )
    env = {**os.environ, "MKL_CBWR": "COMPATIBLE"}  # its square roots are less exact there
    result = subprocess.run([sys.executable, "-c", program, kind], env=env, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == load(kind=kind).split_hash


def test_the_splits_are_the_same_bytes_without_vector_instructions() -> None:
    program = (
        "import json, sys, torch; from pathlib import Path;"
        "from latentbench_datasets.synthetic.textures import Textures;"
        "data = Textures(Textures.Config(**json.loads(sys.argv[1]))).load(Path());"
        "print(torch.backends.cpu.get_cpu_capability(), data.split_hash)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, json.dumps(SMALL)],
        env={**os.environ, "ATEN_CPU_CAPABILITY": "default"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.split() == ["DEFAULT", load(**SMALL).split_hash]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "wave"}, "'kind': Input should be 'weave', 'grain', 'tiles' or 'leather', got 'wave'"),
        ({"image_size": 31}, "'image_size': Input should be greater than or equal to 32, got 31"),
        ({"train_images": 0}, "'train_images': Input should be greater than or equal to 1, got 0"),
        ({"seed": -1}, "'seed': Input should be greater than or equal to 0, got -1"),
        ({"seed": 2**29}, "'seed': Input should be less than 536870912, got 536870912"),
        ({"knid": "weave"}, "has no option 'knid': did you mean 'kind'?"),
    ],
)
def test_a_bad_option_is_one_clear_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(LatentbenchError) as caught:
        load(**options)
    assert str(caught.value).startswith("dataset 'textures'")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_survive_their_json() -> None:
    config = Textures.Config(kind="leather", seed=3)
    assert Textures.Config.parse(json.loads(json.dumps(config.model_dump(mode="json"))), "options") == config
