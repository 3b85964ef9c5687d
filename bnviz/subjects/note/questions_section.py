"""The note's three questions: a short answer each, with a figure that answers to a slider."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st

from bnviz.app import router
from bnviz.app.card_grid import board, plainly
from bnviz.app.controls import selection
from bnviz.app.sliders import momentum_slider
from bnviz.app.task_panel import newest_checkpoint
from bnviz.charts.card import Card
from bnviz.charts.formatting import size_words
from bnviz.config import EARLY_EVALUATIONS
from bnviz.data import TEST_IMAGES
from bnviz.errors import RunError
from bnviz.i18n import _, listed, sentences
from bnviz.records.momentum_maps import DEFAULT_IMAGES, growing_best
from bnviz.records.recorded_statistics import replay_layer
from bnviz.records.run_names import RECORDED_ID
from bnviz.records.schema import layer_slice, steps_table
from bnviz.subjects.note.questions_figures import (
    accuracy_by_estimator,
    accuracy_by_test_batch,
    channel_curve,
    kept_by_way,
    way,
)
from bnviz.subjects.note.quirk_settings import NOTES_MOMENTUM, TORCHS_MOMENTUM
from bnviz.training.process import find_run_view, jobs, kept_maps
from bnviz.training.run_view import RunView

if TYPE_CHECKING:
    from bnviz.subjects.note.recorded import RecordedAnswers

MEMORY_SIZES = (2, 4, 8, 16, 32, 64, 128, 256)
PRINTED_BATCH = 4
"""The test batch of the printed log."""
TEST_SET = TEST_IMAGES
POINTS = 500
RECENT = 50
"""Batches whose mean stands beside the averages."""
HEIGHT = 300
BESIDE = (2, 3)
"""Widths of a question and of the figure beside it."""


def memory_question() -> None:
    """Why memory ran out: eight ways to run a test batch, one of which keeps it."""

    @st.fragment(key="question_memory")
    def memory() -> None:
        words, figure = st.columns(BESIDE, gap="medium")
        with words:
            st.markdown(
                _(
                    "**1. Why did memory run out with my BN and not with torch's?** Two things are needed: "
                    "running statistics that keep their graph, *and* a test pass in train mode with "
                    "gradients on. Then no `backward()` ever frees what the batch saved."
                )
            )
            size = st.select_slider(
                _("Images in a test batch"), MEMORY_SIZES, value=16, key="question_batch",
                bind="query-params",
                help=_("Real test images go through the note's network in all ways of testing at once."),
            )  # fmt: skip
            _link("memory", _("Watch it, predict it, fix it: Memory"))
        with figure, plainly():
            board([memory_card(size, kept(size))], key="question_memory_board", revision="memory")

    memory()


@st.cache_data(max_entries=16, show_spinner=False)
def kept(batch_size: int) -> pd.DataFrame:
    """`bytes_kept` for a batch size; a repeat is instant."""
    from bnviz.subjects.note.questions import bytes_kept

    jobs().yield_cpu(1.0)
    return bytes_kept(batch_size)


def memory_card(size: int, frame: pd.DataFrame) -> Card:
    """The eight ways, with what one of them comes to over a whole test set."""
    leaking = frame[frame["kept_bytes"] > 0]
    ways = listed(way(row, ", ") for row in leaking.to_dict("records"))
    most = int(frame["kept_bytes"].max())
    return Card(
        key="question_memory",
        title=_("{n} of {of} ways to test keeps the batch").format(n=len(leaking), of=len(frame)),
        figure=kept_by_way(frame),
        sentence=_(
            "{ways}: {size:,} bytes a test batch of {batch}, its images included; one pass over "
            "{images:,} images would keep {total}. Detached statistics, eval() or no_grad(): "
            "any one of them frees everything."
        ).format(
            ways=ways, size=most, batch=size, images=TEST_SET,
            total=size_words(most * TEST_SET / size),
        ),
        alt=_("Bytes that a test batch keeps alive, by the way to run the test"),
        height=HEIGHT + 20,
        asked=str(size),
    )  # fmt: skip


def on_the_run(run: RunView) -> None:
    """The other two questions, on the chosen run."""

    @st.fragment(key="questions_on_run")
    def both() -> None:
        variant = run.default_variant
        with plainly():
            step = _newest(run, variant)
            _averages(run, variant, step)
            _modes(run, variant, step)
            if recorded := _recorded(run.id, variant, step):
                st.caption(
                    _("Accuracies recorded with: {command} ({date}, {machine}).").format(
                        **recorded.made
                    )
                )

    both()


def _newest(run: RunView, variant: str) -> int:
    """The last checkpoint; `plainly` says on the page that there is none."""
    step = newest_checkpoint(run, variant)
    if step is None:
        raise RunError(
            _("No weights are stored in this run yet; the first come after {first} steps.").format(
                first=EARLY_EVALUATIONS[0]
            )
        )
    return step


def _averages(run: RunView, variant: str, step: int) -> None:
    words, curve = st.columns(2, gap="medium")
    with words:
        st.markdown(
            _(
                "**2. Why not simply average the batch means?** Running statistics never enter training, "
                "so any average can be tried afterwards in the same weights. The plain mean remembers "
                "weights that are long gone."
            )
        )
        _link("running_stats", _("All momenta, all channels, any run: Running statistics"))
        frame = accuracies(run.id, variant, step)
        board([averages_card(run, variant, step, frame)], key="question_averages", revision=run.id)
    with curve:
        momentum_slider(_("Rebuilds the running mean of one channel, in the figure below."))
        chosen = selection(run)
        card = channel_card(
            run, variant, chosen.layer, chosen.channels_of(chosen.layer)[0], chosen.momentum, step
        )
        board([card], key="question_curve", revision=run.id)


@st.cache_data(max_entries=64, show_spinner=False)
def accuracies(run_id: str, variant: str, step: int) -> pd.DataFrame:
    """`estimator_accuracies` of a run by its id; a repeat is instant, and so is the recorded run."""
    if recorded := _recorded(run_id, variant, step):
        return recorded.estimator_accuracies
    from bnviz.subjects.note.questions import estimator_accuracies

    jobs().yield_cpu(2.0)
    return estimator_accuracies(find_run_view(run_id).source, variant, step)


def _recorded(run_id: str, variant: str, step: int) -> "RecordedAnswers | None":
    """What is shipped, if it is of these weights."""
    from bnviz.subjects.note.recorded import STEP, VARIANT, recorded_answers

    return recorded_answers() if (run_id, variant, step) == (RECORDED_ID, VARIANT, STEP) else None


def estimator_words(frame: pd.DataFrame) -> dict[str, str]:
    """The estimators of `estimator_accuracies` as the figure names them."""
    named = {
        "0.9": _("m = {m:g}, the note").format(m=NOTES_MOMENTUM),
        "0.1": _("m = {m:g}, torch").format(m=TORCHS_MOMENTUM),
        "0.01": "m = 0.01",
        "none": _("mean of all batches"),
        "population": _("population"),
    }
    return {name: named[name] for name in frame["estimator"]}


def averages_card(run: RunView, variant: str, step: int, frame: pd.DataFrame) -> Card:
    """Accuracy in eval mode with each estimator."""
    by_name = frame.set_index("estimator")["accuracy"]
    return Card(
        key="question_averages",
        title=_("The same weights, {n} estimators").format(n=len(frame)),
        figure=accuracy_by_estimator(frame, estimator_words(frame), variant),
        sentence=sentences(_(
            "{label} at step {step:,}, eval mode on {images:,} test images: {mean:.1%} with the mean "
            "of all batches, {torch:.1%} at m = {m_torch:g}, {note:.1%} at the note's {m_note:g}; "
            "{population:.1%} with the population at these weights. Bars are standard errors."
        ).format(
            m_torch=TORCHS_MOMENTUM, m_note=NOTES_MOMENTUM,
            label=run.labels[variant], step=step, images=int(frame["images"].iloc[0]), mean=by_name["none"],
            torch=by_name["0.1"], note=by_name["0.9"], population=by_name["population"],
        ), _why_fast_is_better(run, variant) if by_name["0.9"] > by_name["0.1"] > by_name["none"] else ""),
        alt=_("Accuracy in eval mode with the running statistics of each estimator"),
        height=HEIGHT,
    )  # fmt: skip


def _why_fast_is_better(run: RunView, variant: str) -> str:
    """Also what the run's own map says of other batch sizes, if there is one and it says so."""
    said = _("The weights still move here, so an average that forgets faster is closer.")
    kept, _note = kept_maps().load(run.id, run.source.folder, variant, DEFAULT_IMAGES)
    best = growing_best(kept)
    if best is None:
        return said
    small, large = best.iloc[0], best.iloc[-1]
    return sentences(said, _(
        "The smaller the batches, the slower the best average, by this run's map (Running "
        "statistics): {low:g} at batch {small}, {high:g} at batch {large}."
    ).format(
        low=small["momentum"], small=int(small["batch_size"]),
        high=large["momentum"], large=int(large["batch_size"]),
    ))  # fmt: skip


