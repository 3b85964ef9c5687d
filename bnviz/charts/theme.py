"""Colours, labels and units: one table that every figure and page reads.

A colour in a figure is a name (``var(--builtin)``, ``var(--note/0.25)`` for 25 % opacity); the page
looks it up in PALETTE for the reader's theme, so one figure serves light and dark.
"""

from typing import Any, NamedTuple

from bnviz.i18n import N_, _

# One meaning a colour, on every page: the variants in Okabe and Ito's colour-blind safe set, then what
# is measured without being one variant's. Brighter in the dark.
PALETTE: dict[str, dict[str, str]] = {
    "light": {
        "builtin": "#0072B2",
        "composite": "#D55E00",
        "fused": "#00805D",
        "note": "#B0478A",
        "none": "#6B7280",
        "batch": "#8A94A6",
        "truth": "#1F2937",
        "replay": "#4D7C0F",
        "average": "#6D4AC4",
        "event": "#9A6700",
        "right": "#15803D",
        "wrong": "#B91C1C",
        "train_mode": "#0E7490",
        "eval_mode": "#9F1239",
        "measured": "#5B6B8C",
        "negative": "#8C510A",
        "positive": "#01665E",
        "paper": "#FFFFFF",
        "group0": "#1D6FD1",
        "group1": "#C2570C",
        "group2": "#0B7F6B",
        "group3": "#B02A8F",
        "group4": "#8A6A00",
        "group5": "#6741D9",
        "group6": "#2F7D1F",
        "group7": "#C0263B",
    },
    "dark": {
        "builtin": "#56B4E9",
        "composite": "#FF9A52",
        "fused": "#2FC79A",
        "note": "#E79CC6",
        "none": "#A0A7B4",
        "batch": "#7C8798",
        "truth": "#F3F4F6",
        "replay": "#BEF264",
        "average": "#B39DFF",
        "event": "#E3B341",
        "right": "#86D58F",
        "wrong": "#FF7B72",
        "train_mode": "#67D4E8",
        "eval_mode": "#FF9FB2",
        "measured": "#A9B8D6",
        "negative": "#DFB36B",
        "positive": "#5AB4AC",
        "paper": "#10151C",
        "group0": "#6CB0FF",
        "group1": "#FF9A52",
        "group2": "#2FC7B0",
        "group3": "#F08AD8",
        "group4": "#E3B341",
        "group5": "#B39DFF",
        "group6": "#8FD16F",
        "group7": "#FF8A94",
    },
}
GROUP_COLOURS = 8
"""So many sets of cells that share a mean differ in hue; further ones differ in strength."""
# Never colour alone: each variant has its dash too.
DASH = {
    "builtin": "solid",
    "composite": "dash",
    "fused": "dot",
    "note": "dashdot",
    "none": "longdash",
}


class Quantity(NamedTuple):
    """What an axis shows: its name and unit, and how a hover writes a value."""

    label: str
    unit: str
    format: str

    def axis(self) -> str:
        """Axis title with the unit in brackets."""
        return f"{_(self.label)} ({_(self.unit)})" if self.unit else _(self.label)

    def after(self) -> str:
        """What stands after a value: its unit and the space before it, none before %."""
        if not self.unit:
            return ""
        return _(self.unit) if self.unit.startswith("%") else f" {_(self.unit)}"

    def hovered(self, coordinate: str, number: str = "") -> str:
        """Name and value of the `coordinate` (x, y or z) in a hover template."""
        value = f"%{{{coordinate}:{number or self.format}}}"
        return f"{_(self.label)} {value}{self.after()}"


