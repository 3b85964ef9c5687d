"""Test images as a network may meet them later: darker, flatter, noisy, inverted, turned.

Train mode normalizes by what it sees and so corrects part of such a change; eval mode expects the
statistics of the training images. Normalizing by the batch of changed images is a known remedy:
Schneider et al. 2020, https://arxiv.org/abs/2006.16971; Nado et al. 2020,
https://arxiv.org/abs/2006.10963.
"""

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from bnviz.errors import check_choice, check_share
from bnviz.evaluation.chance import paired_difference
from bnviz.evaluation.modes import compare_modes, paired_counts

SHIFTS = ("brightness", "contrast", "noise", "inverted", "rotated")
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)


def shifted(images: Tensor, kind: str, strength: float, *, seed: int = 0) -> Tensor:
    """Changed copies of uint8 `images` (N, 28, 28), unchanged for a `strength` of 0.

    At strength 1 ``brightness`` leaves a fifth of the light, ``contrast`` a tenth of the contrast;
    ``noise`` adds normal noise with a standard deviation of half the range, drawn by `seed`;
    ``inverted`` is the negative, and less is a mixture; ``rotated`` turns by 90 degrees.

    Raises ConfigError for another kind and a strength outside 0 to 1.
    """
    check_choice("shift", kind, SHIFTS)
    check_share("strength", strength)
    if kind == "noise":
        generator = torch.Generator().manual_seed(seed)
        added = torch.randn(images.shape, generator=generator) * (127.5 * strength)
        return (images.float() + added).round().clamp(0, 255).to(torch.uint8)
    if kind == "inverted":
        return ((1 - strength) * images.float() + strength * (255 - images.float())).round().byte()
    return _with_torchvision(images[:, None], kind, strength)[:, 0]


def _with_torchvision(pictures: Tensor, kind: str, strength: float) -> Tensor:
    """The changes of `shifted` that torchvision knows, of `pictures` (N, 1, 28, 28)."""
    from torchvision.transforms.v2 import InterpolationMode, functional

    if kind == "brightness":
        return functional.adjust_brightness(pictures, 1 - 0.8 * strength)
    if kind == "contrast":
        return functional.adjust_contrast(pictures, 1 - 0.9 * strength)
    return functional.rotate(pictures, 90 * strength, interpolation=InterpolationMode.BILINEAR)


def modes_under_shift(
    model: Any,
    images: Tensor,
    labels: np.ndarray,
    *,
    kind: str,
    batch_size: int,
    order: np.ndarray,
    **eval_options: Any,
) -> pd.DataFrame:
    """Accuracy of both modes of one kind of change, over STRENGTHS.

    Columns kind, strength, train, eval (accuracies, 0 to 1), ahead (train less eval, -1 to 1), and
    clear, whether that is more than chance (`bnviz.evaluation.chance`). `images`, `batch_size`,
    `order` and `eval_options` as in `bnviz.evaluation.modes.compare_modes`. The model is put back
    as it was. Raises ConfigError as `shifted` and `compare_modes`.
    """
    rows = []
    for strength in STRENGTHS:
        changed = shifted(images, kind, strength)
        frame = compare_modes(
            model, changed, labels, batch_size=batch_size, order=order, **eval_options
        )
        pairs = paired_counts(frame)
        ahead = paired_difference(pairs["only_eval"], pairs["only_train"], len(labels))
        right = [(pairs["both"] + pairs[o]) / len(labels) for o in ("only_train", "only_eval")]
        rows.append((kind, strength, *right, float(ahead.value), bool(ahead.clear)))
    return pd.DataFrame(rows, columns=["kind", "strength", "train", "eval", "ahead", "clear"])
