"""A memory experiment as a value."""

from typing import Literal

from pydantic import Field, field_validator

from bnviz.config import MOST_IMAGES, RunConfig, known_variants
from bnviz.i18n import N_
from bnviz.nn.variants import VARIANTS
from bnviz.settings import Settings

MOMENTUM = 0.9
"""The note's weight of the new batch."""


class LeakConfig(Settings):
    """One memory experiment. Raises ConfigError through `parse`, naming field, value and remedy."""

    variants: tuple[str, ...] = Field(
        ("note", "composite", "builtin"), title=N_("Variants"),
        json_schema_extra={"choices": [*VARIANTS]},
        description=N_("The networks that step on the same batches."),
    )  # fmt: skip
    keep_graph: bool = Field(
        True, title=N_("Statistics keep their graph"),
        description=N_("As the note wrote it: running_mean = … without detach()."),
    )  # fmt: skip
    test_mode: Literal["train", "eval"] = Field(
        "train", title=N_("Test batches run in"),
        description=N_("The note's test() never calls eval(), so its test batches run in train mode."),
    )  # fmt: skip
    grad: bool = Field(
        True, title=N_("Gradients on in the test"),
        description=N_("Off: test batches run under torch.no_grad()."),
    )  # fmt: skip
    batch_size: int = Field(
        16, ge=2, le=MOST_IMAGES, title=N_("Batch size"),
        description=N_("What a test batch keeps is proportional to it."),
    )  # fmt: skip
    test_share: float = Field(
        0.25, ge=0, le=1, allow_inf_nan=False, title=N_("Share of test batches"),
        description=N_("The other steps train: forward, backward, update."),
    )  # fmt: skip
    steps: int = Field(
        1500, ge=1, le=1_000_000, title=N_("Steps"),
        description=N_("On the page the chain is kept afterwards, to look at and to try fixes on."),
    )  # fmt: skip
    budget_mib: int = Field(
        1024, ge=1, title=N_("Budget (MiB)"),
        description=N_("When tensors of this size are kept, the experiment stops and frees them."),
    )  # fmt: skip
    seed: int = Field(
        0, ge=0, lt=2**32, title=N_("Seed"),
        description=N_("Of the weights and of the order of the batches."),
    )  # fmt: skip
    dataset: Literal["fashion-mnist", "fashion-mnist-sample"] = Field(
        "fashion-mnist", title=N_("Images"),
        description=N_("The sample is in the package; all images may need a download."),
    )  # fmt: skip
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", title=N_("Device"), description=N_("auto takes a GPU if there is one.")
    )

    @field_validator("variants")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return known_variants(value)

    def run_config(self) -> RunConfig:
        """The training that its steps are taken from."""
        return RunConfig.parse(
            variants=self.variants, batch_size=self.batch_size, seed=self.seed,
            momentum=MOMENTUM, steps=self.steps, dataset=self.dataset, device=self.device,
            quirks={"keep_graph": self.keep_graph},
        )  # fmt: skip
