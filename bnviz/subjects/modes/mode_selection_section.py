"""The two sides that Train vs eval compares: what the reader chose, and each side computed once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import streamlit as st

from bnviz import data
from bnviz.app.address import put_in_address
from bnviz.app.controls import choice_control
from bnviz.app.sliders import redraw
from bnviz.config import EARLY_EVALUATIONS
from bnviz.errors import RunError
from bnviz.i18n import N_, _
from bnviz.nn.variants import VARIANTS
from bnviz.records.recorded_statistics import replayed_statistics
from bnviz.records.schema import LAYERS
from bnviz.training.process import find_run_view
from bnviz.training.run_view import RunView

if TYPE_CHECKING:
    from bnviz.subjects.modes.recalibration import Recalibration, StoredRecalibration

BATCH_SIZES = (2, 4, 8, 16, 32, 64, 128, 256, 500)
IMAGES = (1000, 10_000)
REPLAYED, OWN, RECALIBRATED = "replayed", "own", "recalibrated"
SOURCES = {
    OWN: N_("the layers' own"),
    REPLAYED: N_("replayed at m and eps"),
    RECALIBRATED: N_("recalibrated"),
}


@dataclass(frozen=True)
class Sides:
    """Both sides of one checkpoint, as the reader has them."""

    run: str
    dataset: str
    variant: str
    step: int
    images: int
    """How many of the first test images."""
    batch_size: int
    neighbours: str
    source: str
    """Where the statistics of the eval side come from, one of SOURCES."""
    token: str
    """Of the recalibrated ones, or of the kept checkpoint."""
    momentum: float
    eps: float
    by_batch: tuple[str, ...]
    """Layers that normalize by the batch on the eval side too."""

    def train_only(self) -> "Sides":
        """With the eval side's choices set aside: what the train side depends on."""
        return replace(self, source=OWN, token="", momentum=0.0, eps=0.0, by_batch=())

    def eval_only(self) -> "Sides":
        """With the train side's choices set aside, where no layer of the eval side needs them."""
        momentum = self.momentum if self.source == REPLAYED else 0.0
        if self.by_batch:
            return replace(self, momentum=momentum)
        return replace(self, momentum=momentum, batch_size=0, neighbours="")


CONTROLS = "sides"
EVERY = ("variant", "checkpoint", "batch", "order", "images", "source", "layers")
"""The controls, by the names that `controls` takes."""
HIDDEN = {
    "mode_batch": BATCH_SIZES[0],
    "neighbours": "shuffled",
    "mode_images": IMAGES[0],
    "eval_source": OWN,
    "by_batch": (),
    "momentum": 0.0,
    "eps": 0.0,
}
"""What stands for a control in a view on which it does not act."""


@st.fragment(key=CONTROLS)
def controls(run: RunView, acting: Sequence[str], *, answers: str) -> None:
    """Those of EVERY that are among `acting`, for the sidebar.

    `answers` is the key of the fragment that shows what they do.
    """
    changed = partial(redraw, answers)
    show = {
        "variant": partial(_variant_control, run, partial(redraw, [CONTROLS, answers])),
        "checkpoint": partial(_checkpoint_control, run, changed),
        "batch": partial(_batch_control, run, changed),
        "order": partial(_order_control, changed),
        "images": partial(_images_control, changed),
        "source": partial(_source_control, run, changed),
        "layers": partial(_layer_switches, changed),
    }
    for name in acting:
        show[name]()


def _variant_control(run: RunView, changed: Callable[[], None]) -> None:
    choice_control(
        _("Variant"), {v: run.labels[v] for v in run.config.variants}, "variant",
        default=run.default_variant, on_change=changed,
        help=_("Whose weights and running statistics are used."),
    )  # fmt: skip


def _batch_control(run: RunView, changed: Callable[[], None]) -> None:
    st.select_slider(
        _("Batch size in train mode"), BATCH_SIZES, value=_own_batch_size(run),
        key="mode_batch", bind="query-params", on_change=changed,
        help=_(
            "How many images are normalized together; initially the run's batch size. A "
            "single image is not possible: a fully connected layer would have one value "
            'per channel, whose variance is 0, and torch says "Expected more than 1 value '
            'per channel when training".'

        ),
    )  # fmt: skip


