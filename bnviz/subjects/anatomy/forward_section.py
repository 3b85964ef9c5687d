"""One batch, cell by cell: what the reader sets, and each step of the forward pass."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import ModuleType

import numpy as np
import streamlit as st

from bnviz.app.card_grid import board
from bnviz.app.code_snippets import lines_of
from bnviz.app.sliders import eps_slider, redraw
from bnviz.charts.card import Card
from bnviz.charts.marks import Figure
from bnviz.i18n import _, sentences
from bnviz.nn import batchnorm, fused
from bnviz.subjects.anatomy import batchnorm_steps
from bnviz.subjects.anatomy.batchnorm_steps import Forward
from bnviz.subjects.anatomy.cells_figures import channel_numbers, height_of, number, shared_means
from bnviz.subjects.anatomy.table_editor_section import editable

MOST = 4
VECTOR_PX = 112
SETTINGS = "cells_settings"
SIZES = {"fc": ("anat_n", "anat_c"), "conv": ("anat_n", "anat_c", "anat_h", "anat_w")}
FIRST_SIZE = {"anat_n": 4, "anat_c": 4, "anat_h": 2, "anat_w": 2}
PARAMETERS = {"γ": ("anat_gamma", 1.0), "β": ("anat_beta", 0.0)}
"""Letter to the keys of its sliders, one a channel, and where they begin."""


@dataclass(frozen=True)
class Step:
    """One step of a pass: its formula, its lines of our own code, its numbers."""

    key: str
    title: str
    formula: str
    """Line by line: wider ones would scroll."""
    module: ModuleType
    starts: tuple[str, ...]
    """How its lines begin."""
    figure: Figure
    sentence: str
    alt: str
    height: int


def _show_steps(steps: list[Step], revision: str) -> None:
    """The steps in two columns, line by line."""
    for row in range(0, len(steps), 2):
        for place, step in zip(st.columns(2, gap="medium"), steps[row : row + 2], strict=False):
            with place:
                show_step(step, revision)


def show_step(step: Step, revision: str) -> None:
    """The formula of a step with its code at hand, and its numbers below."""
    snippet = lines_of(step.module, *step.starts)
    card = Card(
        key=step.key, title=step.title, figure=step.figure, sentence=step.sentence,
        alt=step.alt, height=step.height, asked=str(hash(str(step.figure))),
    )  # fmt: skip
    with st.container(gap="xsmall"):
        with st.container(horizontal=True, gap="small", vertical_alignment="center"):
            with st.container(gap=None, width="stretch"):
                for line in step.formula.splitlines():
                    st.latex(line)
            with st.popover(
                _("Code"), type="tertiary", icon=":material/code:", key=f"code_{step.key}",
                help=_("The lines of this project that compute it."),
            ):  # fmt: skip
                st.code(snippet.text, language=None)
                st.caption(snippet.place)
        board([card], key=step.key, revision=revision)


@st.fragment(key=SETTINGS)
def settings_controls(letters: str, *, answers: str) -> None:
    """In the sidebar: the shape of the cells, eps, and those of γ and β that are among `letters`.

    `answers` is the key of the fragment that shows what they do.
    """
    channels = _shape_controls(partial(redraw, [SETTINGS, answers]))
    changed = partial(redraw, answers)
    eps_slider(
        _("Added to each variance before the root. A large one shows what it does."), changed
    )
    words = {
        "γ": _("Scale after normalizing; it is learned, one for each."),
        "β": _("Shift after normalizing; it is learned, one for each."),
    }
    for c in range(channels):
        for place, letter in zip(st.columns(2, gap="small"), letters, strict=False):
            name, first = PARAMETERS[letter]
            place.slider(
                f"{letter} {c}", -3.0, 3.0, first, 0.1, key=f"{name}{c}", format="%.1f",
                bind="query-params", on_change=changed, help=words[letter],
            )  # fmt: skip


def _shape_controls(changed: Callable[[], None]) -> int:
    """Fully connected or convolutional, and how large; returns the number of channels."""
    kinds = {"fc": _("fully connected"), "conv": _("convolutional")}
    kind = st.segmented_control(
        _("Layer before BN"), list(kinds), default="fc", required=True, key="anat_kind",
        bind="query-params", format_func=lambda name: kinds[name], on_change=changed,
        help=_("Its output is batch × features, or batch × channels × height × width."),
    )  # fmt: skip
    words = {
        "anat_n": (_("Batch"), _("Samples that are normalized together.")),
        "anat_c": (
            _("Features") if kind == "fc" else _("Channels"),
            _("Each has a mean, a variance, a γ and a β of its own."),
        ),
        "anat_h": (_("Height"), _("Of the feature map of each channel.")),
        "anat_w": (_("Width"), _("Of the feature map of each channel.")),
    }
    with st.container(horizontal=True, gap="small"):
        for key in SIZES[kind]:
            label, help_text = words[key]
            st.number_input(
                label, 1, MOST, FIRST_SIZE[key], key=key, bind="query-params", width=126,
                on_change=changed, help=help_text,
            )  # fmt: skip
    return st.session_state["anat_c"]


def shape_chosen() -> tuple[int, ...]:
    """(N, C) or (N, C, H, W), as the sidebar says."""
    state = st.session_state
    return tuple(state.get(key, FIRST_SIZE[key]) for key in SIZES[state["anat_kind"]])


def parameters_chosen(channels: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Gamma and beta (channels,), and eps, as the sidebar says."""
    gamma, beta = (
        np.array([st.session_state.get(f"{name}{c}", first) for c in range(channels)])
        for name, first in PARAMETERS.values()
    )
    return gamma, beta, st.session_state["eps"]


