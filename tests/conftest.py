"""What every test may ask for: the real data's folder; and the reasons why marked tests are skipped."""

import os
from pathlib import Path

import pytest
import scipy.linalg  # noqa: F401  (its BLAS is another than NumPy's, and limits hold for what is loaded)
import torch
from hypothesis import HealthCheck, settings
from threadpoolctl import threadpool_limits

REPOSITORY = Path(__file__).parents[1]

# How long an example takes to make or to run says more of what else the machine does than of the code.
settings.register_profile("latentbench", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("latentbench")

# As a run has it: the last bits of a sum depend on how many threads share it. And where processes test side by side,
# threads of linear algebra would wait for each other, which takes more time than what they compute.
torch.set_num_threads(1)
threadpool_limits(1, user_api="blas")


def real_data_root() -> Path:
    """Where the real data is looked for: ``LATENTBENCH_DATA_ROOT``, or ``shared/data`` beside the repository."""
    return Path(os.environ.get("LATENTBENCH_DATA_ROOT") or REPOSITORY.parent / "shared" / "data")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first: one that begins last would leave the other workers idle at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("real") and not (real_data_root() / "MNIST" / "raw").is_dir():
        pytest.skip(f"no real data: no MNIST/raw in {real_data_root()} (LATENTBENCH_DATA_ROOT names another folder)")
    if item.get_closest_marker("cuda") and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    if item.get_closest_marker("long") and "long" not in item.config.getoption("markexpr"):
        pytest.skip("takes minutes: pytest -m long")


@pytest.fixture(scope="session", autouse=True)
def _cache_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Prepared datasets go into a temporary folder, not beside the data and not into the user's cache."""
    os.environ["LATENTBENCH_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def _no_defaults_of_the_user() -> None:
    """The user's configuration file changes no test."""
    os.environ["LATENTBENCH_CONFIG"] = os.devnull


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The real data's folder; for tests with the mark ``real``, which are skipped where it is not."""
    return real_data_root()


@pytest.fixture(scope="session")
def toys() -> Path:
    """A plugin file with a tiny dataset, an honest model, and models with real faults."""
    return Path(__file__).with_name("toys.py")