def _order_control(changed: Callable[[], None]) -> None:
    names = {
        "shuffled": _("random"),
        "as they come": _("file order"),
        "same class": _("same class"),
    }
    choice_control(
        _("Order of the images"), names, "neighbours", on_change=changed,
        help=_("Which test images share a batch in train mode."),
    )  # fmt: skip


def _images_control(changed: Callable[[], None]) -> None:
    st.segmented_control(
        _("Test images"), IMAGES, default=IMAGES[0], required=True, key="mode_images",
        bind="query-params", format_func=lambda n: f"{n:,}", on_change=changed,
        help=_("The first ones of the test set; all of them answer more slowly."),
    )  # fmt: skip


def _own_batch_size(run: RunView) -> int:
    """The size nearest to the run's; another run brings its own, unless the reader chose one."""
    own = min(BATCH_SIZES, key=lambda size: abs(size - run.config.batch_size))
    state = st.session_state
    if own != state.get("own_batch_size") == state.get("mode_batch"):
        state.pop("mode_batch", None)
    state["own_batch_size"] = own
    return own


def _checkpoint_control(run: RunView, changed: Callable[[], None]) -> None:
    """The steps with weights, and the checkpoints kept of recalibrated ones."""
    variant = st.session_state["variant"]
    kept_ones = {each.name: each for each in kept_of(run, variant)}
    options: list[Any] = [0, *run.source.checkpoints(variant), *kept_ones]
    if st.session_state.get("checkpoint") not in options:
        gone = st.session_state.pop("checkpoint", None)
        if gone is not None:
            st.toast(
                _("The checkpoint {name} is not there; showing the latest.").format(name=gone),
                icon=":material/info:",
            )

    def words(option: Any) -> str:
        """What the list calls a checkpoint."""
        if option == 0:
            return _("latest")  # in a link it stays so while a run goes on
        if option in kept_ones:
            each = kept_ones[option]
            return _("step {step}, {name}").format(step=each.step, name=each.name.split(".")[-1])
        return _("step {step}").format(step=option)

    linked = _linked("checkpoint")
    if linked is not None and linked not in map(words, options):
        st.toast(
            _("There is no checkpoint {name!r} here; showing the latest.").format(name=linked),
            icon=":material/info:",
        )
    st.selectbox(
        _("Checkpoint"), options, key="checkpoint", bind="query-params",
        format_func=words, on_change=changed,
        help=_(
            "The training step whose weights are used, or a stored recalibrated checkpoint."
        ),
    )  # fmt: skip


def _source_control(run: RunView, changed: Callable[[], None]) -> None:
    """Whose statistics the eval side uses."""
    if st.session_state.pop("recalibrated_source", False):
        st.session_state["eval_source"] = RECALIBRATED
    if recalibration_of(run) is None and st.session_state.get("eval_source") == RECALIBRATED:
        st.session_state.pop("eval_source")
    if recalibration_of(run) is None and st.query_params.get("eval_source") == RECALIBRATED:
        put_in_address("eval_source", [])
        if run.id not in _all_recalibrations():
            st.toast(
                _(
                    "The link asks for recalibrated statistics, which are lost with the page "
                    "unless they are kept as a checkpoint (view Recalibrate). Recalibrate again; "
                    "until then eval mode uses the layers' own."
                ),
                icon=":material/info:",
            )
    known = [s for s in SOURCES if s != RECALIBRATED or recalibration_of(run) is not None]
    choice_control(
        _("Running statistics in eval mode"), {s: _(SOURCES[s]) for s in known}, "eval_source",
        default=OWN, on_change=changed,
        help=_(
            "The layers' own are those that the run kept, with its eps. Replayed ones are rebuilt from "
            "the recorded batches and follow the sliders of momentum and eps. The note's layer has "
            "others of its own, because its test passes moved them too."
        ),
    )  # fmt: skip


