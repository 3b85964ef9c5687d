"""One batch, cell by cell: what the reader sets, and each step of the forward pass."""

from dataclasses import dataclass
from functools import partial
from types import ModuleType

import numpy as np
import streamlit as st

from bnviz.app.card_grid import board
from bnviz.app.code_snippets import lines_of
from bnviz.app.sliders import eps_slider
from bnviz.charts.card import Card
from bnviz.charts.marks import Figure
from bnviz.i18n import _
from bnviz.nn import batchnorm, fused
from bnviz.subjects.anatomy import batchnorm_steps
from bnviz.subjects.anatomy.batchnorm_steps import Forward
from bnviz.subjects.anatomy.cells_figures import channel_numbers, height_of, number, shared_means
from bnviz.subjects.anatomy.table_editor_section import editable

MOST = 4
VECTOR_PX = 112


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


def show(steps: list[Step], revision: str) -> None:
    """The steps in two columns: of each its formula and code, and its numbers below."""
    for row in range(0, len(steps), 2):
        for place, step in zip(st.columns(2, gap="medium"), steps[row : row + 2], strict=False):
            with place.container(gap=None):
                _show_step(step, revision)


def _show_step(step: Step, revision: str) -> None:
    snippet = lines_of(step.module, *step.starts)
    for line in step.formula.splitlines():
        st.latex(line)
    st.code(snippet.text, language=None, wrap_lines=True)
    st.caption(snippet.place)
    card = Card(
        key=step.key, title=step.title, figure=step.figure, sentence=step.sentence,
        alt=step.alt, height=step.height, asked=str(hash(str(step.figure))),
    )  # fmt: skip
    board([card], key=step.key, revision=revision)


def shape_controls() -> tuple[int, ...]:
    """Fully connected or convolutional, and how large: (N, C) or (N, C, H, W)."""
    kinds = {"fc": _("fully connected"), "conv": _("convolutional")}
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        kind = st.segmented_control(
            _("Layer before BN"), list(kinds), default="fc", required=True, key="anat_kind",
            bind="query-params", format_func=lambda name: kinds[name],
            help=_("Its output is batch × features, or batch × channels × height × width."),
        )  # fmt: skip
        sizes = [
            ("anat_n", _("Batch"), 4, _("Samples that are normalized together.")),
            ("anat_c", _("Features") if kind == "fc" else _("Channels"), 4,
             _("Each has a mean, a variance, a γ and a β of its own.")),
        ]  # fmt: skip
        if kind == "conv":
            sizes += [
                ("anat_h", _("Height"), 2, _("Of the feature map of each channel.")),
                ("anat_w", _("Width"), 2, _("Of the feature map of each channel.")),
            ]
        return tuple(
            st.number_input(
                label, 1, MOST, first, key=key, bind="query-params", width=112, help=help_text
            )
            for key, label, first, help_text in sizes
        )


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


def parameter_controls(channels: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Gamma and beta of each channel, and eps."""
    found: dict[str, list[float]] = {}
    left, right = st.columns([2, 3], gap="medium")
    with left:
        eps_slider(_("Added to each variance before the root. A large one shows what it does."))
    for letter, name, first, help_text in (
        ("γ", "gamma", 1.0, _("Scale after normalizing; it is learned, one for each.")),
        ("β", "beta", 0.0, _("Shift after normalizing; it is learned, one for each.")),
    ):
        with right.container(horizontal=True, gap="small"):
            found[name] = [
                st.slider(
                    f"{letter} {c}", -3.0, 3.0, first, 0.1, key=f"anat_{name}{c}",
                    bind="query-params", width=120, help=help_text, format="%.1f",
                )
                for c in range(channels)
            ]  # fmt: skip
    return np.array(found["gamma"]), np.array(found["beta"]), st.session_state["eps"]


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
            done, "mean", _("Mean of each {channel}").format(channel=word),
            rf"\mu = \frac{{1}}{{m}}\sum_i x_i, \quad m = {m} = {done.count}",
            batchnorm, ("mean = wide.mean(",), done.mean,
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
            done, "var", _("Variance of each {channel}").format(channel=word),
            r"\sigma^2 = \frac{1}{m}\sum_i (x_i - \mu)^2",
            batchnorm, ("var = (wide - mean)",), done.var,
            _("Divided by m = {m}, so biased. eps is {share:.3g}% of σ² + eps in {channel} {c}, which varies least.").format(
                channel=word,
                m=done.count, share=share, c=least
            ),
        ),
        _vector(
            done, "rstd", _("One over the standard deviation"),
            r"\frac{1}{\sqrt{\sigma^2 + \epsilon}}",
            fused, ("rstd = (var + eps)",), done.rstd,
            _("The largest is {most}, in {channel} {c}, which varies least; without eps it would be {bare}.").format(
                channel=word, c=least, most=number(done.rstd[least]),
                bare=number(done.var[least] ** -0.5) if done.var[least] > 0 else "1/0",
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
    done: Forward, key: str, title: str, formula: str, module: ModuleType,
    starts: tuple[str, ...], values: np.ndarray, sentence: str,
) -> Step:  # fmt: skip
    """A step whose result is one number a channel."""
    return Step(
        f"step_{key}", title, formula, module, starts,
        channel_numbers({_NAMES[key]: values}, done.x.ndim), sentence,
        _("One number a channel: {title}").format(title=title), VECTOR_PX,
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


Cells = tuple[np.ndarray, np.ndarray, np.ndarray, float]
"""x, and gamma, beta and eps."""


def cells_section() -> Cells:
    """The table of cells, which of them share a mean, and the sliders of gamma, beta and eps.

    Raises ConfigError for a table with a cell that is no number.
    """
    shape = shape_controls()
    left, right = st.columns([3, 2], gap="medium")
    with left:
        x = cells_control(shape)
    with right:
        board([sharing_card(x)], key="cells", revision=str(shape))
    return x, *parameter_controls(shape[1])


def forward_section(cells: Cells) -> None:
    """Each step of the forward pass. Raises ConfigError where there is none."""
    done = batchnorm_steps.forward(*cells)
    remarks(done)
    show(forward_steps(done), str(done.x.shape))
