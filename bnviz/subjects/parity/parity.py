"""Does a layer do what torch's does? One row per case, from outputs, gradients and buffers.

Own layer and reference get the same weights, statistics, batches and output gradients, and must
agree to the defaults of `torch.testing.assert_close` for their dtype
(https://docs.pytorch.org/docs/stable/testing.html).

In half precision there are two right answers: torch's layer keeps mean and deviation in the dtype
of its parameters, so it rounds in between; a layer that rounds once, at the end, is nearer to the
truth. A value agrees if it is within the tolerance of torch's layer, or of torch's layer run in
float64 on the same numbers and rounded once.
"""

import copy
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from math import nan
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from bnviz.i18n import _
from bnviz.subjects.parity import layer_adapter as subjects
from bnviz.subjects.parity.comparison import Outcome, compare, dtype_in_words, in_one_line
from bnviz.subjects.parity.layer_adapter import NotTaken, Subject, undisturbed
from bnviz.subjects.parity.parity_cases import Case, cases

HALF = ("float16", "bfloat16")


def report(
    cls: Any, reference: Any = None, *, progress: Callable[[int, int], None] | None = None
) -> pd.DataFrame:
    """Every case of `cases` for the inputs that `cls` takes, own layer beside `reference`.

    `cls` is built as ``cls(num_features)`` or, as the note's layer, ``cls(num_features,
    num_dims)``. `reference` is torch.nn.BatchNorm1d or 2d, as the case asks, if None is given.
    `progress` is called with how many cases are done, of how many.

    Columns: name, group, dtype, mode, agrees (True, False, or missing where it could not be
    measured), output_difference, gradient_difference, buffer_difference (largest absolute ones;
    missing where there are none), of_tolerance (the largest as a share of what is allowed),
    differs_in (of `bnviz.subjects.parity.comparison.PARTS`), detail (the first reason in words).

    The random state of torch stays as it is. Raises ConfigError if no input fits both classes.
    """
    own, other = Subject(cls), None if reference is None else Subject(reference)
    wanted = cases(subjects.common_dims(own, other))
    rows = []
    for done, case in enumerate(wanted):
        if progress is not None:
            progress(done, len(wanted))
        rows.append(row_of(case, run_case(case, own, other)))
    return pd.DataFrame(rows).astype({"agrees": "boolean"})


def row_of(case: Case, outcome: Outcome) -> dict[str, Any]:
    """A row of the frame of `report`."""
    found = {
        f"{part}_difference": outcome.differences.get(part, nan)
        for part in ("output", "gradient", "buffer")
    }
    return {
        "name": case.name,
        "group": case.group,
        "dtype": case.dtype,
        "mode": case.mode,
        "agrees": outcome.agrees,
        **found,
        "of_tolerance": outcome.of_tolerance,
        "differs_in": list(outcome.differs_in),
        "detail": outcome.detail,
    }


def run_case(case: Case, own: Subject, reference: Subject | None = None) -> Outcome:
    """Run one case; a layer that cannot be built with its options is not measured."""
    other = reference or torch_subject(case.dims)
    outcome = Outcome()
    with undisturbed():
        try:
            settings = (case.shape[1], case.dims, case.parameters)
            mine, theirs = (s.build(*settings, **dict(case.options)) for s in (own, other))
            layers = Pair(mine, theirs, case)
            CHECKS[case.check](layers, other, outcome)
        except NotTaken as error:
            outcome = Outcome(agrees=None, detail=str(error))
    return outcome


@cache
def torch_subject(dims: int) -> Subject:
    """Torch's own layer for inputs of so many dimensions."""
    return Subject(subjects.TORCH[dims])


class Pair:
    """Own layer and reference with the same weights and statistics, and the batches for both."""

    def __init__(self, own: nn.Module, reference: nn.Module, case: Case):
        self.own, self.reference, self.case = own, reference, case
        generator = torch.Generator().manual_seed(zlib.crc32(case.name.encode()))
        self.values = _values(case, generator)
        self.batches = [_batch(case, generator) for _mode in case.modes or ("train", "eval")]
        if not case.fresh:
            for layer in (own, reference):
                self.give_values(layer)

    def give_values(self, layer: nn.Module) -> None:
        """Set weight, bias, running mean and variance of `layer` to those of the case."""
        weight, bias, mean, var = self.values
        subjects.set_affine(layer, weight, bias)
        subjects.set_statistics(layer, mean, var)