# What a quirk changes: the unit of each measure, and how a hover writes it.
_EFFECTS = {
    "points": (N_("points"), "+.2f"),
    "loss": (N_("nats"), "+.4f"),
    "kept": ("MiB", "+,.2f"),
    "mean": ("σ", "+.3f"),
    "var": ("%", "+.1f"),
    "time": ("ms", "+.2f"),
}
QUANTITIES: dict[str, Quantity] = {
    "step": Quantity(N_("training step"), "", "d"),
    "loss": Quantity(N_("loss"), N_("nats"), ".3f"),
    "accuracy": Quantity(N_("accuracy"), "%", ".1f"),
    "value": Quantity(N_("value"), "", ".3g"),
    "density": Quantity(N_("share of values"), N_("% a bin"), ".2f"),
    "mean": Quantity(N_("mean"), "", ".3g"),
    "var": Quantity(N_("variance"), "", ".3g"),
    "kept_bytes": Quantity(N_("tensors kept"), "MiB", ",.2f"),
    "graph_nodes": Quantity(N_("graph nodes"), "k", ",.2f"),
    "own": Quantity(N_("process memory"), "MiB", ",.0f"),
    "rss": Quantity(N_("process RSS"), "MiB", ",.0f"),
    "process_gained": Quantity(N_("process gained"), "MiB", ",.0f"),
    "device_reserved": Quantity(N_("device memory reserved"), "MiB", ",.0f"),
    "kept_batch": Quantity(N_("kept by the batch"), "MiB", ",.2f"),
    "chain_batch": Quantity(N_("batch of the chain, latest at the right"), "", "d"),
    "chain_place": Quantity(N_("operations of the layer, in order"), "", ""),
    "chain_layer": Quantity(N_("layer, from the images down"), "", ""),
    "cut": Quantity(N_("fixes tried, in order"), "", ""),
    "device_allocated": Quantity(N_("device memory"), "MiB", ",.0f"),
    "probability": Quantity(N_("probability"), "%", ".1f"),
    "probability_of_truth": Quantity(N_("probability of the true class"), "%", ".1f"),
    "channel": Quantity(N_("channel"), "", "d"),
    "bn_weight": Quantity(N_("weight γ"), "", ".3g"),
    "bn_bias": Quantity(N_("bias β"), "", ".3g"),
    "eps_share": Quantity(N_("share of eps in var + eps"), "%", ".3g"),
    "moved": Quantity(N_("distance to the previous probe"), "", ".3g"),
    "to_last": Quantity(N_("distance to the last probe of the run"), "", ".3g"),
    "batch": Quantity(N_("batch number"), "", "d"),
    "age": Quantity(N_("batches ago"), "", "d"),
    "weight": Quantity(N_("weight in the present value"), "%", ".2f"),
    "momentum": Quantity(N_("momentum m, log scale"), "", ".3g"),
    "weight_layer": Quantity(N_("layer, from the images to the logits"), "", ""),
    "gradient": Quantity(N_("size of a gradient value, log scale"), "", ".2g"),
    "grad_norm": Quantity(N_("gradient norm, log"), "", ".3g"),
    "update_ratio": Quantity(N_("update / weight, log"), "", ".2g"),
    "feature": Quantity(N_("feature"), "", ""),
    "sample": Quantity(N_("sample"), "", ""),
    "cell_column": Quantity(N_("channel c, width w"), "", ""),
    "cell_row": Quantity(N_("sample n, height h"), "", ""),
    "parameter": Quantity(N_("quantity"), "", ""),
    "weight_scale": Quantity(N_("weights and bias times k, log scale"), "", ".3g"),
    "output_change": Quantity(N_("largest change, log"), "σ", ".2g"),
    "gradient_rms": Quantity(N_("root mean square of the gradient, log"), "", ".2g"),
    "momentum_tried": Quantity(N_("momentum m"), "", ".3g"),
    "batch_size": Quantity(N_("batch size"), "", "d"),
    "images": Quantity(N_("images, log scale"), "", ",d"),
    "apart": Quantity(N_("difference of both modes"), "σ", ".3f"),
    "mean_shift": Quantity(N_("running mean less batch mean"), "σ", ".2f"),
    "var_ratio": Quantity(N_("running variance / batch variance, log"), "", ".2f"),
    "logit": Quantity(N_("logit"), "", ".2f"),
    "random_batches": Quantity(N_("random batches"), "", "d"),
    "change": Quantity(N_("change of the images"), "", ""),
    "strength": Quantity(N_("strength of the change"), "", ".2f"),
    "share_images": Quantity(N_("share of test images"), "%", ".1f"),
    "noise": Quantity(N_("standard deviation of the estimator"), "σ", ".3f"),
    "mean_error": Quantity(N_("error of mean"), "σ", ".3f"),
    "case_dtype": Quantity(N_("dtype, one mark a case"), "", ""),
    "of_tolerance": Quantity(N_("largest difference / tolerance, log"), "", ".2g"),
    "var_error": Quantity(N_("error of variance"), "%", ".1f"),
    "bn_kind": Quantity(N_("norm layer"), "", ""),
    "saved_bytes": Quantity(N_("kept for the backward pass"), "MiB", ",.3g"),
    "taken_bytes": Quantity(N_("memory above the step's start"), "MiB", ",.3g"),
    "step_part": Quantity(N_("one training step, allocations in their order"), "", ".2f"),
    "growth": Quantity(N_("growth, log scale"), N_("KiB a step"), ",.3g"),
    "batch_size_log": Quantity(N_("batch size, log scale"), "", ",d"),
    "way": Quantity(N_("how the test is run"), "", ""),
    "estimator": Quantity(N_("running statistics"), "", ""),
    "test_batch": Quantity(N_("test batch size, log scale"), "", "d"),
    "quirk": Quantity(N_("quirk that is on"), "", ""),
    **{
        f"effect_{of}": Quantity(N_("change against no quirk"), unit, number)
        for of, (unit, number) in _EFFECTS.items()
    },
    "apart_relative": Quantity(N_("largest relative difference, log"), "", ".2g"),
    "epoch": Quantity(N_("epoch"), "", "d"),
    "printed_loss": Quantity(N_("loss as printed, CE / batch size"), N_("nats"), ".4f"),
}
STAGE_LABELS = {
    "input": N_("before BN: the layer's input"),
    "normalized": N_("normalized: x̂"),
    "scaled": N_("after BN: scaled and shifted"),
    "activation": N_("after the activation"),
}
SIDE_LABELS = {
    "output": N_("incoming gradient ∂L/∂y"),
    "input": N_("propagated gradient ∂L/∂x"),
}
LAYER_LABELS = {
    "conv1": N_("conv1, 6 channels"),
    "conv2": N_("conv2, 16 channels"),
    "fc1": N_("fc1, 120 features"),
    "fc2": N_("fc2, 84 features"),
}


