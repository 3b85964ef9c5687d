"""The four views of a run as cards: read, draw, say in one sentence what the figure shows."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import streamlit as st

from bnviz.config import RunConfig
from bnviz.figures.curves import loss_and_accuracy
from bnviz.figures.memory import memory_over_steps
from bnviz.figures.running import running_statistics
from bnviz.figures.stages import bin_edges, four_stages
from bnviz.figures.theme import LAYER_LABELS
from bnviz.i18n import _
from bnviz.nn.variants import VARIANTS
from bnviz.train.reading import (
    accuracy_curves,
    density,
    layer_range,
    loss_curve,
    memory_curves,
    process_curve,
    stage_quantiles,
    stage_range,
)
from bnviz.train.running_view import RunningView
from bnviz.train.schema import LAYERS, STAGES, steps_table
from bnviz.ui.live import Card
from bnviz.ui.runs import RunView
from bnviz.ui.state import redraw
from bnviz.ui.words import diverged

MIB = 2**20
HEIGHT = 430


def answered_by(fragment: str) -> Callable[[], None]:
    """A callback for a control that stands in a fragment: the fragment of that key answers to it."""
    return partial(redraw, fragment)


def layer_control(key: str, default: str, changed: Callable[[], None]) -> None:
    """Which BN layer a page shows."""
    st.segmented_control(
        _("BN layer"), list(LAYERS), default=default, required=True, key=key,
        bind="query-params", on_change=changed,
        help=_("From the first convolution to the last hidden layer."),
    )  # fmt: skip


@st.fragment
def controls(run: RunView, *, answers: str) -> None:
    """Layer, channels and the look back; `answers` is the key of the fragment with the figures."""
    changed = answered_by(answers)
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        layer_control("layer", "conv1", changed)
        st.multiselect(
            _("Channels"), range(max(LAYERS.values())), default=[0], key="channels",
            bind="query-params", width=220, max_selections=3, on_change=changed,
            help=_("Whose running statistics are shown, up to three. {layers}.").format(
                layers="; ".join(_(label) for label in LAYER_LABELS.values())
            ),
        )  # fmt: skip
        st.slider(
            _("Look back (100% = newest)"), 0, 100, 100, format="%d %%", key="look_back",
            bind="query-params", width=260, on_change=changed,
            help=_("Where in the recorded steps the activations are taken from."),
        )  # fmt: skip


def four_cards(run: RunView) -> list[Card]:
    """The four views of `run` as the controls have them; three where nothing has statistics."""
    chosen = st.session_state
    layer, share = chosen["layer"], chosen["look_back"]
    channels = sorted({min(c, LAYERS[layer] - 1) for c in chosen["channels"]}) or [0]
    step = None if share == 100 else round(share / 100 * run.total_steps)
    with_bn = any(VARIANTS[v].normalizes for v in run.config.variants)
    return [
        curves_card(run),
        stages_card(run, layer, step),
        *([running_card(run, layer, channels, chosen["momentum"])] if with_bn else []),
        memory_card(run),
    ]


def curves_card(run: RunView) -> Card:
    """Loss and accuracy in both modes."""
    accuracy = accuracy_curves(run.config, run.history)
    losses = {v: loss_curve(run.history, v) for v in run.config.variants}
    parts = []
    for variant, label in run.labels.items():
        rows = accuracy[accuracy["variant"] == variant]
        evaluated, trained = (rows[rows["mode"] == mode].tail(1) for mode in ("eval", "train"))
        if len(evaluated) and len(trained):
            last = evaluated.iloc[0]
            parts.append(
                _("{label}: {eval:.1%} in eval mode, {train:.1%} in train mode").format(
                    label=label, eval=last["accuracy"], train=trained["accuracy"].iloc[0]
                )
            )
    sentence = (
        "; ".join(parts)
        + " "
        + _("on {n:,} test images at step {step:,}.").format(
            n=int(last["images"]), step=int(last["step"])
        )
        if parts
        else _("The first evaluation comes after 20 steps.")
    )
    tests = [e for e in run.history.events if e["kind"] == "note_test"]
    if tests:
        sentence += " " + _("The note prints train_loss {loss:.6f}, acc {accuracy:.6f}.").format(
            **{name: tests[-1][name] for name in ("loss", "accuracy")}
        )
    return Card(
        key="curves",
        title=_("Loss falls, accuracy rises: eval mode ● against train mode ○"),
        figure=loss_and_accuracy(losses, accuracy, run.labels, run.history.events),
        sentence=sentence,
        alt=_("Training loss and test accuracy over the steps, one colour a variant"),
        height=HEIGHT,
    )


def stages_card(
    run: RunView,
    layer: str,
    step: int | None,
    *,
    one_axis: bool = False,
    followed: tuple[str, Mapping[str, np.ndarray]] | None = None,
) -> Card:
    """Activations before and after BN at a probe.

    With `one_axis` the stages up to the layer's output share their bins. `followed` is the name of
    a channel and its quantiles at LEVELS by stage.
    """
    probes = {
        v: found
        for v in run.config.variants
        if (found := stage_quantiles(run.config, run.history, v, layer, step)) is not None
    }
    densities, channel = {}, {}
    for stage in STAGES:
        edges = bin_edges(
            *(
                layer_range(run.config, run.history, layer)
                if one_axis and stage != "activation"
                else stage_range(run.config, run.history, layer, stage)
            )
        )
        densities[stage] = {
            v: (edges, density(stages[stage], edges))
            for v, (_at, stages) in probes.items()
            if stage in stages
        }
        if followed is not None and stage in followed[1]:
            channel[stage] = (edges, density(followed[1][stage], edges))
    return Card(
        key="stages",
        title=(
            _("BN moves every distribution to the same place: {layer}")
            if any(VARIANTS[v].normalizes for v in run.config.variants)
            else _("Without BN every distribution goes where it likes: {layer}")
        ).format(layer=layer),
        figure=four_stages(
            densities, run.labels, (followed[0], channel) if followed is not None else None
        ),
        sentence=_stages_sentence(run, layer, probes),
        alt=_("Histograms of the four stages of a BN layer on shared bins"),
        height=HEIGHT,
        asked=f"{layer} {step} {one_axis} {followed and followed[0]}",
    )


def _stages_sentence(
    run: RunView, layer: str, probes: Mapping[str, tuple[int, Mapping[str, np.ndarray]]]
) -> str:
    """Mean and deviation before and after BN, of the first variant that normalizes."""
    if not probes:
        return _("The first probe comes after {every} steps.").format(every=run.config.stages_every)
    variant = next((v for v, (_at, s) in probes.items() if "normalized" in s), next(iter(probes)))
    at, stages = probes[variant]
    before, after = stages["input"], stages.get("normalized")
    if after is None:
        return _("At step {step:,} the inputs of {layer} have mean {mean:.2f}.").format(
            step=at, layer=layer, mean=before.mean()
        )
    return _(
        "At step {step:,} the inputs of {layer} have mean {mean:.2f} and standard "
        "deviation {std:.2f} over all channels; normalized, {mean_n:.2f} and {std_n:.2f} "
        "({label})."
    ).format(
        step=at,
        layer=layer,
        mean=before.mean(),
        std=before.std(),
        mean_n=after.mean(),
        std_n=after.std(),
        label=run.labels[variant],
    )


def running_card(run: RunView, layer: str, channels: Sequence[int], momentum: float | None) -> Card:
    """Running statistics of some channels: batches, the layer's own line, a replay."""
    series: dict[tuple[str, int], dict[str, np.ndarray]] = {}
    for variant in run.config.variants:
        view = running_view(run, variant, layer, tuple(channels), (momentum,))
        found = view.series(momentum)
        if VARIANTS[variant].normalizes and view.rows:
            series |= {(variant, c): of for c, of in zip(channels, found, strict=True)}
    sentence = _("Batch statistics come with the first ten steps.")
    if series:
        (variant, channel), values = list(series.items())[-1]
        sentence = diverged(values["step"], values["running_mean"] + values["replay_mean"]) or _(
            "{label}, channel {channel}: the last batch means spread by ±{spread:.3f}; the running "
            "mean is {own:.3f}, at momentum {m:g} from the first step it would be {replay:.3f}."
        ).format(
            label=run.labels[variant],
            channel=channel,
            spread=float(np.std(values["recent_mean"])),
            own=values["running_mean"][-1],
            m=momentum,
            replay=values["replay_mean"][-1],
        )
    elif not any(VARIANTS[v].normalizes for v in run.config.variants):
        sentence = _("This run has no BN, so there are no running statistics.")
    return Card(
        key="running",
        title=_("Running statistics follow the batches: {layer}, channel {channels}").format(
            layer=layer, channels=", ".join(map(str, channels))
        ),
        figure=running_statistics(
            series,
            run.labels,
            _("replay at m = {m:g}").format(m=momentum),
            run.history.events,
        ),
        sentence=sentence,
        alt=_("Running mean and variance of channels over the steps with each batch's values"),
        height=HEIGHT,
        asked=f"{layer} {channels} {momentum}",
    )