def _layer_switches(changed: Callable[[], None]) -> None:
    st.pills(
        _("Layers that use the batch in eval mode"), list(LAYERS),
        selection_mode="multi", key="by_batch", bind="query-params", on_change=changed,
        help=_(
            "A switch for each BN layer: with it on, that layer normalizes by the batch as "
            "in train mode, and the others by running statistics. The layer that causes "
            "the gap is the one whose switch closes it."
        ),
    )  # fmt: skip


def sliders_act() -> bool:
    """Whether eval mode follows the sliders of momentum and eps."""
    return _value("eval_source") == REPLAYED


def _value(key: str) -> Any:
    """What a control says, or what stands for it where it is not shown."""
    return st.session_state.get(key, HIDDEN[key])


def chosen(run: RunView) -> Sides:
    """What the controls say. Raises RunError before the first checkpoint."""
    state = st.session_state
    variant = state["variant"]
    steps = run.source.checkpoints(variant)
    if not steps:
        raise RunError(
            _("No weights of {variant} are stored yet; the first come after {first} steps.").format(
                first=EARLY_EVALUATIONS[0], variant=variant
            )
        )
    checkpoint = state["checkpoint"] or steps[-1]
    source, token = _value("eval_source"), ""
    recalibration = recalibration_of(run)
    if isinstance(checkpoint, str):
        source, token = RECALIBRATED, checkpoint
        checkpoint = int(checkpoint.split("-")[0])
    elif source == RECALIBRATED and recalibration is not None:
        if (recalibration.variant, recalibration.step) == (variant, checkpoint):
            token = _token(recalibration)
        else:
            source = OWN
    source = source if VARIANTS[variant].normalizes else OWN
    eps = _value("eps") if source == REPLAYED else run.settings_at(checkpoint)["eps"]
    return Sides(
        run.id, run.config.dataset, variant, checkpoint, _value("mode_images"), _value("mode_batch"),
        _value("neighbours"), source, token, _value("momentum"), eps or 0.0,
        tuple(_value("by_batch")) if VARIANTS[variant].normalizes else (),
    )  # fmt: skip


# ---- recalibrated statistics ---------------------------------------------------------------------------


def recalibration_of(run: RunView) -> "Recalibration | None":
    """What this visitor has recalibrated of the run and not undone."""
    return _all_recalibrations().get(run.id)


def _all_recalibrations() -> "dict[str, Recalibration | None]":
    """By run what this visitor has recalibrated; None where it was undone."""
    return st.session_state.setdefault("recalibrated_statistics", {})


def _token(recalibration: "Recalibration") -> str:
    """What tells one recalibration from another."""
    return f"{recalibration.method} {recalibration.details} {recalibration.seconds}"


def aside(run: RunView, sides: Sides) -> str:
    """That recalibrated statistics are chosen but belong to another checkpoint; empty where they do not."""
    recalibration = recalibration_of(run)
    asked_for = _value("eval_source") == RECALIBRATED
    if recalibration is None or not asked_for or sides.source == RECALIBRATED:
        return ""
    return _(
        "The recalibrated statistics are those of {label} at step {step:,}; here eval mode "
        "uses the layers' own."
    ).format(label=run.labels[recalibration.variant], step=recalibration.step)


def _linked(name: str) -> str | None:
    """What the link says of a control, in the first run of a visit."""
    if f"linked_{name}" in st.session_state:
        return None
    st.session_state[f"linked_{name}"] = True
    return st.query_params.get(name)


def set_recalibration(run: RunView, recalibration: "Recalibration | None") -> None:
    """Use those statistics on the eval side, or none any more."""
    _all_recalibrations()[run.id] = recalibration


def kept_of(run: RunView, variant: str) -> "list[StoredRecalibration]":
    """The recalibrated checkpoints in the run's folder."""
    folder = run.source.folder
    if folder is None or not any((folder / "checkpoints").glob(f"*-{variant}.*-*")):
        return []
    from bnviz.subjects.modes.recalibration import kept

    return kept(folder, variant)


