"""What BN does not change, in the weights of the chosen run: scale, shift, and the bias before it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from bnviz import data
from bnviz.app.controls import selection
from bnviz.charts.card import Card
from bnviz.errors import RunError
from bnviz.i18n import _
from bnviz.records.schema import LAYERS
from bnviz.subjects.anatomy.cells_figures import change_over_scale, weight_and_bias_gradients
from bnviz.training.checkpoints import replayable_step
from bnviz.training.process import find_run_view
from bnviz.training.run_view import RunView

IMAGES = 128
SCALES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)


@dataclass(frozen=True)
class Choice:
    """Whose layer, and what happens to the one before it."""

    variant: str
    step: int
    layer: str
    scale: float
    shift: float


def controls(run: RunView) -> Choice:
    """Checkpoint, scale and shift, for the variant and layer of the sidebar. Raises RunError for a run without weights."""
    chosen = selection(run)
    variant = run.variant(chosen.variant, with_statistics=True)
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        newest = replayable_step(run.source, variant)
        steps = [0, *run.source.checkpoints(variant)]
        if st.session_state.get("anat_step") not in steps:
            st.session_state.pop("anat_step", None)
        step = st.selectbox(
            _("Checkpoint"), steps, key="anat_step", bind="query-params", width=150,
            format_func=lambda s: _("step {step}").format(step=s) if s else _("latest"),
            help=_("The training step whose weights are used."),
        )  # fmt: skip
        scale = st.select_slider(
            _("Weights and bias before BN times k"), SCALES, value=10.0, key="anat_scale",
            bind="query-params", width=260, format_func=lambda k: f"{k:g}",
            help=_("Multiplies all weights and the bias of the layer before this BN layer."),
        )  # fmt: skip
        shift = st.slider(
            _("Bias before BN plus s"), -10.0, 10.0, 3.0, 0.5, key="anat_shift",
            bind="query-params", width=220,
            help=_("Added to the bias of every channel of the layer before this BN layer."),
        )  # fmt: skip
    return Choice(variant, step or newest, chosen.layer, scale, shift)


@st.cache_data(max_entries=64, show_spinner=False)
def _rescaled(run_id: str, variant: str, step: int, layer: str, shift: float) -> pd.DataFrame:
    import torch

    from bnviz.subjects.anatomy.invariance import rescaled
    from bnviz.training.checkpoints import model_at

    run = find_run_view(run_id)
    images = torch.tensor(data.load(run.config.dataset).test_images[:IMAGES])
    return rescaled(model_at(run.source, variant, step), layer, images, SCALES, shift)


@st.cache_data(max_entries=64, show_spinner=False)
def _gradients(run_id: str, variant: str, step: int) -> pd.DataFrame:
    import torch

    from bnviz.subjects.anatomy.invariance import bias_gradients
    from bnviz.training.checkpoints import model_at

    run = find_run_view(run_id)
    loaded = data.load(run.config.dataset)
    images, labels = (
        torch.tensor(part[:IMAGES]) for part in (loaded.test_images, loaded.test_labels)
    )
    return bias_gradients(model_at(run.source, variant, step), images, labels.long())


def measured(run: RunView, choice: Choice) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What `rescaled` and `bias_gradients` find. Raises RunError for weights that are no numbers."""
    moved = _rescaled(run.id, choice.variant, choice.step, choice.layer, choice.shift)
    gradients = _gradients(run.id, choice.variant, choice.step)
    if not np.isfinite(moved.to_numpy()).all() or not np.isfinite(gradients["weights"]).all():
        raise RunError(
            _(
                "The weights of step {step} are not finite: the run has diverged. Choose an "
                "earlier checkpoint or another run."
            ).format(step=choice.step)
        )
    return moved, gradients


def metrics(moved: pd.DataFrame, choice: Choice) -> None:
    """What BN gets and gives, before and after."""
    now, before = (moved[moved["scale"] == k].iloc[0] for k in (choice.scale, 1.0))
    entries = (
        (
            _("Input of BN: mean ± standard deviation"),
            f"{now['input_mean']:.3g} ± {now['input_std']:.3g}",
            _("Over all channels; k = 1 would give a standard deviation of {before:.3g}.").format(
                before=before["input_std"]
            ),
        ),
        (
            _("Output of BN: standard deviation"),
            f"{now['output_std']:.4g}",
            _("k = 1 gives {before:.4g}.").format(before=before["output_std"]),
        ),
        (
            _("Largest change of BN's output"),
            f"{now['difference']:.2g} σ",
            _("In standard deviations of the output with the weights as they are."),
        ),
        (
            _("Change predicted from eps"),
            f"{now['predicted']:.2g} σ",
            _("The variance is multiplied by k², eps is not. What remains is rounding."),
        ),
    )
    with st.container(horizontal=True, gap="small"):
        for label, value, text in entries:
            st.metric(label, value, border=True, help=text)


def cards(choice: Choice, moved: pd.DataFrame, gradients: pd.DataFrame) -> list[Card]:
    """The change of BN's output over all scales, and the gradients of the biases."""
    return [_change_card(choice, moved), _gradient_card(gradients)]


def _change_card(choice: Choice, moved: pd.DataFrame) -> Card:
    now = moved[moved["scale"] == choice.scale].iloc[0]
    return Card(
        key="rescaled",
        title=_("Scale the weights before BN: the output stays, until eps counts"),
        figure=change_over_scale(
            moved["scale"].to_numpy(),
            moved["difference"].to_numpy(),
            moved["predicted"].to_numpy(),
            choice.scale,
        ),
        sentence=_(
            "{layer} at step {step}, weights times {k:g} and bias plus {s:g}: no output moves by more than {off:.2g} "
            "standard deviations. eps multiplies the normalized values of the channel that varies least by "
            "{factor:.6g}; at k = {least:g} by {worst:.3g}."
        ).format(
            layer=choice.layer,
            step=choice.step,
            k=choice.scale,
            s=choice.shift,
            off=now["difference"],
            factor=now["factor"],
            least=moved["scale"].iloc[0],
            worst=moved["factor"].iloc[0],
        ),
        alt=_("Largest change of BN's output over the factor on the weights, measured and by eps"),
        height=330,
        asked=str(choice),
    )


def _gradient_card(gradients: pd.DataFrame) -> Card:
    rows = gradients.set_index("layer")
    hidden, last = rows.loc[list(LAYERS)], rows.loc["out"]
    ratio = hidden["weights"] / hidden["bias"].clip(lower=1e-300)
    return Card(
        key="bias_gradient",
        title=_("The bias before BN gets no gradient; the last layer's does"),
        figure=weight_and_bias_gradients(
            list(rows.index), rows["weights"].to_numpy(), rows["bias"].to_numpy()
        ),
        sentence=_(
            "Before BN the bias gradients are {low:.0e} to {high:.0e}, at least {ratio:,.0f} times smaller than "
            "those of the weights: rounding. In the last layer, with no BN behind it, the bias has "
            "{last:.2g}."
        ).format(
            low=hidden["bias"].min(),
            high=hidden["bias"].max(),
            ratio=ratio.min(),
            last=last["bias"],
        ),
        alt=_("Gradients of weights and bias of each layer on a logarithmic scale"),
        height=330,
    )
