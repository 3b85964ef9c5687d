"""Recalibrate: better running statistics for the same weights, kept or undone."""

from typing import TYPE_CHECKING

import streamlit as st

from bnviz.app.card_grid import board
from bnviz.app.task_panel import Task
from bnviz.charts.card import Card
from bnviz.errors import RunError
from bnviz.i18n import N_, _, sentences
from bnviz.records.recorded_statistics import precise_batch
from bnviz.subjects.modes.mode_selection_section import (
    Sides,
    kept_of,
    recalibration_of,
    set_recalibration,
)
from bnviz.subjects.modes.recalibration_figures import before_and_after
from bnviz.training.run_view import RunView
from bnviz.training.tasks import Progress

if TYPE_CHECKING:
    from bnviz.subjects.modes.recalibration import Recalibration

HEIGHT = 300
AWAITED = "recalibration_awaited"
"""In the session: the run whose recalibration this visitor waits for."""
EXPECTED_S = 5.0
ALIKE = 0.1
"""Points of accuracy, of 10,000 images ten, below which nothing is gained or lost."""
BATCHES = (1, 4, 16, 60, 250, 625)
METHODS = {
    "recalibrated": N_("Recalibrate"),
    "replayed": N_("Replay at the best momentum"),
    "blended": N_("Blend"),
}
EXPLAINED = {
    "recalibrated": N_(
        "Passes the chosen number of training batches through the frozen weights and takes "
        "their population statistics, layer by layer."
    ),
    "replayed": N_(
        "Rebuilds the running statistics from the recorded batches at the momentum that is best on "
        "{images:,} training images."
    ),
    "blended": N_(
        "Mixes the statistics of fresh batches into the running ones by the chosen weight: one "
        "large step of the average."
    ),
}


def show(run: RunView, sides: Sides) -> None:
    """Choose a method, recalibrate, look, keep or undo."""
    from bnviz.subjects.modes.recalibration import CHOOSING_IMAGES

    method, batches, weight = _controls(run)
    st.caption(_(EXPLAINED[method]).format(images=CHOOSING_IMAGES))
    task = _task_of(run, sides, method, batches, weight)
    task.panel()
    if task.going_on:
        return
    _take_what_was_found(run, task)
    recalibration = recalibration_of(run)
    if recalibration is None:
        st.info(
            _(
                "Nothing is recalibrated yet. The weights stay as they are; only the "
                "statistics that eval mode normalizes by are replaced, and every view then "
                "shows eval mode with the recalibrated ones."
            ),
            icon=":material/healing:",
        )
    else:
        board([_card(run, recalibration)], key="recalibrated", revision=run.id)
        _keep_or_undo(run, recalibration)
    _kept_list(run, sides)


def _controls(run: RunView) -> tuple[str, int, float]:
    """The method and what it is to be told."""
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        method = st.segmented_control(
            _("Method"), list(METHODS), default="recalibrated", required=True, key="recalibration_method",
            bind="query-params", format_func=lambda m: _(METHODS[m]),
            help=_("None of them changes a weight."),
        )  # fmt: skip
        batches = st.select_slider(
            _("Training batches"), BATCHES, value=60, key="recalibration_batches", bind="query-params",
            width=220, disabled=method == "replayed",
            help=_("Of {n} images each, at frozen weights.").format(
                n=precise_batch(run.config.batch_size)
            ),
        )  # fmt: skip
        weight = st.slider(
            _("Weight of the fresh batches"), 0.0, 1.0, 0.5, 0.05, key="recalibration_weight",
            bind="query-params", width=220, disabled=method != "blended",
            help=_("0 leaves the running statistics, 1 takes the fresh ones."),
        )  # fmt: skip
    return str(method), int(batches), float(weight)


def _task_of(run: RunView, sides: Sides, method: str, batches: int, weight: float) -> Task:
    """Recalibrate the chosen checkpoint; what the reader does meanwhile does not end it."""
    source = run.source

    def measure(progress: Progress) -> "Recalibration":
        from bnviz.subjects.modes.recalibration import recalibrate_checkpoint

        return recalibrate_checkpoint(
            source, sides.variant, sides.step, method, batches=batches, weight=weight,
            progress=progress,
        )  # fmt: skip

    def await_it() -> None:
        st.session_state[AWAITED] = run.id

    button = _("Recalibrate step {step:,}").format(step=sides.step)
    return Task(
        key=(run.id, "recalibrate"), measure=measure, button=button, again=button,
        expected_s=EXPECTED_S, help=_("It can be undone."), on_start=await_it,
    )  # fmt: skip


