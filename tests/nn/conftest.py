import pytest
import torch


@pytest.fixture(autouse=True)
def _same_numbers_every_time():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
