"""What a normalization layer does, found out by running it; no source code is read.

Each property is one small experiment in float64 that ends in a word: ``biased``, ``inside``,
``new``. What an experiment cannot tell apart, or what makes the layer fail, is ``unknown``; what a
layer does not have is ``none``. The formulas are those of Ioffe & Szegedy 2015, Algorithm 1
(https://arxiv.org/abs/1502.03167), the conventions those of torch.nn.BatchNorm2d
(https://docs.pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html).
"""

from collections.abc import Callable, Mapping
from typing import Any

from bnviz.i18n import N_, _
from bnviz.subjects.parity import fingerprint_probes as tried
from bnviz.subjects.parity.fingerprint_probes import NONE, UNKNOWN, Bench
from bnviz.subjects.parity.layer_adapter import Subject, affine_of, statistics_of, undisturbed

Experiment = Callable[[Bench, Mapping[str, str]], str]
PROPERTIES: dict[str, tuple[str, Experiment]] = {
    "axes": (N_("statistics are taken over"), tried.find_axes),
    "normalizes_by": (N_("variance that normalizes"), tried.find_normalizes_by),
    "eps_place": (N_("place of eps"), tried.find_eps_place),
    "eps": (N_("eps by default"), tried.find_eps),
    "gradient": (N_("gradient flows through"), tried.find_gradient),
    "far": (N_("variance at a mean of a million"), tried.find_far),
    "affine": (N_("scale and shift"), tried.find_affine),
    "scale_start": (N_("scale starts at"), tried.start_of(0, affine_of)),
    "shift_start": (N_("shift starts at"), tried.start_of(1, affine_of)),
    "statistics": (N_("running statistics are"), tried.find_statistics),
    "mean_start": (N_("running mean starts at"), tried.start_of(0, statistics_of)),
    "var_start": (N_("running variance starts at"), tried.start_of(1, statistics_of)),
    "variance_kept": (N_("variance that is averaged in"), tried.find_variance_kept),
    "momentum": (N_("momentum is the weight of"), tried.find_momentum),
    "new_weight": (N_("weight of a new batch by default"), tried.find_new_weight),
    "plain_average": (N_("momentum=None"), tried.find_plain_average),
    "eval_uses": (N_("eval mode normalizes by"), tried.find_eval_uses),
    "moves_in_eval": (N_("eval mode moves the statistics"), tried.find_moves_in_eval),
    "graph": (N_("graph of the batch, in the statistics"), tried.find_graph),
    "single_value": (N_("one value per channel in train mode"), tried.find_single_value),
    "counts": (N_("counts its batches"), tried.find_counts),
    "names": (N_("state_dict"), tried.find_names),
    "half": (N_("statistics of bfloat16 inputs are"), tried.find_half),
    "half_output": (N_("output of bfloat16 with float32 weights"), tried.find_half_output),
}
"""By name: what it is called on screen, and the experiment that finds it."""

WORDS = {
    ("axes", NONE): N_("nothing: each value by itself"),
    ("normalizes_by", "biased"): N_("biased: divided by n"),
    ("normalizes_by", "unbiased"): N_("unbiased: divided by n − 1"),
    ("variance_kept", "biased"): N_("biased: divided by n"),
    ("variance_kept", "unbiased"): N_("unbiased: divided by n − 1"),
    ("variance_kept", "deviation"): N_("its root, the standard deviation"),
    ("eps_place", "inside"): N_("inside the root: √(var + eps)"),
    ("eps_place", "outside"): N_("outside the root: √var + eps"),
    ("eps_place", NONE): N_("nowhere"),
    ("gradient", "all"): N_("mean and variance"),
    ("gradient", "no_mean"): N_("the variance alone"),
    ("gradient", "no_var"): N_("the mean alone"),
    ("gradient", "no_statistics"): N_("neither mean nor variance"),
    ("far", "holds"): N_("holds its digits"),
    ("far", "cancels"): N_("loses its digits"),
    ("affine", "scale_then_shift"): N_("γ · x̂ + β"),
    ("affine", "shift_then_scale"): N_("γ · (x̂ + β)"),
    ("affine", "only_scale"): N_("γ · x̂"),
    ("affine", "only_shift"): N_("x̂ + β"),
    ("statistics", "buffers"): N_("buffers"),
    ("statistics", "attributes"): N_("plain attributes"),
    ("statistics", "parameters"): N_("parameters"),
    ("momentum", "new"): N_("the new batch"),
    ("momentum", "old"): N_("the old value"),
    ("plain_average", "average"): N_("plain mean of all batches"),
    ("plain_average", "refused"): N_("not taken"),
    ("plain_average", "other"): N_("no plain mean"),
    ("eval_uses", "running"): N_("the running statistics"),
    ("eval_uses", "batch"): N_("statistics of its input"),
    ("eval_uses", NONE): N_("nothing"),
    ("graph", "kept"): N_("kept"),
    ("graph", "cut"): N_("cut off"),
    ("single_value", "taken"): N_("taken"),
    ("moves_in_eval", "yes"): N_("yes"),
    ("moves_in_eval", "no"): N_("no"),
    ("counts", "yes"): N_("yes"),
    ("counts", "no"): N_("no"),
}
"""What a word of a property means; axes, numbers, names and dtypes are shown as they are."""


def in_words(name: str, value: str) -> str:
    """A property's value as a person reads it."""
    if (name, value) in WORDS:
        return _(WORDS[name, value])
    if value == NONE:
        return _("none")
    if value == UNKNOWN:
        return _("could not be told")
    return value.replace(",", ", ") if name == "axes" else value


def fingerprint(cls: Any, dims: int | None = None) -> dict[str, str]:
    """What `cls` does: a word for each key of PROPERTIES.

    `dims` 2 looks at (N, C), 3 at (N, C, L), 4 at (N, C, H, W); the largest that it takes if None.
    The random state of torch stays as it is. Raises ConfigError if it takes no such input.
    """
    subject = cls if isinstance(cls, Subject) else Subject(cls)
    subject.refuse_if_unfit()
    bench = Bench(subject, subject.dims[-1] if dims is None else dims)
    found: dict[str, str] = {}
    with undisturbed():
        for name, (_label, experiment) in PROPERTIES.items():
            try:
                found[name] = experiment(bench, found)
            except Exception:  # a reader's layer may raise anything
                found[name] = UNKNOWN
    return found
