"""Shared by all tests: the real data set, no folder of the user touched."""

import dataclasses
import os
import shutil
import signal

# One torch thread, here and in the servers that tests start: threads that wait for each other on a
# busy machine make a run many times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A shell that starts the tests in the background has them ignore Ctrl+C, and so would do the
# servers and commands that they start, which tests end by it.
signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest

from bnviz import data
from bnviz.config import RunConfig
from bnviz.records import store
from bnviz.training.trainer import Trainer


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    """Runs and downloads of a test go to its own folder."""
    monkeypatch.setenv("BNVIZ_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture(scope="session")
def dataset():
    """The real 70,000 images; under CI they must be there."""
    loaded = data.load("fashion-mnist")
    if loaded.is_sample and os.environ.get("CI"):
        pytest.fail("The full Fashion-MNIST is missing: " + " ".join(loaded.refused))
    return loaded


@pytest.fixture(scope="session")
def sample():
    """The 7,000 images of the package."""
    return data.load("fashion-mnist-sample")


@pytest.fixture
def on_the_sample(monkeypatch, sample):
    """Commands that would load the full set take the package's images, which is quicker."""
    monkeypatch.setattr(data, "load", lambda *_name, **_options: sample)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The system's Chromium, or None for playwright's own."""
    found = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
    )
    if not found and os.environ.get("CI"):
        pytest.fail("Chromium is missing: install it (Debian: apt-get install chromium).")
    return found


@pytest.fixture
def short_config():
    """A run of a few steps on the sample, on the CPU."""

    def make(**changes):
        settings = {
            "dataset": "fashion-mnist-sample",
            "device": "cpu",
            "steps": 12,
            "eval_images": 200,
            "observe_budget": 1.0,
        }
        return RunConfig.parse(**{**settings, **changes})

    return make


@pytest.fixture
def few(sample):
    """300 training and 200 test images of the sample."""
    return dataclasses.replace(
        sample,
        train_images=sample.train_images[:300],
        train_labels=sample.train_labels[:300],
        test_images=sample.test_images[:200],
        test_labels=sample.test_labels[:200],
    )


@pytest.fixture
def store_run(tmp_path, short_config, sample):
    """Makes a stored run of 25 steps of some variants, with weights at 20 and 25."""

    def make(variants):
        config = short_config(variants=variants, steps=25, eval_every=1000)
        writer = store.RunWriter(tmp_path / "runs", "short", config)
        with Trainer(config, sample, history=writer.history) as trainer:
            trainer.on_checkpoint = writer.checkpoint
            while not trainer.done:
                trainer.step()
            trainer.checkpoint()
            writer.finish(trainer.summary(1.0))
        return store.open_run(writer.folder)

    return make


@pytest.fixture
def short_run(store_run):
    """One of nn.BatchNorm."""
    return store_run("builtin")
