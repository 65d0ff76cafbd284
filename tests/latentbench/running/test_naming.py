"""Warnings of a model's fit begin with the run, its dataset and the dataset's options among it."""

import logging

import pytest

from latentbench.plugins.registry import Plugins
from latentbench.running.execute import _in_words, _named_in_warnings
from latentbench.spec import RunSpec

log = logging.getLogger("latentbench")


def test_warnings_begin_with_the_run_while_it_fits_and_other_lines_stay(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "latentbench"):
        with _named_in_warnings("ae on nuts (share=50%), seed 0"):
            log.warning("model 'ae': %d of %d images", 2, 7)
            log.warning("model 'ae': 100% of the images")
            log.info("fitting")
        log.warning("afterwards")
    assert caplog.messages == [
        "ae on nuts (share=50%), seed 0: model 'ae': 2 of 7 images",
        "ae on nuts (share=50%), seed 0: model 'ae': 100% of the images",
        "fitting",
        "afterwards",
    ]


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({}, "sdc on mvtec-ad, seed 3"),
        (
            {"category": "bottle", "image_size": (128, 96)},
            "sdc on mvtec-ad (image_size=[128, 96], category=bottle), seed 3",
        ),
    ],
)
def test_a_run_is_told_with_the_options_of_its_dataset_that_are_not_its_defaults(
    chosen: dict[str, object], words: str
) -> None:
    plugins = Plugins.load()
    offers = {"dataset": plugins.get("datasets", "mvtec-ad")}
    options = offers["dataset"].value.Config.parse(chosen, "dataset 'mvtec-ad'").model_dump(mode="json")
    spec = RunSpec(
        model="sdc",
        model_version=3,
        config={},
        dataset="mvtec-ad",
        dataset_version=1,
        options=options,
        split_hash="",
        seed=3,
    )
    assert _in_words(spec, offers) == words
