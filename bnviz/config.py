"""The whole run as a value: `RunConfig`, to and from JSON, from an address and the command line."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from bnviz.errors import ConfigError
from bnviz.i18n import N_, _
from bnviz.nn.variants import VARIANTS

EARLY_EVALUATIONS = (20, 100)
"""Steps after which there is a first point on a curve and a checkpoint soon after the start."""
MOST_IMAGES = 4096
"""Images of one batch, at most."""
BOUNDED = {
    (): N_("{kind}"),
    ("ge",): N_("{kind} at least {ge}"),
    ("gt",): N_("{kind} more than {gt}"),
    ("le",): N_("{kind} at most {le}"),
    ("lt",): N_("{kind} less than {lt}"),
    ("ge", "le"): N_("{kind} at least {ge} and at most {le}"),
    ("ge", "lt"): N_("{kind} at least {ge} and less than {lt}"),
    ("gt", "le"): N_("{kind} more than {gt} and at most {le}"),
    ("gt", "lt"): N_("{kind} more than {gt} and less than {lt}"),
}
"""What a number may be, by the bounds that its field has."""


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


class Settings(BaseModel):
    """Base of what is set as a whole: it never changes, and a bad field is named with the remedy."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def parse(cls, **fields: Any) -> Self:
        """Validate `fields`. Raises ConfigError with one line that names field, value, remedy."""
        try:
            return cls(**fields)
        except ValidationError as error:
            raise ConfigError(_explain(cls, error)) from None


class RunConfig(Settings):
    """One run: data, variants, training, what is observed and how often.

    Every field has a default; give `steps` or `epochs`, not both. Raises ConfigError through
    `parse` and `from_json`, naming the field, the value and what is allowed.
    """

    dataset: Literal["fashion-mnist", "fashion-mnist-sample"] = "fashion-mnist"
    variants: tuple[str, ...] = ("composite", "builtin")
    activation: Literal["sigmoid", "relu"] = "sigmoid"
    batch_size: Annotated[int, Field(ge=1, le=MOST_IMAGES)] = 16
    epochs: Annotated[int, Field(ge=1, le=1000)] | None = None
    steps: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    lr: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] = 0.01
    optimizer: Literal["adam", "sgd"] = "adam"
    momentum: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = 0.1
    """Weight of the new batch's statistics, as in PyTorch; None is the cumulative average."""
    eps: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 1e-5
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    dtype: Literal["float32", "float64"] = "float32"
    stages_every: Annotated[int, Field(ge=1)] = 10
    memory_every: Annotated[int, Field(ge=1)] = 10
    eval_every: Annotated[int, Field(ge=1)] = 500
    eval_images: Annotated[int, Field(ge=1, le=10_000)] = 500
    checkpoint_every: Annotated[int, Field(ge=1)] = 500
    observe_budget: Annotated[float, Field(gt=0, le=1)] = 0.05
    """Share of the time that observing may take before cadences stretch."""
    memory_limit_mib: Annotated[int, Field(ge=1)] = 1024
    gradients: bool = False
    """Record gradients and updates where the activations are probed."""
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

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read what `model_dump_json` wrote. Raises ConfigError for anything else."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise ConfigError(_explain(cls, error)) from None


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


def _explain(model: type[BaseModel], error: ValidationError) -> str:
    """The first problem of `error` as one line: field, value, what is allowed."""
    problem = error.errors()[0]
    path = [str(part) for part in problem["loc"] if isinstance(part, str)]
    if problem["type"] == "value_error":
        text = str(problem["ctx"]["error"])
        return f"{path[0]}: {text}" if path else text
    if problem["type"] == "json_invalid":
        return _("The configuration is not JSON: {reason}.").format(reason=problem["msg"])
    name = path[0] if path else "config"
    if problem["type"] == "extra_forbidden":
        known = list((Quirks if name == "quirks" else model).model_fields)
        near = difflib.get_close_matches(path[-1], known, n=1)
        said = (
            _("{name}: no such setting; allowed: {allowed}; did you mean {near!r}?")
            if near
            else _("{name}: no such setting; allowed: {allowed}.")
        )
        return said.format(name=path[-1], allowed=", ".join(known), near=next(iter(near), None))
    return _("{name}: got {value!r}; allowed: {allowed}.").format(
        name=name,
        value=problem["input"],
        allowed=allowed(name, model) if path else problem["msg"],
    )


def allowed(name: str, model: type[BaseModel] = RunConfig) -> str:
    """What the field `name` of `model` takes, in words, read from its own constraints."""
    field = model.model_fields[name]
    optional = type(None) in get_args(field.annotation)
    annotation, metadata = field.annotation, list(field.metadata)
    if optional:
        annotation = get_args(field.annotation)[0]
        if get_args(annotation):
            annotation, *metadata = get_args(annotation)
            metadata = [m for info in metadata for m in getattr(info, "metadata", [info])]
    choices = get_args(annotation)
    if choices and all(isinstance(c, str) for c in choices):
        return ", ".join(choices)
    if annotation is bool:
        return _("true or false")
    bounds = {
        key: getattr(m, key)
        for m in metadata
        for key in ("ge", "gt", "le", "lt")
        if hasattr(m, key)
    }
    kind = {int: _("a whole number"), float: _("a number")}.get(annotation, str(annotation))  # type: ignore[arg-type]
    written = {k: f"{v:g}" if isinstance(v, float) else str(v) for k, v in bounds.items()}
    text = _(BOUNDED[tuple(sorted(bounds))]).format(kind=kind, **written)
    return _("{allowed}, or none").format(allowed=text) if optional else text


def whole(name: str, text: str) -> int:
    """`text` as a whole number. Raises ConfigError naming the option for anything else."""
    try:
        return int(text)
    except ValueError:
        raise ConfigError(
            _("{name}: got {value!r}; allowed: a whole number.").format(name=name, value=text)
        ) from None


def whole_numbers(name: str, text: str) -> tuple[int, ...]:
    """Numbers separated by commas. Raises ConfigError as `whole`."""
    return tuple(whole(name, word.strip()) for word in text.split(","))


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
