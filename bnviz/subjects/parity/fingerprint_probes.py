"""The experiments of `bnviz.subjects.parity.fingerprint`: each runs a layer and ends in a word."""

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bnviz.subjects.parity.layer_adapter import (
    SMALL,
    NotTaken,
    Subject,
    affine_of,
    set_affine,
    set_statistics,
    statistics_names,
    statistics_of,
)

AXES = {2: "NC", 3: "NCL", 4: "NCHW"}
SPREAD = (1e-3, 3e-3, 1e-2)  # of the three channels: below, at and above the root of eps 1e-5
NONE, UNKNOWN = "none", "unknown"


class Bench:
    """Where the experiments are made: layers for three channels, and batches that tell apart."""

    def __init__(self, subject: Subject, dims: int):
        self.subject, self.dims = subject, dims
        self.generator = torch.Generator().manual_seed(0)

    def layer(self, **options: Any) -> nn.Module:
        """A new layer in float64 with gamma 1 and beta 0."""
        layer = self.subject.build(3, self.dims, "float64", **options)
        set_affine(layer, torch.ones(3), torch.zeros(3))
        return layer

    def draw(self, *shape: int) -> Tensor:
        """Standard normal numbers in float64."""
        return torch.randn(shape, generator=self.generator, dtype=torch.float64)

    def batch(self, scale: float = 1.0) -> Tensor:
        """x (N, 3, ...) off centre, each channel with a mean and a spread of its own."""
        x = self.draw(*SMALL[self.dims])
        return scale * (x * self.beside(1.0, 2.0, 3.0) + self.beside(1.0, -2.0, 4.0))

    def beside(self, *values: float) -> Tensor:
        """Three values along the channels."""
        return torch.tensor(values, dtype=torch.float64).view(1, 3, *[1] * (self.dims - 2))

    @property
    def channel_dims(self) -> list[int]:
        """All dimensions but that of the channels."""
        return [d for d in range(self.dims) if d != 1]


def _influence(layer: nn.Module, x: Tensor) -> Tensor:
    """Which outputs change when the first input does: True and False in the shape of x."""
    other = x.clone()
    other[(0,) * x.dim()] += 1.0
    copied = copy.deepcopy(layer)  # a pass may move the statistics
    with torch.no_grad():
        before = layer(x)
        return (copied(other) - before).abs() > 1e-9 * (1 + before.abs())


def find_axes(bench: Bench, _found: Mapping[str, str]) -> str:
    """The axes over which outputs hang together, such as N,H,W."""
    changed = _influence(bench.layer().train(), bench.batch()).nonzero()
    reach = [AXES[bench.dims][d] for d in range(bench.dims) if changed[:, d].any()]
    return ",".join(reach) or NONE


def _numbers(bench: Bench, found: Mapping[str, str]) -> list[int]:
    """The axes found, as numbers. Raises NotTaken where nothing is normalized."""
    if found["axes"] in (NONE, UNKNOWN):
        raise NotTaken
    return [AXES[bench.dims].index(axis) for axis in found["axes"].split(",")]


def _divisor(bench: Bench, found: Mapping[str, str]) -> tuple[str, str, float]:
    """Which variance is divided by, where eps stands, and eps.

    A batch whose spreads lie around the root of eps; of all formulas the one whose eps comes out
    the same for all outputs.
    """
    axes = _numbers(bench, found)
    x = bench.draw(*SMALL[bench.dims]) * bench.beside(*SPREAD)
    with torch.no_grad():
        y = bench.layer().train()(x)
    centred = x - x.mean(axes, keepdim=True)
    divisor = centred / y
    best = (math.inf, UNKNOWN, UNKNOWN, math.nan)
    for variance in ("biased", "unbiased"):
        var = x.var(axes, correction=int(variance == "unbiased"), keepdim=True)
        inside = (divisor.square() - var).median().item()
        outside = (divisor - var.sqrt()).median().item()
        for place, eps, predicted in (
            (NONE, 0.0, var.sqrt()),
            ("inside", inside, (var + max(inside, 0)).sqrt()),
            ("outside", outside, var.sqrt() + outside),
        ):
            error = ((predicted - divisor).abs() / divisor.abs()).max().item()
            if error < 0.5 * best[0]:
                best = (error, variance, place, eps)
    return best[1:] if best[0] < 1e-2 else (UNKNOWN, UNKNOWN, math.nan)