def _recalibrated_statistics(sides: Sides) -> Any:
    """The statistics that the token of `sides` stands for. Raises RunError when they are gone."""
    from bnviz.subjects.modes.recalibration import kept_statistics

    run = find_run_view(sides.run)
    for each in kept_of(run, sides.variant):
        if each.name == sides.token and run.source.folder is not None:
            return kept_statistics(run.source, run.source.folder, each)
    recalibration = recalibration_of(run)
    if recalibration is None or _token(recalibration) != sides.token:
        raise RunError(
            _("The checkpoint {name} is gone. Choose another one.").format(name=sides.token)
        )
    return recalibration.statistics


# ---- computed once -------------------------------------------------------------------------------


@st.cache_resource(max_entries=4)
def test_images(dataset: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first images (count, 28, 28) and labels of the test set."""
    loaded = data.load(dataset)
    return loaded.test_images[:count], loaded.test_labels[:count]


def eval_options(sides: Sides) -> dict[str, Any]:
    """What `bnviz.evaluation.modes` is to be told of the eval side."""
    statistics = None
    if sides.source == REPLAYED:
        statistics = _replayed(sides.run, sides.variant, sides.momentum, sides.step)
    elif sides.source == RECALIBRATED:
        statistics = _recalibrated_statistics(sides)
    return {
        "statistics": statistics,
        "eps": sides.eps,
        "layer_modes": dict.fromkeys(sides.by_batch, "batch"),
    }


@st.cache_resource(max_entries=32, show_spinner=False)
def _replayed(run_id: str, variant: str, momentum: float, step: int) -> Any:
    """Statistics at a momentum: another eps need not replay the run again."""
    run = find_run_view(run_id)
    return replayed_statistics(run.config, run.history, variant, momentum, step)


def model_of(sides: Sides) -> Any:
    """A model of its own with the weights of the checkpoint, to be run in this thread.

    Raises RunError when the checkpoint is gone.
    """
    from bnviz.training.checkpoints import model_at
    from bnviz.training.steps import leave_one_core_free

    leave_one_core_free()
    return model_at(find_run_view(sides.run).source, sides.variant, sides.step)


def order_of(sides: Sides) -> np.ndarray:
    """The order in which the images stand in their batches."""
    from bnviz.evaluation.batch_context import context_order

    _images, labels = test_images(sides.dataset, sides.images)
    return context_order(labels, sides.neighbours or "as they come")


@st.cache_data(max_entries=64, show_spinner=False)
def _train(sides: Sides) -> np.ndarray:
    import torch

    from bnviz.evaluation.modes import train_side

    images, _labels = test_images(sides.dataset, sides.images)
    return train_side(
        model_of(sides), torch.tensor(images), batch_size=sides.batch_size, order=order_of(sides)
    )


@st.cache_data(max_entries=128, show_spinner=False)
def _eval(sides: Sides) -> np.ndarray:
    import torch

    from bnviz.evaluation.modes import eval_side

    images, _labels = test_images(sides.dataset, sides.images)
    return eval_side(
        model_of(sides), torch.tensor(images), batch_size=max(sides.batch_size, 2),
        order=order_of(sides), **eval_options(sides),
    )  # fmt: skip


def frame_of(sides: Sides) -> pd.DataFrame:
    """Both sides, a row an image (`bnviz.evaluation.modes.paired`), from the cache where it can be.

    Raises RunError for a checkpoint that is gone.
    """
    from bnviz.evaluation.modes import paired

    _images, labels = test_images(sides.dataset, sides.images)
    return paired(_train(sides.train_only()), _eval(sides.eval_only()), labels)


def eval_words(sides: Sides) -> str:
    """The eval side in a few words, for legends and metrics."""
    words = {
        REPLAYED: _("m {m:g}").format(m=sides.momentum),
        OWN: _("own statistics"),
        RECALIBRATED: _("recalibrated statistics"),
    }[sides.source]
    parts = [words, _("eps {eps:g}").format(eps=sides.eps)]
    if sides.by_batch:
        parts.append(_("{layers} by the batch").format(layers=", ".join(sides.by_batch)))
    return ", ".join(parts)
