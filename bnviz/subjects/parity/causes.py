"""Why a layer differs from its reference: each difference in behaviour named by its cause."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bnviz.i18n import N_, _, listed, sentences
from bnviz.subjects.parity.fingerprint import PROPERTIES, fingerprint, in_words
from bnviz.subjects.parity.fingerprint_probes import AXES, NONE, UNKNOWN
from bnviz.subjects.parity.layer_adapter import TORCH, Subject, common_dims
from bnviz.subjects.parity.parity import report, torch_subject

NUMBERS = frozenset({"output", "gradient", "buffers"})
ALL = NUMBERS | {"refusal", "checkpoint", "dtype", "copy"}
STATE = NUMBERS | {"checkpoint"}
STATE_AND_DTYPE = STATE | {"dtype"}
GRADIENT, REFUSAL = frozenset({"gradient"}), frozenset({"refusal"})
FORWARD = frozenset({"output", "gradient"})
UNEXPLAINED = "unexplained"


@dataclass(frozen=True)
class Cause:
    """A difference in behaviour: a stable code, and one sentence."""

    code: str
    sentence: str


@dataclass(frozen=True)
class _KnownCause:
    """A property that differs, in a certain way if `value` is given, is a cause of that code."""

    property: str
    value: str | None
    code: str
    explains: frozenset[str]
    """Of `bnviz.subjects.parity.comparison.PARTS`: what it makes differ."""
    sentence: str
    """May name {own} and {reference}, the property's values in words."""


# Property, value (None: any other), code, what it makes differ, sentence.
_TABLE: tuple[tuple[str, str | None, str, frozenset[str], str], ...] = (
    ("axes", NONE, "does_not_normalize", ALL,
     N_("It does not normalize: each value goes its own way, in the reference over {reference}.")),
    ("axes", None, "wrong_axes", ALL,
     N_("It takes its statistics over {own}, the reference over {reference}.")),
    ("normalizes_by", "unbiased", "normalizes_by_unbiased", NUMBERS,
     N_("It divides the batch by the unbiased variance (n − 1), the reference by the biased one (n).")),
    ("normalizes_by", "biased", "normalizes_by_biased", NUMBERS,
     N_("It divides the batch by the biased variance (n), the reference by the unbiased one (n − 1).")),
    ("eps_place", "outside", "eps_outside_root", NUMBERS,
     N_("It adds eps to the standard deviation; in the reference eps stands {reference}.")),
    ("eps_place", "inside", "eps_inside_root", NUMBERS,
     N_("It adds eps to the variance; in the reference eps stands {reference}.")),
    ("eps_place", NONE, "eps_absent", NUMBERS,
     N_("It adds no eps, so a constant channel is divided by 0; in the reference eps stands {reference}.")),
    ("eps", None, "eps_default", NUMBERS,
     N_("Its eps is {own} by default, the reference's {reference}.")),
    ("gradient", "no_mean", "gradient_ignores_mean", GRADIENT,
     N_("Its gradient takes the batch's mean for a constant.")),
    ("gradient", "no_var", "gradient_ignores_variance", GRADIENT,
     N_("Its gradient takes the batch's variance for a constant.")),
    ("gradient", "no_statistics", "gradient_ignores_statistics", GRADIENT,
     N_("Its gradient takes the batch's mean and variance for constants.")),
    ("far", "cancels", "variance_cancels", NUMBERS,
     N_("Far from 0 its variance loses its digits, as E[x²] − E[x]² does; the reference's holds them.")),
    ("affine", NONE, "affine_missing", STATE_AND_DTYPE,
     N_("It has neither scale nor shift; the reference has {reference}.")),
    ("affine", None, "affine_differs", STATE,
     N_("It scales and shifts as {own}, the reference as {reference}.")),
    ("scale_start", None, "scale_start", STATE,
     N_("Its scale starts at {own}, the reference's at {reference}.")),
    ("shift_start", None, "shift_start", STATE,
     N_("Its shift starts at {own}, the reference's at {reference}.")),
    ("statistics", NONE, "statistics_missing", STATE_AND_DTYPE,
     N_("It keeps no running statistics; the reference keeps them as {reference}.")),
    ("statistics", None, "statistics_not_buffers", frozenset({"checkpoint", "dtype"}),
     N_("Its running statistics are {own}, which state_dict and .to() treat otherwise than {reference}.")),
    ("mean_start", None, "mean_start", STATE,
     N_("Its running mean starts at {own}, the reference's at {reference}.")),
    ("var_start", "0", "starts_at_zero", STATE,
     N_("Its running variance starts at 0, so eval mode before training divides by the root of eps; the reference's at {reference}.")),
    ("var_start", None, "var_start", STATE,
     N_("Its running variance starts at {own}, the reference's at {reference}.")),
    ("variance_kept", "biased", "variance_kept_biased", NUMBERS,
     N_("It averages the biased variance of each batch (n), the reference the unbiased one (n − 1).")),
    ("variance_kept", "unbiased", "variance_kept_unbiased", NUMBERS,
     N_("It averages the unbiased variance of each batch (n − 1), the reference the biased one (n).")),
    ("variance_kept", "deviation", "deviation_kept", NUMBERS,
     N_("It averages standard deviations, the reference variances: {reference}.")),
    ("momentum", "old", "momentum_weighs_old", NUMBERS,
     N_("Its momentum is the weight of the old value, the reference's that of the new batch.")),
    ("momentum", "new", "momentum_weighs_new", NUMBERS,
     N_("Its momentum is the weight of the new batch, the reference's that of the old value.")),
    ("new_weight", "0", "statistics_never_move", NUMBERS,
     N_("Train mode does not move its running statistics; a new batch of the reference weighs {reference}.")),
    ("new_weight", None, "momentum_default", NUMBERS,
     N_("A new batch weighs {own} in its running statistics by default, {reference} in the reference's.")),
    ("plain_average", None, "momentum_none_differs", NUMBERS,
     N_("With momentum=None its running statistics are {own}; the reference's {reference}.")),
    ("eval_uses", "batch", "eval_uses_batch", FORWARD,
     N_("Eval mode normalizes by the statistics of its input, the reference by {reference}.")),
    ("eval_uses", None, "eval_uses_other", FORWARD,
     N_("Eval mode normalizes by {own}, the reference by {reference}.")),
    ("moves_in_eval", "yes", "eval_moves_statistics", NUMBERS | {"copy"},
     N_("Eval mode moves its running statistics; the reference's stay.")),
    ("graph", "kept", "graph_kept", FORWARD | {"copy"},
     N_("Its running statistics keep the graph of every batch alive: memory grows with each step, deepcopy fails.")),
    ("single_value", "taken", "single_value_taken", REFUSAL,
     N_("It takes a single value per channel in train mode, whose variance is 0; the reference raises {reference}.")),
    ("single_value", None, "single_value_error", REFUSAL,
     N_("It meets a single value per channel with {own}, the reference with {reference}.")),
    ("counts", None, "counts_batches", frozenset(),
     N_("It counts its batches; the reference does not.")),
    ("names", None, "state_dict_differs", frozenset({"checkpoint"}),
     N_("Its state_dict holds {own}; the reference's {reference}.")),
    ("half", None, "half_in_half", NUMBERS,
     N_("It takes the statistics of half-precision inputs in {own}, the reference in {reference}.")),
    ("half_output", None, "half_output", FORWARD,
     N_("A bfloat16 input beside float32 weights comes out as {own}, in the reference as {reference}.")),
)  # fmt: skip
CAUSES = tuple(_KnownCause(*row) for row in _TABLE)
"""In the order in which they are named. Of the causes of a property the first that fits counts."""

