"""Record the short run that is shipped in bnviz/assets/recorded.

    python -m scripts.record_run [map | checksums]

A real run on the real Fashion-MNIST, so that no page is ever empty; every page labels it. With
``map`` only its map of momentum by batch size is made again, which takes about a minute; with
``checksums`` only the checksums of its files as they are.
"""

import shutil
import sys
import time

from bnviz import data
from bnviz.config import RunConfig
from bnviz.data import Dataset
from bnviz.records.momentum_maps import map_path, write_map
from bnviz.records.run_files import write_checksums
from bnviz.records.store import RECORDED_FOLDER, RunWriter
from bnviz.subjects.running_stats.momentum_map import momentum_map
from bnviz.training.trainer import Trainer

CONFIG = RunConfig(
    variants=("note", "composite", "builtin", "none"),
    gradients=True,
    steps=400,
    eval_every=100,
    eval_images=1000,
    checkpoint_every=400,
    observe_budget=1.0,
)


MAP_VARIANT, MAP_IMAGES = "builtin", 16_000


def main() -> None:
    if "checksums" in sys.argv[1:]:
        write_checksums(RECORDED_FOLDER)
        return
    dataset = data.load("fashion-mnist", download=True)
    if dataset.is_sample:
        raise SystemExit("The full data set is needed: " + " ".join(dataset.refused))
    if "map" not in sys.argv[1:]:
        record(dataset)
    write_map(
        map_path(RECORDED_FOLDER, MAP_VARIANT, MAP_IMAGES),
        momentum_map(CONFIG, MAP_VARIANT, MAP_IMAGES, dataset=dataset),
    )


def record(dataset: Dataset) -> None:
    shutil.rmtree(RECORDED_FOLDER, ignore_errors=True)
    writer = RunWriter(RECORDED_FOLDER.parent, RECORDED_FOLDER.name, CONFIG)
    began = time.monotonic()
    with Trainer(CONFIG, dataset, history=writer.history) as trainer:
        trainer.on_checkpoint = writer.checkpoint
        while not trainer.done:
            trainer.step()
        trainer.finish()
        trainer.checkpoint()
        writer.finish(trainer.summary(time.monotonic() - began))


if __name__ == "__main__":
    main()
