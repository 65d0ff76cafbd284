import pytest
import torch
from torch import Tensor


@pytest.fixture
def images() -> Tensor:
    return torch.rand(12, 1, 8, 16, generator=torch.Generator().manual_seed(0))