def _values(case: Case, generator: torch.Generator) -> list[Tensor]:
    """Weight, bias, running mean and variance, (C,), as the dtype of the parameters rounds them."""
    channels = case.shape[1]
    drawn = [torch.randn(channels, generator=generator, dtype=torch.float64) for _ in range(2)]
    drawn += [torch.rand(channels, generator=generator, dtype=torch.float64) for _ in range(2)]
    weight, bias, mean, var = drawn
    dtype = getattr(torch, case.parameters)
    return [v.to(dtype) for v in (1 + weight, bias, 0.5 + 1.5 * mean, 0.5 + 1.5 * var)]


def _batch(case: Case, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """x and the gradient of y, both (N, C, ...); x off centre, the gradient as of a mean loss."""
    x = 3 * torch.randn(case.shape, generator=generator, dtype=torch.float64) + 2
    upstream = torch.randn(case.shape, generator=generator, dtype=torch.float64)
    upstream /= (x.numel() / case.shape[1]) ** 0.5  # sums over a channel come to about 1
    if x.numel() == 2 * case.shape[1]:  # two values near each other differ by rounding alone
        x += 2 * (x - x.mean([d for d in range(case.dims) if d != 1], keepdim=True)).sign()
    if case.content == "constant":
        x[:, 0] = 2
    elif case.content in ("inf", "nan"):
        x[(0,) * case.dims] = float(case.content)
    elif case.content == "far":
        x += 1e6
    elif case.content == "tiny":
        x = (x - 2) / 3000
    dtype = getattr(torch, case.dtype)
    return x.to(dtype), upstream.to(dtype)


# ---- numbers ---------------------------------------------------------------------------------

LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: x,
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "strided": lambda x: x.repeat_interleave(2, dim=-1)[..., ::2],
}


@dataclass
class Trace:
    """What a layer gave in each pass, and where and how it failed, if it did."""

    passes: list[dict[str, Tensor | None]] = field(default_factory=list)
    failed_in: str = ""
    error: Exception | None = None


def trace(layer: nn.Module, case: Case, batches: list[tuple[Tensor, Tensor]]) -> Trace:
    """Run `layer` through the modes of a case; outputs, gradients and statistics, detached."""
    found = Trace()
    if case.frozen == "parameters":
        layer.requires_grad_(False)
    for mode, (batch, upstream) in zip(case.modes, batches, strict=True):
        layer.train(mode == "train")
        layer.zero_grad()
        leaf = batch.clone().requires_grad_(case.frozen != "x")
        stage = "output"
        try:
            y = layer(LAYOUTS[case.layout](leaf))
            stage = "gradient"
            if y.requires_grad:
                y.backward(upstream.to(y.dtype))
        except Exception as error:  # a reader's layer may raise anything
            found.failed_in, found.error = stage, error
            return found
        now: dict[str, Tensor | None] = {"output": y.detach(), "gradient of x": leaf.grad}
        for name, parameter in zip(("weight", "bias"), subjects.affine_of(layer), strict=True):
            if parameter is not None:
                grad = parameter.grad
                now[f"gradient of {name}"] = None if grad is None else grad.flatten()
        for name, value in zip(("mean", "variance"), subjects.statistics_of(layer) or (), strict=False):  # fmt: skip
            now[f"running {name}"] = value.detach().flatten().clone()
        found.passes.append(now)
    return found


def _compare_numbers(pair: Pair, other: Subject, outcome: Outcome) -> None:
    """Outputs, gradients and statistics after each pass."""
    case = pair.case
    expected = trace(pair.reference, case, pair.batches)
    if expected.error is not None:
        raise NotTaken(
            _("The reference refuses this: {error}").format(error=in_one_line(expected.error))
        )
    got = trace(pair.own, case, pair.batches)
    if got.error is not None and not got.passes and ("momentum", None) in case.options:
        raise NotTaken(
            _("momentum=None is not taken: {error}").format(error=in_one_line(got.error))
        )
    exact = _exactly(pair, other, got) if case.dtype in HALF else [{} for _pass in case.modes]
    for number, (mine, theirs) in enumerate(zip(got.passes, expected.passes, strict=False)):
        for name, value in theirs.items():
            compare(outcome, number + 1, name, mine.get(name), value, exact[number].get(name))
    if got.error is not None:
        outcome.differ(
            got.failed_in,
            _("pass {number} raises {error}").format(
                number=len(got.passes) + 1, error=in_one_line(got.error)
            ),
        )


