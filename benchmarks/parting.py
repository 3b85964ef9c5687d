"""When two right layers part in float32, and what parts them: real images, batch 16, lock-step.

    python benchmarks/parting.py [--seeds 0,1,2,3,4,5,6,7,8,9] [--steps 20] [--threads 1] [--json]

For each seed and hand-written layer: the largest difference of its loss from that of nn.BatchNorm
over all steps and over the steps before the first at which a maximum pooling takes its value from
another place than in the network with nn.BatchNorm. Two values that rounding alone tells apart
change places there, the gradient flows to another pixel, and the networks are two from then on.
"""

from collections.abc import Iterator

import torch
from common import parser, show, use_threads
from torch import nn
from torch.nn import functional as F

from bnviz import data
from bnviz.config import RunConfig
from bnviz.training.steps import Images, batches, build_model, build_optimizer, train_step

REFERENCE = "builtin"
VARIANTS = ("composite", "fused", REFERENCE)


class Winners:
    """Where the maximum poolings of a model took their values from in its last forward pass."""

    def __init__(self, model: nn.Module):
        self.places: list[torch.Tensor] = []
        pools = [layer for layer in model.modules() if isinstance(layer, nn.MaxPool2d)]
        for pool in pools:
            pool.register_forward_hook(self._look)
        model.register_forward_pre_hook(lambda *_: self.places.clear())

    def _look(self, pool: nn.MaxPool2d, inputs: tuple[torch.Tensor], _output: object) -> None:
        places = F.max_pool2d(
            inputs[0].detach(), pool.kernel_size, pool.stride, return_indices=True
        )
        self.places.append(places[1])


def lock_step(seed: int, steps: int, images: Images) -> Iterator[dict[str, tuple[float, bool]]]:
    """For each step and hand-written variant: difference of the loss, and whether winners differ."""
    config = RunConfig.parse(variants=VARIANTS, device="cpu", seed=seed)
    device = images.train.device
    models = {v: build_model(config, v, device) for v in VARIANTS}
    optimizers = {v: build_optimizer(config, model, device) for v, model in models.items()}
    winners = {v: Winners(model) for v, model in models.items()}
    for _, (inputs, labels) in zip(range(steps), batches(images, config), strict=False):
        losses = {v: train_step(models[v], optimizers[v], inputs, labels).item() for v in VARIANTS}
        yield {
            v: (
                abs(losses[v] - losses[REFERENCE]),
                any(
                    not torch.equal(*pair)
                    for pair in zip(winners[v].places, winners[REFERENCE].places, strict=True)
                ),
            )
            for v in VARIANTS
            if v != REFERENCE
        }


def measure(seed: int, steps: int, images: Images) -> list[dict[str, object]]:
    history = list(lock_step(seed, steps, images))
    rows = []
    for variant in history[0]:
        differences, switched = zip(*(step[variant] for step in history), strict=True)
        first = switched.index(True) + 1 if any(switched) else None
        rows.append(
            {
                "seed": seed,
                "variant": variant,
                "largest difference": max(differences),
                "first other winner at step": first or "none",
                "largest up to that step": max(differences[:first]),
            }
        )
    return rows


def main(arguments: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--seeds", default="0,1,2,3,4,5,6,7,8,9", help="separated by commas")
    options.add_argument("--steps", type=int, default=20)
    options.add_argument("--threads", type=int, default=1)
    args = options.parse_args(arguments)
    use_threads(args.threads)
    images = Images(data.load("fashion-mnist"), torch.device("cpu"))
    rows = [row for seed in args.seeds.split(",") for row in measure(int(seed), args.steps, images)]
    show(rows, args.json)


if __name__ == "__main__":
    main()
