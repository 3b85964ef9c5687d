"""Train vs eval: the same test images through both modes of the same weights, and what to do."""

import streamlit as st

from bnviz.app import runs
from bnviz.app.card_grid import plainly
from bnviz.app.controls import choice_control
from bnviz.app.preload import warm_up
from bnviz.app.sliders import sliders_here
from bnviz.app.task_panel import watch_run
from bnviz.i18n import _
from bnviz.subjects.modes import batch_context_section as neighbours
from bnviz.subjects.modes import (
    checkpoints_section,
    corruptions_section,
    layer_divergence_section,
    mode_selection_section,
    mode_table_section,
    predictions_section,
)
from bnviz.subjects.modes import recalibration_section as recalibration

FIGURES = "pair"  # the key of the fragment that answers to the controls
VIEWS = {
    "predictions": predictions_section.show,
    "layers": layer_divergence_section.show,
    "context": neighbours.show,
    "checkpoints": checkpoints_section.show,
    "recalibrate": recalibration.show,
    "table": mode_table_section.show,
    "corruptions": corruptions_section.show,
}

warm_up()
run = runs.choose_run()
st.title(_("Train mode against eval mode"))
st.caption(
    _(
        "In train mode BN normalizes an image by its batch, in eval mode by the running "
        "statistics. Same weights, same images: only the mode differs."
    )
)
st.caption(run.origin())
names = {
    "predictions": _("Predictions"),
    "layers": _("Layer by layer"),
    "context": _("Batch context"),
    "checkpoints": _("Over the run"),
    "recalibrate": _("Recalibrate"),
    "table": _("Mode table"),
    "corruptions": _("Changed images"),
}
view = choice_control(
    _("View"), names, "view",
    help=_(
        "The sliders and switches act on eval mode; Recalibrate and Mode table start from the "
        "layers' own statistics."
    ),
)  # fmt: skip
watch_run(run, checkpoints=True)
mode_selection_section.controls(run, answers=FIGURES)
own = (
    _("The run itself had a cumulative average and eps {eps:g}.")
    if run.config.momentum is None
    else _("The run itself had momentum {m:g} and eps {eps:g}.")
).format(m=run.config.momentum, eps=run.config.eps)


@st.fragment(key=FIGURES)
def both_modes() -> None:
    """The chosen view at the chosen checkpoint; a live run brings new ones."""
    sliders_here(
        _(
            "Rebuilds the running statistics from the recorded batches; acts on eval mode. "
            "{own}"
        )
        .format(own=own),
        _(
            "Acts on eval mode. It is exact there; training itself used the run's own eps. "
            "{own}"
        )
        .format(own=own),
    )  # fmt: skip
    mode_selection_section.eval_controls(run)
    with plainly():
        sides = mode_selection_section.chosen(run)
        if words := mode_selection_section.aside(run, sides):
            st.caption(words)
        if view == "predictions" or sides.variant in run.with_statistics:
            VIEWS[view](run, sides)
        else:
            st.info(
                _(
                    "{label} has no BN, so both modes compute the same and there is nothing to "
                    "compare. Choose another variant."
                ).format(label=run.labels[sides.variant])
            )


both_modes()