def channel_card(
    run: RunView, variant: str, layer: str, channel: int, momentum: float, step: int
) -> Card:
    """One channel's running mean at the slider beside the plain mean."""
    steps, replayed, _var = replay_layer(
        run.config, run.history, variant, layer, momentum, [channel], stop=step
    )
    _steps, averaged, _var = replay_layer(
        run.config, run.history, variant, layer, None, [channel], stop=step
    )
    column = layer_slice(layer).start + channel
    batch = run.history[steps_table(variant)].column("batch_mean", stop=len(steps))[:, column]
    shown = np.unique(np.linspace(0, len(steps) - 1, min(POINTS, len(steps))).astype(int))
    series = {
        "step": steps[shown],
        "batch": batch[shown],
        "replay": replayed[shown, 0],
        "average": averaged[shown, 0],
    }
    recent = float(batch[-RECENT:].mean())
    return Card(
        key="question_channel",
        title=_("What an average remembers: {layer}, channel {channel}").format(
            layer=layer, channel=channel
        ),
        figure=channel_curve(series, _("running mean at m = {m:g}").format(m=momentum), variant),
        sentence=_(
            "At step {step:,} the running mean is {replay:.3f} at m = {m:g} and {average:.3f} as the "
            "mean of all batches; the last {count} batches have {recent:.3f}."
        ).format(
            step=int(steps[-1]), replay=float(replayed[-1, 0]), m=momentum,
            average=float(averaged[-1, 0]), count=min(RECENT, len(batch)), recent=recent,
        ),
        alt=_("Batch means of a channel, its running mean, and the mean of all batches"),
        height=HEIGHT - 20,
        asked=f"{layer} {channel} {momentum}",
    )  # fmt: skip