def _exactly(pair: Pair, other: Subject, got: Trace) -> list[dict[str, Tensor | None]]:
    """What the reference gives in float64 for the same rounded numbers.

    Each pass starts at the statistics that the own layer had: they are compared for themselves.
    """
    case = pair.case
    layer = other.build(case.shape[1], case.dims, "float64", **dict(case.options))
    pair.give_values(layer)
    found = []
    for number, (mode, (x, upstream)) in enumerate(zip(case.modes, pair.batches, strict=True)):
        before = got.passes[number - 1] if 0 < number <= len(got.passes) else {}
        mean, var = (before.get(f"running {name}") for name in ("mean", "variance"))
        if mean is not None and var is not None:
            subjects.set_statistics(layer, mean.double(), var.double())
        one = replace(case, modes=(mode,))
        found += trace(layer, one, [(x.double(), upstream.double())]).passes
    return found


# ---- what is not a number --------------------------------------------------------------------


def _compare_refusals(pair: Pair, _other: Subject, outcome: Outcome) -> None:
    """Both refuse the batch, with errors of the same type."""
    own, reference = (trace(layer, pair.case, pair.batches).error for layer in (pair.own, pair.reference))  # fmt: skip
    words = [_("takes it") if error is None else in_one_line(error) for error in (own, reference)]
    if reference is None or not isinstance(own, type(reference)):
        if own is None and reference is None:
            return
        outcome.differ("refusal", _("{own}; the reference: {reference}").format(own=words[0], reference=words[1]))  # fmt: skip


def _compare_checkpoint_out(pair: Pair, _other: Subject, outcome: Outcome) -> None:
    """The reference loads the own state_dict, and has its values then."""
    _load(pair.reference, pair.own, pair, outcome)


def _compare_checkpoint_in(pair: Pair, _other: Subject, outcome: Outcome) -> None:
    """The own layer loads the reference's state_dict, and has its values then."""
    _load(pair.own, pair.reference, pair, outcome)


def _load(target: nn.Module, source: nn.Module, pair: Pair, outcome: Outcome) -> None:
    """A layer that does not count batches may do without the count."""
    with torch.no_grad():
        for value in [*target.parameters(), *target.buffers()]:
            value.zero_()
    state = source.state_dict()
    if not any(name.endswith("num_batches_tracked") for name in target.state_dict()):
        state.pop("num_batches_tracked", None)
    try:
        target.load_state_dict(state)
    except Exception as error:  # a reader's layer may raise anything
        outcome.differ("checkpoint", in_one_line(error))
        return
    loaded, saved = (
        [*subjects.affine_of(layer), *(subjects.statistics_of(layer) or ())]
        for layer in (target, source)
    )
    for mine, theirs in zip(loaded, saved, strict=False):
        if mine is not None and theirs is not None and not torch.equal(mine.flatten(), theirs.flatten()):  # fmt: skip
            outcome.differ("checkpoint", _("what was loaded is not what was saved"))


def _compare_dtypes(pair: Pair, _other: Subject, outcome: Outcome) -> None:
    """After ``.to(torch.float64)`` weights and statistics are float64, and so is the output."""
    dtypes: list[list[torch.dtype | None]] = []
    for layer in (pair.own, pair.reference):
        layer.to(torch.float64)
        try:
            held = [*subjects.affine_of(layer), *(subjects.statistics_of(layer) or (None, None))]
            dtypes.append([None if t is None else t.dtype for t in held])
            dtypes[-1].append(layer(pair.batches[0][0].double()).dtype)
        except Exception as error:  # a reader's layer may raise anything
            outcome.differ("dtype", in_one_line(error))
            return
    names = ("weight", "bias", "running mean", "running variance", "output")
    for name, mine, theirs in zip(names, *dtypes, strict=True):
        if mine != theirs:
            outcome.differ("dtype", _("{where} is {own}, the reference's {reference}").format(
                where=_(name), own=dtype_in_words(mine), reference=dtype_in_words(theirs)))  # fmt: skip


def _compare_copies(pair: Pair, _other: Subject, outcome: Outcome) -> None:
    """A copy made after a step gives the same, and training it leaves the original alone."""
    layer, (x, _upstream) = pair.own, pair.batches[0]
    try:
        layer.train()(x.clone().requires_grad_())
        copied = copy.deepcopy(layer)
        before = layer.eval()(x).detach().clone()
        if not torch.equal(before, copied.eval()(x)):
            outcome.differ("copy", _("the copy gives another output"))
        copied.train()(2 * x + 1)
        if not torch.equal(before, layer.eval()(x)):
            outcome.differ("copy", _("training the copy changes the original"))
    except Exception as error:  # a reader's layer may raise anything
        outcome.differ("copy", in_one_line(error))


CHECKS: dict[str, Callable[[Pair, Subject, Outcome], None]] = {
    "numbers": _compare_numbers,
    "refusal": _compare_refusals,
    "checkpoint_out": _compare_checkpoint_out,
    "checkpoint_in": _compare_checkpoint_in,
    "dtype": _compare_dtypes,
    "copy": _compare_copies,
}
