"""What a forward pass keeps for backward and what one training step takes, in bytes.

    python benchmarks/saved.py [--json]

From the hooks for saved tensors and from the allocator's events (`bnviz.census.saved_tensors`), on real
images: the same in each run of one torch version; the peak moves a little with torch's threads.
"""

import torch
from common import parser, show

from bnviz import data
from bnviz.census.saved_tensors import peak_of_a_step, saved_for_backward
from bnviz.config import RunConfig
from bnviz.evaluation.inference import to_input
from bnviz.nn.variants import VARIANTS
from bnviz.training.steps import build_model, build_optimizer

BATCH_SIZES = (16, 256)


def main():
    options = parser(__doc__).parse_args()
    show([row(variant, size) for size in BATCH_SIZES for variant in VARIANTS], options.json)


def row(variant: str, batch_size: int) -> dict[str, object]:
    images, cpu = data.load("fashion-mnist"), torch.device("cpu")
    config = RunConfig(batch_size=batch_size, device="cpu")
    inputs = to_input(torch.tensor(images.train_images[:batch_size]), torch.float32)
    labels = torch.tensor(images.train_labels[:batch_size])
    model = build_model(config, variant, cpu)
    frame = saved_for_backward(model, inputs, labels)
    step = peak_of_a_step(model, build_optimizer(config, model, cpu), inputs, labels)
    return {
        "batch": batch_size,
        "variant": variant,
        "kept": int(frame["bytes"].sum()),
        "made by the pass": int(frame["bytes"][frame["kind"] == "made"].sum()),
        "peak of a step": step.peak,
        "in": step.peak_operation,
        "at its end": step.end,
    }


if __name__ == "__main__":
    main()
