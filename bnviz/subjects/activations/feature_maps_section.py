"""One test image through a layer in both modes, with the neighbours that stand beside it."""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from bnviz import data
from bnviz.app.thumbnails import png
from bnviz.charts.card import Card
from bnviz.i18n import _
from bnviz.nn.variants import VARIANTS
from bnviz.records.store import nearest_checkpoint
from bnviz.subjects.activations.feature_maps_figures import feature_maps
from bnviz.training.process import find_run_view
from bnviz.training.run_view import RunView

if TYPE_CHECKING:
    from bnviz.subjects.activations.checkpoint_probes import ImageProbe

BATCH_SIZES = (2, 4, 8, 16, 32, 64, 128)
SCALE_HOLDS = 0.995
"""Share of all values that the colour scale holds; the rest has the colour of its ends."""
THUMBNAILS = 15


@dataclass(frozen=True)
class ImageChoice:
    """Which image, in which batch."""

    image: int
    kind: str
    batch_size: int
    draw: int


def controls() -> None:
    """Image, neighbours and batch size."""
    names = {
        "random": _("random"),
        "same class": _("same class"),
        "another class": _("another class"),
    }
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        st.number_input(
            _("Test image"), 0, 9999, 0, key="act_image", bind="query-params", width=140,
            help=_("Its number in the test set."),
        )  # fmt: skip
        st.segmented_control(
            _("Rest of the batch in train mode"), list(names), default="random", required=True,
            key="act_neighbours", bind="query-params", format_func=lambda name: names[name],
            help=_("Which test images fill its batch."),
        )  # fmt: skip
        st.select_slider(
            _("Batch size"), BATCH_SIZES, value=16, key="act_batch", bind="query-params", width=180,
            help=_("The image and the rest of its batch together."),
        )  # fmt: skip
        st.number_input(
            _("Draw"), 0, 999, 0, key="act_draw", bind="query-params", width=110,
            help=_("Another number draws another batch."),
        )  # fmt: skip


def choice(run: RunView) -> ImageChoice:
    """What the controls say; an image that the data set has not becomes its last."""
    chosen = st.session_state
    last = len(data.load(run.config.dataset).test_labels) - 1
    return ImageChoice(
        min(chosen["act_image"], last),
        chosen["act_neighbours"],
        chosen["act_batch"],
        chosen["act_draw"],
    )


def batch_of(run: RunView, chosen: ImageChoice) -> tuple[int, ...]:
    """The test images of the batch, the chosen one first."""
    from bnviz.evaluation.batch_context import neighbours_of

    labels = data.load(run.config.dataset).test_labels
    others = neighbours_of(
        labels, chosen.image, kind=chosen.kind, count=chosen.batch_size - 1, seed=chosen.draw
    )
    return (chosen.image, *others.tolist())


@st.cache_data(max_entries=64, show_spinner=False)
def _probe(
    run_id: str, variant: str, step: int, layer: str, batch: tuple[int, ...]
) -> "ImageProbe":
    from bnviz.subjects.activations.checkpoint_probes import probe_image

    run = find_run_view(run_id)
    images = data.load(run.config.dataset).test_images[list(batch)]
    return probe_image(run.source, variant, step, layer, images)


def batch_context(run: RunView, variant: str, batch: tuple[int, ...]) -> None:
    """The image and its neighbours as pictures, with their classes in words."""
    images = data.load(run.config.dataset)
    names = [_(data.CLASSES[images.test_labels[i]]) for i in batch]
    counts = ", ".join(f"{name} × {n}" for name, n in Counter(names[1:]).most_common())
    st.markdown(
        (
            _("Image {image}, **{name}**. In train mode it is normalized together with {n} others: {counts}.")
            if VARIANTS[variant].normalizes
            else _("Image {image}, **{name}**, in a batch with {n} others: {counts}. Without BN they do not matter.")
        )
        .format(image=batch[0], name=names[0], n=len(batch) - 1, counts=counts)
    )  # fmt: skip
    shown = batch[: THUMBNAILS + 1]
    with st.container(horizontal=True, gap="xsmall"):
        for i in shown:
            st.image(png(images.test_images[i]), width=44)
    if len(batch) > len(shown):
        st.caption(_("and {n} more").format(n=len(batch) - len(shown)))


def cards(
    run: RunView,
    variant: str,
    layer: str,
    step: int | None,
    followed: int | None,
    chosen: ImageChoice,
) -> list[Card]:
    """The layer's maps in train mode and in eval mode, on one colour scale.

    Raises RunError while there is no checkpoint, ConfigError where the neighbours do not exist.
    """
    at = nearest_checkpoint(run.source.checkpoints(variant), step)
    probe = _probe(run.id, variant, at, layer, batch_of(run, chosen))
    values = [np.abs(maps).ravel() for mode in probe.maps.values() for maps in mode.values()]
    limit = float(np.quantile(np.concatenate(values), SCALE_HOLDS)) or 1.0
    titles = {
        "train": _("{layer} in train mode, in its batch"),
        "eval": (
            _("{layer} in eval mode, by the running statistics")
            if VARIANTS[variant].normalizes
            else _("{layer} in eval mode")
        ),
    }
    sentences = {
        "train": _says(run, variant, probe, "train", at),
        "eval": _says(run, variant, probe, "eval", at) + " " + _apart(probe),
    }
    return [
        Card(
            key=f"maps_{mode}",
            title=titles[mode].format(layer=layer),
            figure=feature_maps(probe.maps[mode], limit, followed),
            sentence=sentences[mode],
            alt=_("Feature maps of every channel before BN, after it and after the activation"),
            height=460,
            asked=f"{variant} {layer} {at} {followed} {chosen}",
            pickable=True,
        )
        for mode in probe.maps
    ]


def _says(run: RunView, variant: str, probe: "ImageProbe", mode: str, step: int) -> str:
    probabilities = probe.probabilities[mode]
    best = int(probabilities.argmax())
    return _("{label} at step {step:,} predicts {name} ({p:.0%}).").format(
        label=run.labels[variant], step=step, name=_(data.CLASSES[best]), p=probabilities[best]
    )


def _apart(probe: "ImageProbe") -> str:
    """How far the modes are apart after BN, and in which channel most."""
    from bnviz.subjects.activations.channels import difference

    if "scaled" not in probe.maps["eval"]:
        return _("Without BN both modes are the same.")
    apart = difference(probe.maps["train"]["scaled"], probe.maps["eval"]["scaled"])
    return _(
        "After BN the two modes are {all:.2g} standard deviations apart, most in channel "
        "{channel} ({most:.2g})."
    ).format(all=np.sqrt((apart**2).mean()), channel=int(apart.argmax()), most=apart.max())
