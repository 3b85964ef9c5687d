import dataclasses

import pytest

from bnviz.train import store
from bnviz.train.trainer import Trainer


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