def find_normalizes_by(bench: Bench, found: Mapping[str, str]) -> str:
    """Which variance the batch is divided by."""
    return _divisor(bench, found)[0]


def find_eps_place(bench: Bench, found: Mapping[str, str]) -> str:
    """Where eps stands."""
    return _divisor(bench, found)[1]


def find_eps(bench: Bench, found: Mapping[str, str]) -> str:
    """The size of eps by default."""
    if found["eps_place"] in (NONE, UNKNOWN):
        return found["eps_place"]
    return f"{_divisor(bench, found)[2]:.3g}"


def _root(var: Tensor, found: Mapping[str, str]) -> Tensor:
    """What is divided by, eps at the place that was found."""
    eps = 0.0 if found["eps"] == NONE else float(found["eps"])
    return var.sqrt() + eps if found["eps_place"] == "outside" else (var + eps).sqrt()


def find_gradient(bench: Bench, found: Mapping[str, str]) -> str:
    """Whether the gradient takes the way through the mean and through the variance."""
    axes, correction = _numbers(bench, found), int(found["normalizes_by"] == "unbiased")
    layer, x, upstream = bench.layer().train(), bench.batch(), bench.draw(*SMALL[bench.dims])
    leaf = x.clone().requires_grad_()
    (got,) = torch.autograd.grad(layer(leaf), leaf, upstream)

    def formula(keep_mean: bool, keep_var: bool) -> Tensor:
        leaf = x.clone().requires_grad_()
        mean = leaf.mean(axes, keepdim=True)
        var = leaf.var(axes, correction=correction, keepdim=True)
        if not keep_mean:
            mean = mean.detach()
        if not keep_var:
            var = var.detach()
        return torch.autograd.grad((leaf - mean) / _root(var, found), leaf, upstream)[0]

    for word, keep in (("all", (True, True)), ("no_mean", (False, True)), ("no_var", (True, False)), ("no_statistics", (False, False))):  # fmt: skip
        if torch.allclose(got, formula(*keep), rtol=1e-3, atol=1e-5):
            return word
    return UNKNOWN


def find_far(bench: Bench, found: Mapping[str, str]) -> str:
    """Whether the variance holds far from 0, where E[x²] − E[x]² loses its digits."""
    axes, correction = _numbers(bench, found), int(found["normalizes_by"] == "unbiased")
    x = bench.draw(*SMALL[bench.dims])
    exact = (x - x.mean(axes, keepdim=True)) / x.std(axes, correction=correction, keepdim=True)
    with torch.no_grad():
        near, far = (bench.layer().train()(x + offset) for offset in (0.0, 1e6))
    if (near - exact).abs().max() > 1e-3:
        return UNKNOWN
    return "holds" if (near - far).abs().max() < 1e-7 else "cancels"


def find_affine(bench: Bench, _found: Mapping[str, str]) -> str:
    """How gamma and beta act."""
    layer, x = bench.layer().train(), bench.batch()
    weight, bias = affine_of(layer)
    if weight is None and bias is None:
        return NONE
    with torch.no_grad():
        plain = layer(x)
        set_affine(layer, torch.tensor([2.0, 3.0, 4.0]), torch.tensor([5.0, 6.0, 7.0]))
        y = layer(x)
    gamma = bench.beside(2, 3, 4) if weight is not None else 1
    beta = bench.beside(5, 6, 7) if bias is not None else 0
    for word, expected in (
        ("scale_then_shift", gamma * plain + beta),
        ("shift_then_scale", gamma * (plain + beta)),
    ):
        if torch.allclose(y, expected, rtol=1e-5, atol=1e-6):
            return "only_scale" if bias is None else "only_shift" if weight is None else word
    return UNKNOWN


def start_of(number: int, values: Callable[[nn.Module], Any]) -> Callable[..., str]:
    """An experiment: what a new layer has in one of two tensors, if all its values are the same."""

    def experiment(bench: Bench, _found: Mapping[str, str]) -> str:
        held = (values(bench.subject.build(3, bench.dims)) or (None, None))[number]
        if held is None:
            return NONE
        first = held.detach().flatten()[0]
        return f"{first.item():g}" if bool((held == first).all()) else UNKNOWN

    return experiment