# What differs because something else does is not named again: property -> what makes it follow.
FOLLOWS: Mapping[str, Callable[[Mapping[str, str], Mapping[str, str]], bool]] = {
    "normalizes_by": lambda own, ref: own["axes"] == NONE,
    "eps_place": lambda own, ref: own["axes"] == NONE,
    "eps": lambda own, ref: own["axes"] == NONE or own["eps_place"] == NONE,
    "gradient": lambda own, ref: own["axes"] == NONE,
    "far": lambda own, ref: own["axes"] == NONE,
    "scale_start": lambda own, ref: own["affine"] == NONE,
    "shift_start": lambda own, ref: own["affine"] == NONE,
    "single_value": lambda own, ref: own["axes"] != ref["axes"],
    "half": lambda own, ref: own["axes"] != ref["axes"],
    "half_output": lambda own, ref: own["axes"] == NONE,
    "new_weight": lambda own, ref: own["momentum"] not in (ref["momentum"], UNKNOWN),
    "plain_average": lambda own, ref: own["statistics"] == NONE or own["new_weight"] == "0",
    **{
        name: (lambda own, ref: own["statistics"] == NONE)
        for name in ("mean_start", "var_start", "variance_kept", "momentum", "moves_in_eval", "graph", "counts")
    },
}  # fmt: skip
NOT_CAUSES = (("counts", "no"), ("plain_average", "refused"))
"""What is told but breaks nothing: a count that is not kept, an option that is not taken."""


def causes(cls: Any, reference: Any = None, frame: pd.DataFrame | None = None) -> list[Cause]:
    """Every way in which `cls` behaves otherwise than `reference`, over all inputs both take.

    `reference` None stands for torch's layers; `frame` is their `report`, made if None. Cases
    that differ in something that no cause makes differ are named by the code ``unexplained``.
    Raises ConfigError if no input fits both classes.
    """
    return examine(cls, reference, frame=frame).causes


