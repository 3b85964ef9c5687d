"""The whole run as a value: `RunConfig`, to and from JSON, from an address and the command line."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from bnviz.data import TEST_IMAGES
from bnviz.errors import ConfigError
from bnviz.i18n import N_, _
from bnviz.nn.variants import VARIANTS
from bnviz.settings import Settings

EARLY_EVALUATIONS = (20, 100)
"""Steps after which there is a first point on a curve and a checkpoint soon after the start."""
LIVE_SETTINGS = ("lr", "momentum", "eps")
"""Settings that can be changed while a run trains."""
MOST_IMAGES = 4096
"""Images of one batch, at most."""


def known_variants(value: tuple[str, ...]) -> tuple[str, ...]:
    """`value`, if it is one or more of VARIANTS, each once. Raises ValueError for anything else."""
    unknown = [v for v in value if v not in VARIANTS]
    if unknown:
        near = difflib.get_close_matches(unknown[0], VARIANTS, n=1)
        said = (
            _("got {value!r}; allowed: {allowed}; did you mean {near!r}?")
            if near
            else _("got {value!r}; allowed: {allowed}.")
        )
        raise ValueError(
            said.format(value=unknown[0], allowed=", ".join(VARIANTS), near=next(iter(near), None))
        )
    if not value or len(set(value)) < len(value):
        raise ValueError(
            _("got {value!r}; allowed: one or more of {allowed}, each once.").format(
                value=",".join(value), allowed=", ".join(VARIANTS)
            )
        )
    return value


class Quirks(BaseModel):
    """The oddities of the note's layer and loop, each a switch; they act on the variant `note`.

    On is what the note wrote, off is the correct behaviour.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    keep_graph: bool = True
    """The running statistics keep their autograd graph."""
    zero_running_var: bool = True
    """`running_var` starts at 0 instead of 1."""
    conv_shift_one: bool = True
    """The shift (beta) of the convolutional layers starts at 1 instead of 0."""
    plain_attributes: bool = True
    """The running statistics are attributes instead of buffers."""
    biased_running_var: bool = True
    """`running_var` averages the biased instead of the unbiased variance."""
    chained_mean: bool = True
    """Means are taken one dimension after the other."""
    test_in_train_mode: bool = True
    """`test()` never calls `eval()`: it normalises by the batch."""
    test_moves_statistics: bool = True
    """Test passes in train mode overwrite the running statistics; off, they are put back."""
    test_with_grad: bool = True
    """`test()` never uses `no_grad()`: each test batch builds a graph."""
    loss_divided_twice: bool = True
    """The printed loss is divided by the batch size once too often."""
    accuracy_over_full_batches: bool = True
    """The printed accuracy divides by batches times batch size, also when the last is smaller."""

    def layer_options(self) -> dict[str, bool]:
        """Those of the layer, as keyword arguments of `bnviz.nn.NoteBatchNorm`."""
        return self.model_dump(include=LAYER_QUIRKS)


LAYER_QUIRKS = {
    "keep_graph", "zero_running_var", "conv_shift_one", "plain_attributes", "biased_running_var",
    "chained_mean",
}  # fmt: skip
"""The quirks that the note's layer has; the others are those of its loop."""