def running_view(
    run: RunView,
    variant: str,
    layer: str,
    channels: tuple[int, ...],
    momenta: tuple[float | None, ...],
    *,
    unbiased: bool | None = None,
) -> RunningView:
    """The reader's view of some channels, kept between ticks so that each reads what is new."""
    views: dict[tuple, RunningView] = st.session_state.setdefault("running_views", {})
    table = run.history[steps_table(variant)]
    key = (id(table), variant, layer, channels, momenta, unbiased)
    if key not in views:
        if len(views) > 24:
            views.clear()
        views[key] = RunningView(
            run.config, run.history, variant, layer, list(channels), momenta, unbiased=unbiased
        )
    return views[key]


def memory_card(run: RunView) -> Card:
    """What running statistics keep alive, and the process."""
    kept = {v: memory_curves(run.history, v) for v in run.config.variants}
    parts = [
        _("{label} keeps {bytes:,.1f} MiB and {nodes:,} graph nodes alive").format(
            label=run.labels[v],
            bytes=frame["kept_bytes"].iloc[-1] / MIB,
            nodes=int(frame["graph_nodes"].iloc[-1]),
        )
        for v, frame in kept.items()
        if len(frame)
    ]
    return Card(
        key="memory",
        title=_("What the running statistics keep alive"),
        figure=memory_over_steps(
            kept,
            process_curve(run.history),
            run.labels,
            run.history.events,
            run.config.memory_limit_mib,
        ),
        sentence="; ".join(parts) + "." if parts else _("The first count comes after ten steps."),
        alt=_("Tensor bytes kept, graph nodes and process memory over the steps"),
        height=HEIGHT,
    )


def difference_note(config: RunConfig) -> str:
    """Why two right layers part all the same, for runs that show two of them."""
    right = [v for v in config.variants if VARIANTS[v].agrees]
    if len(right) < 2 or config.dtype != "float32":
        return ""
    return _(
        "These layers agree to rounding. Where rounding makes a maximum pooling take another pixel, "
        "the gradient flows elsewhere, and in float32 their curves part: it is no fault of either."
    )
