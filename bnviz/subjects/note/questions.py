"""The note's three questions, each measured: what a test batch keeps, which average, which mode."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from bnviz import data
from bnviz.census.graph_census import GraphCensus, detach_statistics
from bnviz.config import Quirks, RunConfig
from bnviz.data import Dataset
from bnviz.errors import ConfigError
from bnviz.evaluation.inference import standard_error
from bnviz.evaluation.modes import eval_side, train_side
from bnviz.i18n import _
from bnviz.subjects.note.quirk_settings import NOTES_MOMENTUM
from bnviz.training.checkpoints import POPULATION, Estimator, Run, compare_estimators, model_at
from bnviz.training.steps import Images, build_model, note_test

BATCHES = 3
ESTIMATORS: tuple[Estimator, ...] = (0.9, 0.1, 0.01, None, POPULATION)
IMAGES = 2000
"""Test images of the accuracies: a page waits for them."""
POPULATION_IMAGES = 2000
BATCH_SIZES = (2, 4, 8, 16, 64, 256)
MOST_BATCH = 512


def bytes_kept(batch_size: int, *, dataset: Dataset | None = None) -> pd.DataFrame:
    """What a test batch keeps alive in each of eight ways to test, counted on real batches.

    One row each: graph_kept, train_mode, with_grad (bool), kept_bytes and kept_nodes a test batch.
    The network is the note's with all other quirks on. The first batch is left out: it also keeps
    what happens once. What was kept is freed.

    Raises ConfigError for a `batch_size` outside 2 to MOST_BATCH or with too few test images.
    """
    images = Images(dataset or data.load(), torch.device("cpu"))
    most = min(MOST_BATCH, len(images.test) // (BATCHES + 1))
    if not 2 <= batch_size <= most:
        raise ConfigError(
            _("batch_size: got {value}; allowed: 2 to {most}, so that {batches} test batches fit.")
            .format(value=batch_size, most=most, batches=BATCHES + 1)
        )  # fmt: skip
    rows = [
        (*switches, *_kept(images, batch_size, *switches))
        for switches in itertools.product((True, False), repeat=3)
    ]
    names = ["graph_kept", "train_mode", "with_grad", "kept_bytes", "kept_nodes"]
    return pd.DataFrame(rows, columns=names)


def _kept(
    images: Images, batch_size: int, graph_kept: bool, train_mode: bool, with_grad: bool
) -> tuple[int, int]:
    """Bytes and nodes that a test batch adds."""
    quirks = Quirks(keep_graph=graph_kept, test_in_train_mode=train_mode, test_with_grad=with_grad)
    config = RunConfig(variants=("note",), momentum=NOTES_MOMENTUM, quirks=quirks)
    model = build_model(config, "note", images.test.device)
    census, found = GraphCensus(model), []

    def go_on() -> bool:
        census.update()
        found.append((census.bytes, census.nodes))
        return len(found) <= BATCHES

    note_test(
        model, images.test, images.test_labels, batch_size=batch_size, quirks=quirks, go_on=go_on
    )
    detach_statistics(model)
    size, nodes = (np.array(found[-1]) - np.array(found[0])) // BATCHES
    return int(size), int(nodes)


def estimator_accuracies(
    run: Run, variant: str, step: int, *, dataset: Dataset | None = None
) -> pd.DataFrame:
    """Accuracy in eval mode at a checkpoint with the statistics of each of ESTIMATORS.

    One row each: estimator (a momentum as text, ``none`` for the mean of all batches,
    ``population``), accuracy (0 to 1, on the first IMAGES test images), its standard_error, and
    images. The population is that of the first POPULATION_IMAGES training images at the weights of the step.
    Raises ConfigError and RunError as `compare_estimators`.
    """
    whole = dataset or data.load(run.config.dataset)
    some = replace(
        whole,
        train_images=whole.train_images[:POPULATION_IMAGES],
        train_labels=whole.train_labels[:POPULATION_IMAGES],
    )
    found = compare_estimators(run, variant, ESTIMATORS, step=step, images=IMAGES, dataset=some)
    count = min(IMAGES, len(whole.test_labels))
    return pd.DataFrame(
        [
            (str(row["momentum"]), row["accuracy"], standard_error(row["accuracy"], count), count)
            for row in found
        ],
        columns=["estimator", "accuracy", "standard_error", "images"],
    )


def accuracy_by_batch_size(
    run: Run,
    variant: str,
    step: int,
    sizes: Sequence[int] = BATCH_SIZES,
    *,
    dataset: Dataset | None = None,
) -> pd.DataFrame:
    """Accuracy at a checkpoint in train mode by the size of the test batch, beside eval mode.

    One row a size: batch_size, train, eval (0 to 1, on the first IMAGES test images in their
    order; eval mode is the same for all) and images. Raises RunError for a checkpoint that is gone.
    """
    images_of = dataset or data.load(run.config.dataset)
    test, labels = torch.tensor(images_of.test_images[:IMAGES]), images_of.test_labels[:IMAGES]
    model, order = model_at(run, variant, step), np.arange(len(labels))

    def share(logits: np.ndarray) -> float:
        return float((logits.argmax(1) == labels).mean())

    in_eval = share(eval_side(model, test))
    rows = [
        (size, share(train_side(model, test, batch_size=size, order=order)), in_eval, len(labels))
        for size in sizes
    ]
    return pd.DataFrame(rows, columns=["batch_size", "train", "eval", "images"])