def example(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Cells to begin with: ``note`` (1 to 5 over and over, the numbers of its demo), ``random``
    (each channel in a unit of its own), ``constant`` (channel 0 is 3 everywhere), ``outlier``.
    """
    if name == "note":
        return np.resize([1.0, 2, 3, 4, 5], shape)
    along = (-1, *[1] * (len(shape) - 2))
    place = np.resize([0.0, 5, -20, 100], shape[1]).reshape(along)
    spread = np.resize([1.0, 2, 0.5, 20], shape[1]).reshape(along)
    cells = np.random.default_rng(0).normal(place, spread, shape).round(2)
    if name == "constant":
        cells[:, 0] = 3.0
    if name == "outlier":
        cells.flat[0] = 50.0
    return cells


def cells_control(shape: tuple[int, ...]) -> np.ndarray:
    """The table of the cells. Raises ConfigError as `bnviz.subjects.anatomy.table_editor_section.parse`."""
    labels = {
        "random": _("random"),
        "note": _("the note's 1 to 5"),
        "constant": _("constant channel"),
        "outlier": _("one outlier"),
    }
    return editable(
        "anat_x", _("Start from"), shape,
        {name: (label, partial(example, name, shape)) for name, label in labels.items()},
    )  # fmt: skip


def channel_word(cells: np.ndarray) -> str:
    """What has a mean of its own: a feature of (N, C), a channel of (N, C, H, W)."""
    return _("feature") if cells.ndim == 2 else _("channel")


def sharing_card(x: np.ndarray) -> Card:
    """The cells as they are, one colour for each mean."""
    shared = batchnorm_steps.groups(x.shape, "batch")
    return Card(
        key="cells",
        title=_("Cells of one colour share one mean"),
        figure=shared_means(x, shared, "x"),
        sentence=(
            _(
                "{count} means, one for each feature, over its column of the batch ({m}): the note's "
                "[batch, 256] has 256."
            )
            if x.ndim == 2
            else _(
                "{count} means, one for each channel, over {m} cells: batch × height × width. The "
                "note's [batch, 96, 5, 5] has 96, each over batch × 5 × 5."
            )
        ).format(count=x.shape[1], m=x.size // x.shape[1]),
        alt=_("The cells with their numbers, coloured by the mean that they share"),
        height=height_of(x.shape),
        asked=str(x),
    )


def remarks(done: Forward) -> None:
    """What is special about these cells: constant channels."""
    for c in batchnorm_steps.constant_channels(done.x):
        st.info(
            _(
                "All cells of {channel} {c} are equal: its variance is 0 and only eps keeps "
                "the division from being 0/0. Its x̂ is 0 in every cell and y is β = {beta:g}, "
                "whatever the constant was. In the backward pass, 1/√eps = {factor:,.0f} "
                "multiplies the incoming gradient."
            ).format(channel=channel_word(done.x), c=c, beta=done.beta[c], factor=done.rstd[c]),
            icon=":material/info:",
        )


def forward_steps(done: Forward) -> list[Step]:
    """Algorithm 1, one step after the other."""
    return [*_statistics_steps(done), *_cell_steps(done)]


def _statistics_steps(done: Forward) -> list[Step]:
    """Those whose result is one number a channel, and the subtraction between them."""
    m, word = "N" if done.x.ndim == 2 else "N H W", channel_word(done.x)
    least = int(done.var.argmin())
    share = 100 * done.eps / (done.var[least] + done.eps)
    return [
        _vector(
            done, ("mean",), _("Mean of each {channel}").format(channel=word),
            rf"\mu = \frac{{1}}{{m}}\sum_i x_i, \quad m = {m} = {done.count}",
            batchnorm, ("mean = wide.mean(",), (done.mean,),
            _("The means go from {low} to {high}; each is taken over {m} cells.").format(
                low=number(done.mean.min()), high=number(done.mean.max()), m=done.count
            ),
        ),
        _cells(
            done, "centred", _("Subtract the mean"), r"x_i - \mu",
            fused, ("centred = wide - ",), done.centred,
            _(
                "Now the cells of each {channel} sum to 0. The largest distance of a cell from "
                "its mean is {far}."
            ).format(
                channel=word,
                far=number(done.centred.flat[np.abs(done.centred).argmax()])
            ),
        ),
        _vector(
            done, ("var", "rstd"), _("Variance of each {channel}, and one over its root").format(channel=word),
            "\\sigma^2 = \\frac{1}{m}\\sum_i (x_i - \\mu)^2\n\\frac{1}{\\sqrt{\\sigma^2 + \\epsilon}}",
            fused, ("var = _channel_sum(", "rstd = (var + eps)"), (done.var, done.rstd),
            sentences(
                _("Divided by m = {m}, so biased.").format(m=done.count),
                _(
                    "In {channel} {c}, which varies least, eps is {share:.3g}% of σ² + eps, and "
                    "1/√(σ² + ε) is {most}; without eps it would be {bare}."
                ).format(
                    channel=word, c=least, share=share, most=number(done.rstd[least]),
                    bare=number(done.var[least] ** -0.5) if done.var[least] > 0 else "1/0",
                ),
            ),
        ),
    ]  # fmt: skip


def _cell_steps(done: Forward) -> list[Step]:
    """Normalizing, scaling and shifting."""
    over = tuple(axis for axis in range(done.x.ndim) if axis != 1)
    spread, word = done.x_hat.std(over), channel_word(done.x)
    ours = batchnorm_steps.autograd_gradients(done.x, done.gamma, done.beta, done.eps, done.x)
    return [
        _cells(
            done, "x_hat", _("Normalized: every {channel} in the same unit").format(channel=word),
            r"\hat{x}_i = \frac{x_i - \mu}{\sqrt{\sigma^2 + \epsilon}}",
            batchnorm, ("y = (wide - mean) /",), done.x_hat,
            _(
                "Each {channel} has mean 0 and standard deviation 1, less what eps takes: at most "
                "{short:.1g}, in {channel} {c}."
            ).format(channel=word, short=max(1 - spread.min(), 0.0), c=int(spread.argmin())),
        ),
        _cells(
            done, "y", _("Scaled and shifted: the layer's output"),
            r"y_i = \gamma \hat{x}_i + \beta",
            batchnorm, ("y = y * self.weight", "y = y + self.bias"), done.y,
            _(
                "In {channel} 0, y has mean {mean} and standard deviation {std}: β and |γ|. "
                "torch's F.batch_norm gives the same to {off:.1g}."
            ).format(
                channel=word, mean=number(done.y[:, 0].mean()), std=number(done.y[:, 0].std()),
                off=np.abs(ours.y - done.y).max(),
            ),
        ),
    ]  # fmt: skip


def _vector(
    done: Forward, keys: tuple[str, ...], title: str, formula: str, module: ModuleType,
    starts: tuple[str, ...], values: tuple[np.ndarray, ...], sentence: str,
) -> Step:  # fmt: skip
    """A step whose results are one number a channel."""
    rows = {_NAMES[key]: each for key, each in zip(keys, values, strict=True)}
    return Step(
        f"step_{keys[0]}", title, formula, module, starts, channel_numbers(rows, done.x.ndim), sentence,
        _("One number a channel: {title}").format(title=title), VECTOR_PX + 24 * (len(rows) - 1),
    )  # fmt: skip


def _cells(
    done: Forward, key: str, title: str, formula: str, module: ModuleType,
    starts: tuple[str, ...], values: np.ndarray, sentence: str,
) -> Step:  # fmt: skip
    """A step whose result has the shape of the cells."""
    figure = shared_means(values, batchnorm_steps.groups(values.shape, "batch"), _NAMES[key])
    return Step(
        f"step_{key}", title, formula, module, starts, figure, sentence,
        _("Cells with their numbers: {title}").format(title=title), height_of(values.shape),
    )  # fmt: skip


_NAMES = {
    "mean": "μ",
    "centred": "x − μ",
    "var": "σ²",
    "rstd": "1/√(σ² + ε)",
    "x_hat": "x̂",
    "y": "y",
}


def show() -> None:
    """The table of cells, which of them share a mean, and each step of the forward pass.

    Raises ConfigError for a table with a cell that is no number, and where there is no forward pass.
    """
    shape = shape_chosen()
    left, right = st.columns([3, 2], gap="medium")
    with left:
        x = cells_control(shape)
    with right:
        board([sharing_card(x)], key="cells", revision=str(shape))
    done = batchnorm_steps.forward(x, *parameters_chosen(shape[1]))
    remarks(done)
    _show_steps(forward_steps(done), str(shape))
