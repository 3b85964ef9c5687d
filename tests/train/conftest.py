import pytest

from bnviz.train import store
from bnviz.train.trainer import Trainer


@pytest.fixture
def short_run(tmp_path, short_config, sample):
    """A stored run of 25 steps with weights at 20 and 25."""
    config = short_config(variants="builtin", steps=25, eval_every=1000)
    writer = store.RunWriter(tmp_path / "runs", "short", config)
    with Trainer(config, sample, history=writer.history) as trainer:
        trainer.on_checkpoint = writer.checkpoint
        while not trainer.done:
            trainer.step()
        trainer.checkpoint()
        writer.finish(trainer.summary(1.0))
    return store.open_run(writer.folder)
