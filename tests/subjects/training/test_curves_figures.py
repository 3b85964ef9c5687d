"""Loss and accuracy of a run: what the card says stands in the record."""

import numpy as np
import pytest

from bnviz.config import RunConfig
from bnviz.records.history import History
from bnviz.records.schema import MODES, schemas, steps_table
from bnviz.records.store import RECORDED_ID, StoredRun, recorded_run
from bnviz.selection import Selection
from bnviz.subjects.training.curves_figures import curves
from bnviz.training.run_view import RunView
from tests.paths import ROOT


def run_of(rows, losses=(2.0, 1.0)):
    """A run with the evaluations `rows`: variant, step, images, accuracy in train and in eval mode."""
    config = RunConfig(variants=("note", "builtin"))
    history = History(schemas(config.variants))
    for variant, step, images, *accuracies in rows:
        for mode, accuracy in zip(("train", "eval"), accuracies, strict=True):
            history["evaluations"].append(
                step=step, variant=config.variants.index(variant), mode=MODES.index(mode),
                images=images, batch_size=16, accuracy=accuracy, loss=1.0,
            )  # fmt: skip
    for variant in config.variants:
        table = history[steps_table(variant)]
        for step, loss in enumerate(losses, 1):
            table.append(**{
                name: np.zeros(shape, kind) for name, (kind, shape) in table.schema.columns.items()
            } | {"step": step, "loss": loss})  # fmt: skip
    return RunView("made", StoredRun("made", ROOT / "nowhere", config, history, None))


def test_each_variant_is_named_with_step_and_images_of_its_own_last_evaluation():
    """A variant that was stopped early was once reported with the step of another."""
    run = run_of(
        [
            ("note", 100, 200, 0.5, 0.4),
            ("builtin", 100, 200, 0.6, 0.5),
            ("builtin", 1500, 10_000, 0.8, 0.7),
        ]
    )
    said = curves(run, Selection()).sentence
    assert (
        "On 200 test images (± 3.5%) at step 100: Note's BN: 40.0% in eval mode, 50.0% in train mode."
        in said
    )
    assert (
        "On 10,000 test images (± 0.5%) at step 1,500: nn.BatchNorm: 70.0% in eval mode, 80.0%"
        in said
    )


def test_variants_of_one_step_share_a_sentence():
    run = run_of([("note", 9, 50, 0.5, 0.4), ("builtin", 9, 50, 0.6, 0.5)])
    said = curves(run, Selection()).sentence
    assert said.count("test images (±") == 1


def test_two_values_at_one_step_are_told_apart():
    """Before and after its own test, which the recorded run's sentence once left to be guessed."""
    run = RunView(RECORDED_ID, recorded_run())
    said = curves(run, Selection()).sentence
    assert "Note's BN: 76.5% in eval mode" in said
    assert "two points at step 400: 62.6% on 1,000 images before its own test" in said
    assert "and 76.5% after" in said


@pytest.mark.parametrize(
    ("losses", "later", "learns"),
    [((2.0, 1.0), 0.7, True), ((2.0, 2.1), 0.7, False), ((2.0, 1.0), 0.5, False)],
)
def test_the_title_claims_only_what_is_so_on_this_run(losses, later, learns):
    rows = [(v, s, 50, 0.5, a) for v in ("note", "builtin") for s, a in ((1, 0.5), (2, later))]
    title = curves(run_of(rows, losses), Selection()).title
    assert title.startswith("Loss falls, accuracy rises") is learns


def test_the_note_s_own_test_has_an_entry_in_the_legend():
    card = curves(RunView(RECORDED_ID, recorded_run()), Selection())
    shown = {t["name"] for t in card.figure["data"] if t.get("showlegend", True)}
    assert "Note's BN, the note's own test" in shown
    assert "Note's BN, eval mode" not in shown
