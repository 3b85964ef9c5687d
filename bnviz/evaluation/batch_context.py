"""The batch context of an image: what shares its batch in train mode, and what that changes."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from bnviz.errors import ConfigError, check_choice
from bnviz.evaluation.inference import logits_by_groups
from bnviz.i18n import _

NEIGHBOURS = ("shuffled", "as they come", "same class")


def context_order(labels: np.ndarray, neighbours: str, seed: int = 0) -> np.ndarray:
    """An order of the images: those that stand together share a batch in train mode.

    ``shuffled`` is a fixed permutation, ``as they come`` leaves the order, ``same class`` puts each
    class together. Raises ConfigError for another word.
    """
    check_choice("neighbours", neighbours, NEIGHBOURS)
    if neighbours == "as they come":
        return np.arange(len(labels))
    order = np.random.default_rng(seed).permutation(len(labels))
    return order if neighbours == "shuffled" else order[np.argsort(labels[order], kind="stable")]


KINDS = ("random", "same class", "another class", "copies", "black")


def neighbours_of(
    labels: np.ndarray, image: int, *, kind: str, count: int, seed: int = 0
) -> np.ndarray:
    """`count` other images (count,) to stand in a batch with `image`, drawn by `seed`.

    ``random`` takes any, ``same class`` those of its class, ``another class`` those of one class
    that is not its own, ``copies`` the image itself; for ``black`` images there are no numbers, and
    -1 stands in their place. Where there are too few, some stand there more than once. Raises
    ConfigError for another kind, an image that does not exist and a class without a second image.
    """
    check_choice("neighbours", kind, KINDS)
    if not 0 <= image < len(labels):
        raise ConfigError(
            _("image: got {value}; allowed: 0 to {last}.").format(value=image, last=len(labels) - 1)
        )
    if kind in ("copies", "black"):
        return np.full(count, image if kind == "copies" else -1)
    rng = np.random.default_rng([seed, image])
    others = _others(labels, image, kind, rng)
    if not len(others):
        said = _("neighbours: there is no {kind} image beside image {image}; take random ones.")
        raise ConfigError(said.format(kind=kind, image=image))
    return rng.choice(others, count, replace=len(others) < count)


def _others(labels: np.ndarray, image: int, kind: str, rng: np.random.Generator) -> np.ndarray:
    """The images that may stand beside `image`; of another class, that of one drawn by `rng`."""
    others = np.delete(np.arange(len(labels)), image)
    if kind == "random":
        return others
    wanted = labels[image]
    if kind == "another class":
        classes = np.unique(labels[labels != wanted])
        if not len(classes):
            return others[:0]
        wanted = rng.choice(classes)
    return others[labels[others] == wanted]


def _pictures(images: Tensor, batch: Tensor, kind: str) -> Tensor:
    """The images of a batch; where its number is -1, a black one."""
    if kind != "black":
        return images[batch]
    found = images[batch.clamp(min=0)].clone()
    found[batch < 0] = 0
    return found


@torch.no_grad()
def random_contexts(
    model: Any,
    images: Tensor,
    labels: np.ndarray,
    image: int,
    *,
    kind: str = "random",
    batch_size: int = 16,
    count: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """One image of uint8 `images` (N, 28, 28) in train mode, in `count` batch contexts.

    Each context is the image and `batch_size` - 1 neighbours of that `kind` (`neighbours_of`, seeds
    from `seed` on). One row a context: prediction (0 to 9), right, and the logits ``logit_0`` to
    ``logit_9`` of the image; the neighbours' numbers as a tuple in ``neighbours``. All contexts go
    through the network together (`logits_by_groups`). The model is put back as it was.

    Raises ConfigError as `neighbours_of`, and for a `batch_size` below 2.
    """
    if batch_size < 2:
        raise ConfigError(
            _("batch_size: got {value}; allowed: 2 or more, the image and a neighbour.").format(
                value=batch_size
            )
        )
    seeds = range(seed, seed + count)
    others = np.array(
        [neighbours_of(labels, image, kind=kind, count=batch_size - 1, seed=s) for s in seeds]
    )
    batches = np.column_stack([np.full(count, image), others])
    pictures = _pictures(images, torch.from_numpy(batches).flatten(), kind)
    logits = logits_by_groups(model, pictures, batch_size=batch_size)
    found = logits[::batch_size].float().cpu().numpy()
    frame = pd.DataFrame(found, columns=[f"logit_{k}" for k in range(found.shape[1])])
    prediction = found.argmax(1)
    frame.insert(0, "prediction", prediction)
    frame.insert(1, "right", prediction == labels[image])
    return frame.assign(neighbours=pd.Series(list(map(tuple, others.tolist()))))