def _modes(run: RunView, variant: str, step: int) -> None:
    frame = by_size(run.id, variant, step)
    words, figure = st.columns(BESIDE, gap="medium")
    with words:
        st.markdown(
            _(
                "**3. Why is the printed accuracy too low?** The note's `test()` never calls `eval()`, so "
                "each image is normalized by its neighbours in the test batch, {count} of them in "
                "the printed log."
            ).format(count=PRINTED_BATCH - 1)
        )
        size = st.select_slider(
            _("Test batch"), list(frame["batch_size"]), value=PRINTED_BATCH,
            key="question_test_batch", bind="query-params",
            help=_("How many test images are normalized together in train mode."),
        )  # fmt: skip
        _link("train_vs_eval", _("Image by image, layer by layer: Train vs eval"))
    with figure:
        board(
            [modes_card(run, variant, step, frame, size)],
            key="question_modes", revision=run.id,
        )  # fmt: skip


@st.cache_data(max_entries=64, show_spinner=False)
def by_size(run_id: str, variant: str, step: int) -> pd.DataFrame:
    """`accuracy_by_batch_size` of a run by its id; a repeat is instant, and so is the recorded run."""
    if recorded := _recorded(run_id, variant, step):
        return recorded.accuracy_by_batch_size
    from bnviz.subjects.note.questions import accuracy_by_batch_size

    jobs().yield_cpu(2.0)
    return accuracy_by_batch_size(find_run_view(run_id).source, variant, step)


def modes_card(run: RunView, variant: str, step: int, frame: pd.DataFrame, size: int) -> Card:
    """Accuracy of both modes by the size of the test batch."""
    row = frame[frame["batch_size"] == size].iloc[0]
    gap = 100 * (row["eval"] - row["train"])
    return Card(
        key="question_modes",
        title=(
            _("The smaller the test batch, the worse train mode answers")
            if frame["train"].is_monotonic_increasing
            else _("Train mode by the size of the test batch, beside eval mode")
        ),
        figure=accuracy_by_test_batch(frame, variant, size),
        sentence=(
            _(
                "{label} at step {step:,} on {images:,} test images: {train:.1%} in train mode at "
                "test batch {size}, {gap:.1f} points below the {eval:.1%} of eval mode."
            )
            if gap > 0
            else _(
                "{label} at step {step:,} on {images:,} test images: {train:.1%} in train mode at "
                "test batch {size}, {gap:.1f} points above the {eval:.1%} of eval mode."
            )
        ).format(
            label=run.labels[variant], step=step, images=int(row["images"]), train=row["train"],
            size=size, eval=row["eval"], gap=abs(gap),
        ),
        alt=_("Accuracy in train mode by the size of the test batch, and in eval mode"),
        height=HEIGHT - 40,
        asked=str(size),
    )  # fmt: skip


def able(run: RunView) -> bool:
    """Whether the run has BN, which the questions on the run ask for."""
    return bool(run.with_statistics)


def _link(name: str, label: str) -> None:
    st.page_link(router.page(name), label=label, icon=":material/arrow_forward:")
