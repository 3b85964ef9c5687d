"""What each tensor that a LeNet saves for its backward pass is for, in one sentence a tensor."""

from collections.abc import Mapping

from bnviz.i18n import N_

Purposes = dict[tuple[str, str], str]
"""By operation and name of the saved tensor."""


def _of(operation: str, purposes: Mapping[str, str]) -> Purposes:
    """The purposes of the tensors that one operation saves."""
    return {(operation, saved): purpose for saved, purpose in purposes.items()}


_WRITTEN_OUT: Purposes = {
    ("PowBackward0", "self"): N_(
        "x − mean, squared for the variance: the slope of a square is twice its input."
    ),
    ("SqrtBackward0", "result"): N_(
        "The standard deviation √(var + eps): the slope of a root is one over twice the root."
    ),
    ("DivBackward0", "self"): N_(
        "x − mean once more, the numerator: the gradient of the standard deviation needs it."
    ),
    ("DivBackward0", "other"): N_(
        "The standard deviation, the denominator: the gradient of x − mean is divided by it."
    ),
}
_X_HAT = N_("x̂, the normalized values: multiplied with the gradient and summed, they give γ's.")
_GAMMA = N_("γ, the layer's own weight: the gradient of x̂ is multiplied by it.")
_SCALES = N_("γ, the layer's own weight: the gradient of x is scaled by it.")
_MEAN = N_("The batch's mean, one number a channel: taken off x to get x̂ again.")
_RSTD = N_("1/√(var + eps), one number a channel: scales x − mean to x̂, and the gradient of x.")
_FUSED = {
    "saved_tensors[0]": N_(
        "x, the layer's input: x̂ is worked out from it again, so it need not be kept."
    ),
    "saved_tensors[1]": _MEAN,
    "saved_tensors[2]": _RSTD,
    "saved_tensors[3]": _SCALES,
}
_BUILTIN = {
    "input": N_("x, the layer's input: torch works x̂ out from it again, so it need not be kept."),
    "weight": _SCALES,
    "running_mean": N_("The layer's running mean: used in eval mode only, kept without a copy."),
    "running_var": N_("The layer's running variance: used in eval mode only, kept without a copy."),
    "result1": _MEAN,
    "result2": _RSTD,
}
PURPOSES: dict[str, Purposes] = {
    "composite": {**_WRITTEN_OUT, **_of("MulBackward0", {"self": _X_HAT, "other": _GAMMA})},
    "note": {**_WRITTEN_OUT, **_of("MulBackward0", {"self": _GAMMA, "other": _X_HAT})},
    "fused": _of("_NormalizeBackward", _FUSED),
    "builtin": _of("NativeBatchNormBackward0", _BUILTIN),
    "none": {},
}
"""By variant, then by operation and name of the tensor that its BN layers save (CPU, train mode)."""
COMMON_PURPOSES: Purposes = {
    ("ConvolutionBackward0", "input"): N_(
        "The layer's input: correlated with the gradient, it gives the filters'."
    ),
    ("ConvolutionBackward0", "weight"): N_("The filters: they carry the gradient to the input."),
    ("AddmmBackward0", "mat1"): N_(
        "The layer's input: multiplied with the gradient, it gives the weights'."
    ),
    ("AddmmBackward0", "mat2"): N_("The weights: they carry the gradient to the input."),
    ("SigmoidBackward0", "result"): N_("The output s: the slope of a sigmoid is s (1 − s)."),
    ("MaxPool2DWithIndicesBackward0", "self"): N_("The input: its shape is the gradient's."),
    ("MaxPool2DWithIndicesBackward0", "result1"): N_(
        "Where each maximum stood, as 8-byte integers: there the gradient goes."
    ),
    ("LogSoftmaxBackward0", "result"): N_("Log-probabilities: their softmax is in the gradient."),
    ("NllLossBackward0", "self"): N_("Log-probabilities: their shape is the gradient's."),
    ("NllLossBackward0", "target"): N_("The labels: at these places the gradient goes in."),
    ("NllLossBackward0", "total_weight"): N_("How many images the mean divides by."),
}
"""The same for the other layers of a LeNet with sigmoids, and the loss."""


def purpose(variant: str, operation: str, saved: str) -> str | None:
    """What a tensor that a LeNet with BN layers of `variant` saves is for, to be translated.

    `operation` and `saved` as in `saved_for_backward`; None for those that it does not save on a CPU.
    """
    return {**COMMON_PURPOSES, **PURPOSES.get(variant, {})}.get((operation, saved))