@dataclass(frozen=True)
class Examination:
    """All that was measured of a class beside its reference."""

    name: str
    reference: str
    frame: pd.DataFrame
    """What `bnviz.subjects.parity.parity.report` returns."""
    fingerprints: Mapping[int, tuple[Mapping[str, str], Mapping[str, str]]]
    """By number of dimensions of the input: that of the class and that of the reference."""
    causes: list[Cause]

    @property
    def passed(self) -> bool:
        """Whether every case that could be measured agrees, and there was one."""
        measured = self.frame["agrees"].dropna()
        return bool(len(measured) and measured.all() and not self.causes)


def examine(
    cls: Any,
    reference: Any = None,
    *,
    frame: pd.DataFrame | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Examination:
    """Cases, fingerprints and causes of `cls` beside `reference`; see `report` and `causes`.

    Raises ConfigError if no input fits both classes.
    """
    own, other = Subject(cls), None if reference is None else Subject(reference)
    dims = common_dims(own, other)
    if frame is None:
        frame = report(cls, reference, progress=progress)
    prints = {d: (fingerprint(own, d), fingerprint(other or torch_subject(d), d)) for d in dims}
    name = other.name if other else " / ".join(sorted({TORCH[d].__name__ for d in dims}))
    return Examination(own.name, name, frame, prints, explain(prints, frame))


def explain(
    prints: Mapping[int, tuple[Mapping[str, str], Mapping[str, str]]], frame: pd.DataFrame
) -> list[Cause]:
    """The causes of `causes`, from the fingerprints of layer and reference by dimensions."""
    said: dict[str, str] = {}
    seen: dict[str, list[int]] = {}
    explained: set[str] = set()
    for dims in sorted(prints, reverse=True):
        own, reference = prints[dims]
        for known in _differences(own, reference):
            explained |= known.explains
            words = {
                side: in_words(known.property, values[known.property])
                for side, values in (("own", own), ("reference", reference))
            }
            said.setdefault(known.code, _(known.sentence).format(**words))
            seen.setdefault(known.code, []).append(dims)
    in_order = [code for code in dict.fromkeys(known.code for known in CAUSES) if code in said]
    result = [Cause(code, sentences(said[code], _only(seen[code], prints))) for code in in_order]
    left = frame[[bool(set(parts) - explained) for parts in frame["differs_in"]]]
    if len(left):
        result.append(_unexplained(left))
    return result


def _only(seen: Sequence[int], prints: Mapping[int, Any]) -> str:
    """Where a cause was seen, if not with all inputs."""
    if len(seen) == len(prints):
        return ""
    inputs = listed(f"({', '.join(AXES[dims])})" for dims in sorted(seen))
    return _("Seen with inputs {inputs} only.").format(inputs=inputs)


def _differences(own: Mapping[str, str], reference: Mapping[str, str]) -> list[_KnownCause]:
    """The known causes that fit two fingerprints."""
    found = []
    for name in PROPERTIES:
        follows = FOLLOWS.get(name)
        if (name, own[name]) in NOT_CAUSES or own[name] == reference[name] or own[name] == UNKNOWN:
            continue
        if follows is not None and follows(own, reference):
            continue
        if name == "names" and not _names_matter(own, reference):
            continue
        found.append(_known(name, own, reference))
    return found


def _known(name: str, own: Mapping[str, str], reference: Mapping[str, str]) -> _KnownCause:
    value = own[name]
    # A fixed weight that is the reference's counterpart: the same line of code the other way round.
    if name == "new_weight" and own["momentum"] == UNKNOWN and reference["momentum"] == "new":
        try:
            turned = abs(float(value) + float(reference[name]) - 1) < 1e-3
        except ValueError:
            turned = False
        if turned:
            return next(known for known in CAUSES if known.code == "momentum_weighs_old")
    fitting: Sequence[_KnownCause] = [
        known for known in CAUSES if known.property == name and known.value in (value, None)
    ]
    return fitting[0]


def _names_matter(own: Mapping[str, str], reference: Mapping[str, str]) -> bool:
    """Whether the names differ in more than what the layer does not have or keeps elsewhere."""
    mine, theirs = (set(values["names"].split(", ")) - {NONE} for values in (own, reference))
    missing = theirs - mine
    if own["statistics"] != "buffers":
        missing = {entry for entry in missing if not entry.startswith("running_")}
    if own["affine"] == NONE:
        missing = {entry for entry in missing if not entry.startswith(("weight", "bias"))}
    return bool(missing or mine - theirs)


def _unexplained(left: pd.DataFrame) -> Cause:
    first = left.iloc[0]
    return Cause(
        UNEXPLAINED,
        _(
            "{count} cases differ for a reason that no experiment told apart; {name}: {detail}"
        ).format(count=len(left), name=first["name"], detail=first["detail"]),
    )
