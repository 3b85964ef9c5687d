"""The controls of the selection that all pages share, in the sidebar: only those that a view uses."""

from collections.abc import Callable, Mapping, Sequence

import streamlit as st

from bnviz.app.address import put_in_address
from bnviz.app.playback import STEP, chosen_step, step_control
from bnviz.app.runs import RUN_KEY
from bnviz.app.sliders import eps_slider, momentum_slider
from bnviz.charts.theme import LAYER_LABELS
from bnviz.i18n import _, listed
from bnviz.records.schema import LAYERS
from bnviz.selection import MOST_CHANNELS, Selection
from bnviz.training.run_view import RunView

KEPT = (RUN_KEY, "variant", "layer", "channels", STEP, "momentum", "eps")
"""Keys of controls whose values outlive a page that does not show them."""


def keep_selection() -> None:
    """At the start of a page or of its sliders: what was chosen on another page stays chosen.

    Streamlit 1.67 forgets the value of a widget that the page before had, before this page begins.
    """
    kept = st.session_state.setdefault("kept_selection", {})
    for key in KEPT:
        if key in st.session_state:
            kept[key] = st.session_state[key]
        elif key in kept:
            st.session_state[key] = kept[key]


def choice_control(
    label: str,
    names: Mapping[str, str],
    key: str,
    *,
    default: str | None = None,
    help: str,
    on_change: Callable[[], None] | None = None,
) -> str:
    """One of `names` (id to words), in the address by its id, which no language changes."""
    value = st.session_state.get(key)
    if value not in names:
        linked = st.query_params.get(key)
        value = linked if linked in names else default or next(iter(names))
        if linked is not None and linked not in names:
            said = _("From the link, not taken: {name}: got {value!r}; allowed: {allowed}.")
            st.warning(said.format(name=key, value=linked, allowed=", ".join(names)))
    st.session_state[key] = value  # written, so that it outlives a change of the page
    chosen = str(
        st.segmented_control(
            label,
            list(names),
            required=True,
            key=key,
            format_func=lambda name: names[name],
            help=help,
            on_change=on_change,
        )
    )
    put_in_address(key, [chosen])
    return chosen


def choices_control(
    label: str, names: Mapping[str, str], key: str, *, default: Sequence[str], help: str
) -> None:
    """Some of `names` (id to words) under `key`, in the address by their ids; none if `default`.

    A link with an id that is not among `names` is not taken.
    """
    if st.session_state.get(key) is None:
        linked = [each for part in st.query_params.get_all(key) for each in part.split(",")]
        known = linked and set(linked) <= set(names)
        st.session_state[key] = linked if known else list(default)
    chosen = st.multiselect(
        label,
        list(names),
        key=key,
        persist_state="session",
        format_func=lambda name: names[name],
        help=help,
    )
    put_in_address(key, [] if chosen == list(default) else chosen)


def selection_controls(run: RunView, needs: Sequence[str], *, with_bn: bool = False) -> None:
    """Variant, layer and channels in the sidebar, each if it is among the fields `needs`."""
    with st.sidebar:
        if "variant" in needs:
            known = run.with_statistics if with_bn else run.config.variants
            choice_control(
                _("Variant"), {v: run.labels[v] for v in known}, "variant",
                default=known[-1] if with_bn else run.default_variant,
                help=_("Whose weights and statistics the figures of one variant show."),
            )  # fmt: skip
        if "layer" in needs:
            choice_control(
                _("BN layer"), {layer: layer for layer in LAYERS}, "layer", default="conv2",
                help=_("From the first convolution to the last hidden layer."),
            )  # fmt: skip
        if "channels" in needs:
            st.multiselect(
                _("Channels"), range(max(LAYERS.values())), key="channels", bind="query-params",
                max_selections=MOST_CHANNELS, placeholder=_("the first"),
                help=_(
                    "Up to {most}, counted from 0; a layer with fewer channels shows its last. "
                    "Sentences speak of the first. {layers}."
                ).format(
                    most=MOST_CHANNELS, layers=listed(_(label) for label in LAYER_LABELS.values())
                ),
            )  # fmt: skip


@st.fragment
def slider_controls(
    run: RunView, needs: Sequence[str], *, on_change: Callable[[], None] = lambda: None
) -> None:
    """Step, momentum and eps, each if it is among the fields `needs`.

    Figures answer to these sliders by themselves (`card_grid.SLIDERS`), so nothing but the sliders
    runs again. `on_change` is called once for each change of momentum or eps.
    """
    keep_selection()
    if "step" in needs:
        step_control(run)
    if "momentum" in needs:
        momentum_slider(
            _(
                "PyTorch's convention: running = (1 − m)·running + m·batch. Figures replay the "
                "recorded batches with this value; while a run trains on the page Train, its layers "
                "take it from the next step."
            ),
            on_change,
        )
    if "eps" in needs:
        eps_slider(
            _(
                "Keeps the division by the standard deviation safe. While a run trains on the page "
                "Train, its layers take it from the next step."
            ),
            on_change,
        )


def selection(run: RunView) -> Selection:
    """What the controls say, those that are not on the page at their defaults."""
    state = st.session_state
    fields = {
        name: state[name]
        for name in ("variant", "layer", "channels", "momentum", "eps")
        if state.get(name) is not None
    }
    return Selection.parse(run=run.id, step=chosen_step(), **fields)