class RunConfig(Settings):
    """One run: data, variants, training, what is observed and how often.

    Every field has a default; give `steps` or `epochs`, not both. Raises ConfigError through
    `parse` and `from_json`, naming the field, the value and what is allowed.
    """

    dataset: Literal["fashion-mnist", "fashion-mnist-sample"] = Field(
        "fashion-mnist", title=N_("Images"),
        description=N_("The sample is in the package and trains faster; all images may need a download."),
    )  # fmt: skip
    variants: tuple[str, ...] = Field(
        ("composite", "builtin"), title=N_("Variants"), json_schema_extra={"choices": [*VARIANTS]},
        description=N_("The networks that train side by side, named by their norm layer."),
    )  # fmt: skip
    activation: Literal["sigmoid", "relu"] = Field(
        "sigmoid", title=N_("Activation"), description=N_("The note uses sigmoid.")
    )
    batch_size: int = Field(
        16, ge=1, le=MOST_IMAGES, title=N_("Batch size"),
        description=N_("Images that share one mean and variance. Needs a new run."),
    )  # fmt: skip
    epochs: int | None = Field(
        None, ge=1, le=1000, title=N_("Epochs"),
        description=N_("Passes over the training images; one where neither epochs nor steps are given."),
    )  # fmt: skip
    steps: int | None = Field(
        None, ge=1, le=10_000_000, title=N_("Steps"),
        description=N_("Optimizer steps instead of epochs."),
    )  # fmt: skip
    lr: float = Field(
        0.01, gt=0, le=100, allow_inf_nan=False, title=N_("Learning rate"),
        description=N_("The note's own, with Adam, is the default."),
    )  # fmt: skip
    optimizer: Literal["adam", "sgd"] = Field(
        "adam", title=N_("Optimizer"), description=N_("Fused where torch has it.")
    )
    momentum: float | None = Field(
        0.1, ge=0, le=1, allow_inf_nan=False, title=N_("momentum m (weight of the new batch)"),
        description=N_("Weight of the new batch's statistics, as in PyTorch; none is the cumulative average."),
    )  # fmt: skip
    eps: float = Field(
        1e-5, gt=0, le=1, allow_inf_nan=False, title=N_("eps ε (added to the variance)"),
        description=N_("Keeps the division by the standard deviation safe."),
    )  # fmt: skip
    seed: int = Field(
        0, ge=0, lt=2**32, title=N_("Seed"),
        description=N_("Of the weights and of the order of the batches."),
    )  # fmt: skip
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", title=N_("Device"), description=N_("auto takes a GPU if there is one.")
    )
    dtype: Literal["float32", "float64"] = Field(
        "float32", title=N_("Precision"), description=N_("Of weights, images and statistics.")
    )
    stages_every: int = Field(
        10, ge=1, title=N_("Steps between two records of activations"),
        description=N_("Histograms before and after BN are drawn from them."),
    )  # fmt: skip
    memory_every: int = Field(
        10, ge=1, title=N_("Steps between two records of memory"),
        description=N_("What the statistics keep alive, and what the process takes."),
    )  # fmt: skip
    eval_every: int = Field(
        500, ge=1, title=N_("Steps between evaluations"),
        description=N_("Each evaluation takes test images through both modes; all of them at the end."),
    )  # fmt: skip
    eval_images: int = Field(
        500, ge=1, le=TEST_IMAGES, title=N_("Test images of an evaluation"),
        description=N_("The first ones of the test set."),
    )  # fmt: skip
    checkpoint_every: int = Field(
        500, ge=1, title=N_("Steps between checkpoints"), description=N_("Weights that are stored.")
    )
    observe_budget: float = Field(
        0.05, gt=0, le=1, title=N_("Budget of recording"),
        description=N_("Share of the time that recording may take before it becomes rarer."),
    )  # fmt: skip
    memory_limit_mib: int = Field(
        1024, ge=1, title=N_("Memory limit (MiB)"),
        description=N_("A variant whose statistics keep more than this alive is stopped."),
    )  # fmt: skip
    gradients: bool = Field(
        False, title=N_("Record gradients"),
        description=N_("Gradients and updates of each layer, at the steps where activations are recorded."),
    )  # fmt: skip
    quirks: Quirks = Quirks()

    @field_validator("variants", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(v.strip() for v in value.split(",")) if isinstance(value, str) else value

    @field_validator("variants")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return known_variants(value)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.epochs is not None and self.steps is not None:
            raise ValueError(
                _("epochs, steps: got both ({epochs} and {steps}); allowed: one of them.").format(
                    epochs=self.epochs, steps=self.steps
                )
            )
        refuses = [v for v in self.variants if VARIANTS[v].agrees]
        if self.batch_size == 1 and refuses:
            raise ValueError(
                _(
                    "batch_size: got 1, which gives the fully connected layers one value per "
                    "channel: its variance is 0 and {variant} refuses it in train mode. "
                    "Allowed: 2 to {most}, or only the variants {others}."
                ).format(
                    variant=refuses[0],
                    most=MOST_IMAGES,
                    others=", ".join(v for v in VARIANTS if not VARIANTS[v].agrees),
                )
            )
        if self.momentum is None and "note" in self.variants:
            raise ValueError(
                _(
                    "momentum: got none (cumulative average), which the note's layer does not "
                    "know; allowed: 0 to 1, or leave the variant note out."
                )
            )
        return self

    def total_steps(self, train_images: int) -> int:
        """Optimizer steps of the run on `train_images` images; partial last batches are left out.

        Raises ConfigError when a single batch is larger than the data set.
        """
        if self.batch_size > train_images:
            raise ConfigError(
                _(
                    "batch_size: got {batch}, but the data set has {images} training images; "
                    "allowed: up to {images}."
                ).format(batch=self.batch_size, images=train_images)
            )
        return self.steps or (self.epochs or 1) * (train_images // self.batch_size)


def good_fields(query: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """The fields of a link whose values are allowed, each for itself, and a message for the others.

    Parameters that are no field are left alone; ``none`` is None where a field takes it.

    Whether they go together is not asked here: a control may take a value that needs another one.
    """
    fields, notes = {}, []
    for name, text in query.items():
        if name not in RunConfig.model_fields or name == "quirks":
            continue
        value = None if text == "none" and name in ("momentum", "epochs", "steps") else text
        try:
            RunConfig.parse(**{"variants": "none", name: value})
        except ConfigError as error:
            notes.append(str(error))
        else:
            fields[name] = value
    return fields, notes


class Preset(BaseModel):
    """A named starting point: what it is called, what it shows, which settings it changes."""

    model_config = ConfigDict(frozen=True)

    label: str
    sentence: str
    settings: dict[str, Any]

    def config(self, **changes: Any) -> RunConfig:
        """The preset's RunConfig with `changes` on top. Raises ConfigError as `RunConfig.parse`."""
        return RunConfig.parse(**{**self.settings, **changes})


PRESETS: dict[str, Preset] = {
    "corrected": Preset(
        label=N_("Hand-written and built-in, corrected"),
        sentence=N_("BatchNorm written out in torch operations beside nn.BatchNorm, same batches."),
        settings={"variants": ("composite", "builtin"), "epochs": 1},
    ),
    "note": Preset(
        label=N_("As the note wrote it"),
        sentence=N_(
            "The learner's layer and test loop with all their quirks beside nn.BatchNorm: "
            "watch the memory."
        ),
        settings={
            "variants": ("note", "builtin"),
            "momentum": 0.9,
            "epochs": 1,
            "eval_every": 250,
        },
    ),
    "without": Preset(
        label=N_("With and without BN"),
        sentence=N_("nn.BatchNorm beside the same LeNet without any normalization."),
        settings={"variants": ("builtin", "none"), "epochs": 1},
    ),
}
# New-value weights with a name, for marks on the momentum slider.
NAMED_MOMENTA: Sequence[tuple[str, float]] = (
    (N_("TensorFlow"), 0.01),
    (N_("PyTorch"), 0.1),
    (N_("the note"), 0.9),
)
NAMED_EPS: Sequence[tuple[str, float]] = ((N_("PyTorch"), 1e-5), (N_("TensorFlow"), 1e-3))