def find_statistics(bench: Bench, _found: Mapping[str, str]) -> str:
    """As what running statistics are kept."""
    layer = bench.layer().train()
    layer(bench.batch())
    names = statistics_names(layer)
    if names is None:
        return NONE
    if all(name in layer._buffers for name in names):
        return "buffers"
    return "parameters" if names[0] in layer._parameters else "attributes"


def _after_a_step(
    bench: Bench, mode: str = "train", **options: Any
) -> tuple[Tensor, tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """A batch, and the running mean and variance (3,) before and after it.

    Options that the constructor does not take are set as attributes, where the layer has those.
    """
    try:
        layer = bench.layer(**options)
    except NotTaken:
        layer = bench.layer()
        if not all(hasattr(layer, name) for name in options):
            raise
        vars(layer).update(options)
    layer.train(mode == "train")
    x = bench.batch()
    before = bench.beside(10, 20, 30).flatten(), bench.beside(5, 6, 7).flatten()
    set_statistics(layer, *before)
    layer(x)
    kept = statistics_of(layer)
    if kept is None:
        raise NotTaken
    mean, var = (value.detach().flatten().double() for value in kept)
    return x, before, (mean, var)


def _weight_of_new(bench: Bench, **options: Any) -> float | None:
    """The share of the batch's mean in the running mean, 0 to 1; None if it is no such average."""
    x, (old, _var), (new, _new_var) = _after_a_step(bench, **options)
    shares = (new - old) / (x.mean(bench.channel_dims) - old)
    return shares.mean().item() if shares.std() < 1e-4 else None


def find_new_weight(bench: Bench, found: Mapping[str, str]) -> str:
    """The weight of a new batch in the running statistics by default."""
    if found["statistics"] == NONE:
        return NONE
    share = _weight_of_new(bench)
    return UNKNOWN if share is None else f"{share:.3g}"


def find_momentum(bench: Bench, found: Mapping[str, str]) -> str:
    """Whose weight a momentum of 0.3 is."""
    if found["statistics"] == NONE:
        return NONE
    share = _weight_of_new(bench, momentum=0.3)
    for word, expected in (("new", 0.3), ("old", 0.7)):
        if share is not None and abs(share - expected) < 1e-3:
            return word
    return UNKNOWN


def find_variance_kept(bench: Bench, found: Mapping[str, str]) -> str:
    """Which variance of the batch is averaged in."""
    if found["statistics"] == NONE:
        return NONE
    x, (old_mean, old_var), (mean, var) = _after_a_step(bench)
    share = (mean - old_mean) / (x.mean(bench.channel_dims) - old_mean)
    taken = (var - (1 - share) * old_var) / share
    for word, correction in (("biased", 0), ("unbiased", 1)):
        expected = x.var(bench.channel_dims, correction=correction)
        if torch.allclose(taken, expected, rtol=1e-4):
            return word
        if torch.allclose(taken, expected.sqrt(), rtol=1e-4):
            return "deviation"
    return UNKNOWN


def find_plain_average(bench: Bench, found: Mapping[str, str]) -> str:
    """What momentum=None does."""
    if found["statistics"] == NONE:
        return NONE
    batches = [bench.batch(), bench.batch(2.0), bench.batch(3.0)]
    try:
        layer = bench.layer(momentum=None).train()
        for x in batches:
            layer(x)
    except Exception:  # a reader's layer may raise anything
        return "refused"
    kept = statistics_of(layer)
    expected = torch.stack([x.mean(bench.channel_dims) for x in batches]).mean(0)
    if kept is not None and torch.allclose(kept[0].detach().flatten(), expected, rtol=1e-4):
        return "average"
    return "other"


def find_eval_uses(bench: Bench, _found: Mapping[str, str]) -> str:
    """What an output in eval mode depends on, besides its own input."""
    layer, x = bench.layer().eval(), bench.batch()
    set_statistics(layer, torch.zeros(3), torch.ones(3))
    if _influence(layer, x).sum() > 1:
        return "batch"
    with torch.no_grad():
        before = layer(x)
        set_statistics(layer, torch.full((3,), 2.0), torch.full((3,), 9.0))
        return "running" if not torch.allclose(before, layer(x)) else NONE


def find_moves_in_eval(bench: Bench, found: Mapping[str, str]) -> str:
    """Whether a pass in eval mode moves the running statistics."""
    if found["statistics"] == NONE:
        return NONE
    _x, before, after = _after_a_step(bench, "eval")
    return "no" if all(map(torch.equal, before, after)) else "yes"


def find_graph(bench: Bench, found: Mapping[str, str]) -> str:
    """Whether the running statistics hang on the graph of the batch after a step."""
    if found["statistics"] == NONE:
        return NONE
    layer = bench.layer().train()
    layer(bench.batch().requires_grad_())
    return "kept" if any(v.grad_fn is not None for v in statistics_of(layer) or ()) else "cut"


def find_single_value(bench: Bench, _found: Mapping[str, str]) -> str:
    """What happens to one value per channel in train mode."""
    try:
        bench.layer().train()(bench.draw(1, 3, *[1] * (bench.dims - 2)))
    except Exception as error:  # a reader's layer may raise anything
        return type(error).__name__
    return "taken"


def find_counts(bench: Bench, _found: Mapping[str, str]) -> str:
    """Whether a buffer counts the batches."""
    layer = bench.layer().train()
    before = {name: b.clone() for name, b in layer.named_buffers() if b.numel() == 1}
    layer(bench.batch()), layer(bench.batch())
    return "yes" if any(torch.equal(layer.get_buffer(n), b + 2) for n, b in before.items()) else "no"  # fmt: skip


def find_names(bench: Bench, _found: Mapping[str, str]) -> str:
    """Names and shapes in its state_dict, less the count of batches."""
    state = bench.subject.build(3, bench.dims).state_dict()
    state.pop("num_batches_tracked", None)
    return ", ".join(f"{name} {'x'.join(map(str, v.shape))}" for name, v in sorted(state.items())) or NONE  # fmt: skip


def find_half(bench: Bench, found: Mapping[str, str]) -> str:
    """In which dtype half-precision inputs are normalized: float32 or bfloat16.

    In train mode inputs around 300, beside float32 weights: a mean in bfloat16 is off by up to 1.
    In eval mode all in bfloat16: outputs rounded once are off to both sides, by nothing on average;
    a divisor in bfloat16 makes a whole channel too large or too small.
    """
    axes, correction = _numbers(bench, found), int(found["normalizes_by"] == "unbiased")
    if found["normalizes_by"] == UNKNOWN:
        return UNKNOWN
    x = bench.draw(1024, 3, *[2] * (bench.dims - 2))
    high = (x + 300.7).bfloat16()
    wide = high.double()
    exact = (wide - wide.mean(axes, keepdim=True)) / wide.std(axes, correction=correction, keepdim=True)  # fmt: skip
    with torch.no_grad():
        layer = bench.subject.build(3, bench.dims).train()
        set_affine(layer, torch.ones(3), torch.zeros(3))
        if (layer(high).double() - exact).abs().mean() > 0.05:
            return "bfloat16"
        layer = bench.subject.build(3, bench.dims, "bfloat16").eval()
        mean, var = (torch.tensor(v).bfloat16() for v in ([0.1, 0.2, 0.3], [0.7, 1.1, 1.3]))
        set_affine(layer, torch.ones(3), torch.zeros(3))
        set_statistics(layer, mean, var)
        y = layer(x.bfloat16()).double()
    exact = (x.bfloat16().double() - bench.beside(*mean)) / _root(bench.beside(*var), found)
    channels = [(y / exact - 1)[:, c][exact[:, c].abs() > 0.5].mean() for c in range(3)]
    off = torch.stack(channels).abs().max()
    return "bfloat16" if found["eval_uses"] == "running" and off > 3e-4 else "float32"


def find_half_output(bench: Bench, _found: Mapping[str, str]) -> str:
    """The dtype of the output of a bfloat16 input beside float32 parameters."""
    layer = bench.subject.build(3, bench.dims)
    return str(layer.train()(bench.batch().bfloat16()).dtype).removeprefix("torch.")