def _take_what_was_found(run: RunView, task: Task) -> None:
    """Turn the eval side to what this visitor has asked to be recalibrated, once it is there."""
    if st.session_state.get(AWAITED) != run.id:
        return
    st.session_state.pop(AWAITED)
    if task.error is None and task.found is not None:
        set_recalibration(run, task.found)
        st.session_state["recalibrated_source"] = True
        st.rerun()


def _card(run: RunView, recalibration: "Recalibration") -> Card:
    gain = 100 * (recalibration.after - recalibration.before)
    return Card(
        key="recalibrated",
        title=_("The same weights before and after: {gain:+.1f} points").format(gain=gain),
        figure=before_and_after(recalibration.before, recalibration.after, recalibration.variant),
        sentence=sentences(
            _(
                "{label} at step {step:,}: eval mode on all test images goes from {before:.1%} to "
                "{after:.1%}. Finding the statistics took {seconds:.2f} s."
            ).format(
                label=run.labels[recalibration.variant],
                step=recalibration.step,
                before=recalibration.before,
                after=recalibration.after,
                seconds=recalibration.seconds,
            ),
            what_was_done(recalibration.method, recalibration.details),
            _worth(gain),
        ),
        alt=_("Accuracy in eval mode before and after recalibration"),
        height=HEIGHT,
        asked=f"{recalibration}",
    )


def _worth(gain: float) -> str:
    """Whether so many points of accuracy are a gain."""
    if gain <= -ALIKE:
        return _("That is a loss: the layers' own statistics were better here.")
    if gain < ALIKE:
        return _("That is no gain: the layers' own statistics were as good here.")
    return _("No weight was changed.")


def what_was_done(method: str, details: dict[str, float]) -> str:
    """What a recalibration did, in a sentence."""
    words = {
        "recalibrated": N_("Recalibrated on {batches} batches of {batch_size}."),
        "replayed": N_("Replayed at m = {momentum:g}."),
        "blended": N_("Blended: weight {weight:.0%} for {batches} fresh batches of {batch_size}."),
    }
    return _(words[method]).format(**details)


def _keep_or_undo(run: RunView, recalibration: "Recalibration") -> None:
    """Buttons for what was recalibrated."""
    from bnviz.subjects.modes.recalibration import as_checkpoint, keep

    def undo() -> None:
        set_recalibration(run, None)

    with st.container(horizontal=True, gap="small"):
        if st.button(
            _("Keep as a checkpoint"), key="recalibration_keep", icon=":material/save:",
            help=_("Stored in the run's folder; it is then in the list of checkpoints."),
        ):  # fmt: skip
            try:
                one = keep(run.source, run.source.folder, recalibration)
            except RunError as error:
                st.error(str(error), icon=":material/error:")
            else:
                st.session_state["kept_message"] = one.name
                st.rerun()
        st.download_button(
            _("Download it"),
            lambda: as_checkpoint(run.source, recalibration),
            file_name=f"{recalibration.step}-{recalibration.variant}-{recalibration.method}.safetensors",
            icon=":material/download:",
            key="recalibration_download",
            help=_("All tensors as safetensors, with what was done in the metadata."),
        )
        if st.button(
            _("Undo"), key="recalibration_undo", icon=":material/undo:", on_click=undo,
            help=_("Eval mode uses the layers' own statistics again."),
        ):  # fmt: skip
            st.rerun()


def _kept_list(run: RunView, sides: Sides) -> None:
    """The recalibrated checkpoints in the run's folder, each with its way out."""
    from bnviz.subjects.modes.recalibration import drop

    if name := st.session_state.pop("kept_message", None):
        st.success(_("Stored as {name}.").format(name=name), icon=":material/save:")
    folder, kept_ones = run.source.folder, kept_of(run, sides.variant)
    if not kept_ones or folder is None:
        return
    st.subheader(_("Recalibrated checkpoints of this run"))
    for one in kept_ones:
        with st.container(horizontal=True, gap="medium", vertical_alignment="center"):
            st.markdown(
                _("**Step {step:,}**, {what}: {before:.1%} to {after:.1%}").format(
                    step=one.step,
                    what=what_was_done(one.method, one.details),
                    before=one.before,
                    after=one.after,
                )
            )
            if st.button(
                _("Delete"), key=f"recalibration_drop_{one.name}", icon=":material/delete:",
                help=_("Removes the recalibrated checkpoint; the run's own stay."), type="tertiary",
            ):  # fmt: skip
                drop(folder, one.name)
                st.rerun()
