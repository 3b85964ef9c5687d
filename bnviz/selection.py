"""What a reader looks at, as one frozen value: shared by all pages, part of the address.

>>> Selection.from_query({"layer": "fc1", "channels": "0,3", "step": "none"}).channels
(0, 3)
>>> Selection(layer="fc1", momentum=0.9).to_query(("layer", "momentum", "eps"))
{'layer': 'fc1', 'momentum': '0.9', 'eps': '1e-05'}
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator

from bnviz.errors import ConfigError
from bnviz.i18n import _
from bnviz.records.schema import LAYERS, STAGES
from bnviz.settings import Settings

RECORDED = "recorded"
MOST_CHANNELS = 3
SLIDER_MOMENTA = (0.001, 0.003, 0.01, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.99, 1.0)
"""The values of the momentum slider."""
SLIDER_EPS = (1e-8, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""The values of the eps slider."""
Stage = Literal["input", "normalized", "scaled", "activation"]


class Selection(Settings):
    """Run, variant, layer, channels, step, momentum and eps, and how the figures show them.

    Raises ConfigError through `parse` and `from_query`, naming the field, the value and what is
    allowed.
    """

    run: str = RECORDED
    """The id of a run."""
    variant: str = ""
    """Where a figure shows one variant; empty is the run's last with BN."""
    layer: Literal["conv1", "conv2", "fc1", "fc2"] = "conv2"
    """A BN layer, from the first convolution to the last hidden layer."""
    channels: Annotated[
        tuple[Annotated[int, Field(ge=0)], ...], Field(max_length=MOST_CHANNELS)
    ] = ()
    """Channels that the figures follow, counted from 0; a layer with fewer shows its last."""
    step: Annotated[int, Field(ge=0)] | None = None
    """A recorded step; none is the newest."""
    momentum: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.1
    """Weight of the new batch in running = (1 - m) running + m batch, as in PyTorch."""
    eps: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 1e-5
    """Added to the variance."""
    stage: Stage = "input"
    """Where in a BN layer values are taken: its input, normalized, scaled, or after the activation."""
    shown_as: Literal["heatmap", "bands", "ridges"] = "heatmap"
    """Distributions over the steps side by side, laid over each other, or some behind each other."""
    one_axis: bool = True
    """Whether the stages before and after BN share one axis."""
    unbiased: bool = True
    """Whether variances are divided by n - 1."""
    statistic: Literal["running_mean", "running_var"] = "running_mean"
    """Which of a layer's running statistics."""
    batch: Annotated[int, Field(ge=0)] | None = None
    """The first node of a batch in the chain of the memory experiment; none is the newest batch."""
    images: Annotated[int, Field(ge=1)] = 16_000
    """Images that each batch size of the momentum map is trained on."""

    @field_validator("channels", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return tuple(word.strip() for word in value.split(",") if word.strip())

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> Self:
        """From the parameters of an address, of which ``none`` stands for no value.

        Raises ConfigError for a parameter that is no field and for a value that is not allowed.
        """
        optional = ("step", "batch")
        return cls.parse(**{
            name: None if value == "none" and name in optional else value
            for name, value in query.items()
        })  # fmt: skip

    def to_query(self, names: Iterable[str]) -> dict[str, str]:
        """The fields `names` as the parameters of an address."""
        return {name: _to_text(getattr(self, name)) for name in names}

    def channels_of(self, layer: str) -> tuple[int, ...]:
        """The channels to show of `layer`, each once: at least one, none beyond its last."""
        last = LAYERS[layer] - 1
        return tuple(dict.fromkeys(min(c, last) for c in self.channels)) or (0,)

    @property
    def channel(self) -> int:
        """The first of the channels, of which sentences speak."""
        return (self.channels or (0,))[0]

    @property
    def followed(self) -> int | None:
        """The channel that figures mark, if the layer has it."""
        known = [c for c in self.channels if c < LAYERS[self.layer]]
        return known[0] if known else None


def with_value(options: tuple[float, ...], value: float | None) -> list[float]:
    """`options` with `value` at its place, so that a link may carry any allowed value."""
    return sorted({*options, *([value] if value is not None else [])})


def _to_text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def check_names(names: Iterable[str], allowed: Iterable[str]) -> None:
    """Raises ConfigError naming the first of `names` that is none of `allowed`."""
    known = list(allowed)
    for name in names:
        if name not in known:
            raise ConfigError(
                _("{name}: no such parameter; allowed: {allowed}.").format(
                    name=name, allowed=", ".join(known)
                )
            )


assert set(LAYERS) == set(Selection.model_fields["layer"].annotation.__args__)  # type: ignore[union-attr]
assert set(STAGES) == set(Stage.__args__)  # type: ignore[attr-defined]
