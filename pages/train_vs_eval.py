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
    side_effects_section,
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
    "effects": side_effects_section.show,
    "corruptions": corruptions_section.show,
}
SETUP = ("variant", "checkpoint")
# View to the controls of the sidebar and the sliders that act on it; on the others all of them do.
ACTING = {
    "recalibrate": (SETUP, ()),
    "table": (SETUP, ()),
    "effects": ((*SETUP, "batch"), ("momentum",)),
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
    "effects": _("Side effects"),
    "corruptions": _("Changed images"),
}
view = choice_control(
    _("View"), names, "view",
    help=_(
        "Each view shows the controls that act on it. Recalibrate, Mode table and Side effects "
        "start from the layers' own statistics."
    ),
)  # fmt: skip
watch_run(run, checkpoints=True)
in_sidebar, sliders = ACTING.get(view, (mode_selection_section.EVERY, ("momentum", "eps")))
with st.sidebar:
    mode_selection_section.controls(run, in_sidebar, answers=FIGURES)
own = _("The run itself had momentum {m} and eps {eps}.").format(
    m=run.setting_words("momentum"), eps=run.setting_words("eps")
)
HELP = {
    "momentum": _(
        "Rebuilds the running statistics from the recorded batches; acts on eval mode. {own}"
    ),
    "eps": _("Acts on eval mode; training itself used the run's own eps. {own}"),
}


@st.fragment(key=FIGURES)
def both_modes() -> None:
    """The chosen view at the chosen checkpoint; a live run brings new ones."""
    if sliders and (view in ACTING or mode_selection_section.sliders_act()):
        sliders_here({name: HELP[name].format(own=own) for name in sliders})
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