def colour(name: str, opacity: float | None = None) -> str:
    """The name of a colour of PALETTE for plotly, with an opacity from 0 to 1 if given."""
    return f"var(--{name})" if opacity is None else f"var(--{name}/{opacity:g})"


def stroke(
    shade: str, dash: str | None = None, width: float = 2, opacity: float | None = None
) -> dict[str, Any]:
    """How plotly draws a line, in a colour of PALETTE; solid without a `dash`."""
    looks = {"color": colour(shade, opacity), "width": width}
    return looks if dash is None else {**looks, "dash": dash}


def own_stroke(variant: str, width: float = 2) -> dict[str, Any]:
    """The line of a variant, in its own colour and dash."""
    return stroke(variant, DASH[variant], width)


def axis(quantity: str, **extra: Any) -> dict[str, Any]:
    """A plotly axis for one of QUANTITIES."""
    return {"title": {"text": QUANTITIES[quantity].axis()}, **extra}


def from_zero(quantity: str, **extra: Any) -> dict[str, Any]:
    """The same with 0 in its range."""
    return axis(quantity, rangemode="tozero", **extra)


def hover(x: str, y: str) -> str:
    """A hover template that names both quantities with their units."""
    qx = QUANTITIES[x]
    x_value = f"%{{x:{qx.format}}}" if qx.format else "%{x}"  # a name has no format
    return f"{_(qx.label)} {x_value}<br>{QUANTITIES[y].hovered('y')}"
