"""A right batch normalization, and the same with one fault each."""

import torch
from torch import nn


class Right(nn.Module):
    """Written from scratch; what is wrong in the others is one line each."""

    axes = (0, 2, 3)
    correction = 0
    start = 1.0

    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.keep("running_mean", torch.zeros(num_features))
        self.keep("running_var", torch.full((num_features,), self.start))

    def keep(self, name, value):
        self.register_buffer(name, value)

    def forward(self, x):
        self.refuse(x)
        wide = self.widen(x)
        if self.uses_batch():
            mean, var = self.statistics(wide)
            self.average(wide)
        else:
            mean, var = (
                self.widen(v).view(1, -1, 1, 1) for v in (self.running_mean, self.running_var)
            )
        y = self.normalize(wide, mean, var)
        y = self.scale(y, self.weight.view(1, -1, 1, 1), self.bias.view(1, -1, 1, 1))
        return self.narrow(y, x)

    def refuse(self, x):
        if self.training and x.numel() == x.shape[1]:
            raise ValueError("one value per channel")

    def widen(self, x):
        return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x

    def uses_batch(self):
        return self.training

    def statistics(self, x):
        return x.mean(self.axes, keepdim=True), self.variance(x)

    def variance(self, x):
        return x.var(self.axes, correction=self.correction, keepdim=True)

    def average(self, x):
        if not self.training:
            return
        mean, var = self.kept(x)
        self.running_mean = self.mix(self.running_mean, mean).to(self.running_mean.dtype)
        self.running_var = self.mix(self.running_var, var).to(self.running_var.dtype)

    def kept(self, x):
        return x.mean((0, 2, 3)).detach(), x.var((0, 2, 3)).detach()

    def mix(self, old, new):
        return (1 - self.momentum) * old + self.momentum * new

    def normalize(self, x, mean, var):
        return (x - mean) / torch.sqrt(var + self.eps)

    def scale(self, y, weight, bias):
        return weight * y + bias

    def narrow(self, y, x):
        return y.to(x.dtype)


class NormalizesUnbiased(Right):
    correction = 1


class EpsOutside(Right):
    def normalize(self, x, mean, var):
        return (x - mean) / (torch.sqrt(var) + self.eps)


class EpsAbsent(Right):
    def normalize(self, x, mean, var):
        return (x - mean) / torch.sqrt(var)


class OtherEps(Right):
    def __init__(self, num_features, eps=1e-3, momentum=0.1):
        super().__init__(num_features, eps, momentum)


class MomentumTurned(Right):
    def mix(self, old, new):
        return self.momentum * old + (1 - self.momentum) * new


class MomentumTurnedAndFixed(Right):
    def __init__(self, num_features):
        super().__init__(num_features)
        del self.momentum

    def mix(self, old, new):
        return 0.1 * old + 0.9 * new


class OtherMomentum(Right):
    def __init__(self, num_features, eps=1e-5, momentum=0.01):
        super().__init__(num_features, eps, momentum)


class Detached(Right):
    def statistics(self, x):
        mean, var = super().statistics(x)
        return mean.detach(), var.detach()


class MeanDetached(Right):
    def statistics(self, x):
        mean, var = super().statistics(x)
        return mean.detach(), var


class VarianceDetached(Right):
    def statistics(self, x):
        mean, var = super().statistics(x)
        return mean, var.detach()


class PerSample(Right):
    axes = (1, 2, 3)


class PerSampleAndChannel(Right):
    axes = (2, 3)


class PerPosition(Right):
    axes = (0,)


class Attributes(Right):
    def keep(self, name, value):
        setattr(self, name, value)


class KeepsBiased(Right):
    def kept(self, x):
        return x.mean((0, 2, 3)).detach(), x.var((0, 2, 3), correction=0).detach()


class KeepsDeviations(Right):
    def kept(self, x):
        return x.mean((0, 2, 3)).detach(), x.std((0, 2, 3)).detach()


class KeepsGraph(Right):
    def kept(self, x):
        return x.mean((0, 2, 3)), x.var((0, 2, 3))


class StartsAtZero(Right):
    start = 0.0


class NeverAverages(Right):
    def average(self, x):
        pass


class EvalUsesBatch(Right):
    def uses_batch(self):
        return True


class EvalMoves(Right):
    def average(self, x):
        mean, var = self.kept(x)
        self.running_mean = self.mix(self.running_mean, mean)
        self.running_var = self.mix(self.running_var, var)

    def forward(self, x):
        y = super().forward(x)
        if not self.training:
            self.average(self.widen(x))
        return y


class Cancels(Right):
    def variance(self, x):
        mean = x.mean(self.axes, keepdim=True)
        return (x * x).mean(self.axes, keepdim=True) - mean * mean


class ShiftsFirst(Right):
    def scale(self, y, weight, bias):
        return weight * (y + bias)


class NoAffine(Right):
    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        super().__init__(num_features, eps, momentum)
        ones, zeros = torch.ones(num_features), torch.zeros(num_features)
        del self.weight, self.bias
        self.register_buffer("weight", ones, persistent=False)
        self.register_buffer("bias", zeros, persistent=False)


class ScaleStartsAtZero(Right):
    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        super().__init__(num_features, eps, momentum)
        nn.init.zeros_(self.weight)


class IgnoresNone(Right):
    def mix(self, old, new):
        share = 0.1 if self.momentum is None else self.momentum
        return (1 - share) * old + share * new


class TakesOneValue(Right):
    def refuse(self, x):
        pass

    def kept(self, x):
        count = x.numel() // x.shape[1]
        biased = x.var((0, 2, 3), correction=0)
        return x.mean((0, 2, 3)).detach(), biased.detach() * count / max(count - 1, 1)


class StaysInHalf(Right):
    def widen(self, x):
        return x

    def narrow(self, y, x):
        return y.to(x.dtype)


class EvalInHalf(Right):
    def widen(self, x):
        return super().widen(x) if x.dim() > 1 else x


class WidensOutput(Right):
    def narrow(self, y, x):
        return y


class Identity(Right):
    def forward(self, x):
        return x * 1


WRONG = {
    NormalizesUnbiased: "normalizes_by_unbiased",
    EpsOutside: "eps_outside_root",
    EpsAbsent: "eps_absent",
    OtherEps: "eps_default",
    MomentumTurned: "momentum_weighs_old",
    MomentumTurnedAndFixed: "momentum_weighs_old",
    OtherMomentum: "momentum_default",
    Detached: "gradient_ignores_statistics",
    MeanDetached: "gradient_ignores_mean",
    VarianceDetached: "gradient_ignores_variance",
    PerSample: "wrong_axes",
    PerSampleAndChannel: "wrong_axes",
    PerPosition: "wrong_axes",
    Attributes: "statistics_not_buffers",
    KeepsBiased: "variance_kept_biased",
    KeepsDeviations: "deviation_kept",
    KeepsGraph: "graph_kept",
    StartsAtZero: "starts_at_zero",
    NeverAverages: "statistics_never_move",
    EvalUsesBatch: "eval_uses_batch",
    EvalMoves: "eval_moves_statistics",
    Cancels: "variance_cancels",
    ShiftsFirst: "affine_differs",
    NoAffine: "affine_missing",
    ScaleStartsAtZero: "scale_start",
    IgnoresNone: "momentum_none_differs",
    TakesOneValue: "single_value_taken",
    StaysInHalf: "half_in_half",
    EvalInHalf: "half_in_half",
    WidensOutput: "half_output",
}
