"""Settings as values with a schema: each field has bounds, a default, a label and a help text.

`Setting` reads them off a field. From it come the widgets of a page, the options of a command, the
reference and the messages, so that nothing is typed twice.
"""

import difflib
from dataclasses import dataclass
from typing import Any, Self, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from bnviz.errors import ConfigError
from bnviz.i18n import N_, _

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


class Settings(BaseModel):
    """Base of what is set as a whole: it never changes, and a bad field is named with the remedy."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def parse(cls, **fields: Any) -> Self:
        """Validate `fields`. Raises ConfigError with one line that names field, value, remedy."""
        try:
            return cls(**fields)
        except ValidationError as error:
            raise ConfigError(explain(cls, error)) from None

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read what `model_dump_json` wrote. Raises ConfigError for anything else."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise ConfigError(explain(cls, error)) from None


@dataclass(frozen=True)
class Setting:
    """One field of a `Settings`: what it takes, and what a reader is told of it."""

    name: str
    kind: type
    """bool, int, float, str or tuple."""
    choices: tuple[str, ...]
    """The words that it takes, of a tuple each; empty for numbers and switches."""
    bounds: dict[str, float]
    """By ``ge``, ``gt``, ``le`` and ``lt``."""
    optional: bool
    """Whether it may be none."""
    default: Any
    label: str
    help: str

    @classmethod
    def of(cls, model: type[BaseModel], name: str) -> Self:
        """The field `name` of `model`."""
        field = model.model_fields[name]
        annotation, metadata = field.annotation, list(field.metadata)
        optional = type(None) in get_args(annotation)
        if optional:
            annotation = get_args(annotation)[0]
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        words = extra.get("choices") or [a for a in get_args(annotation) if isinstance(a, str)]
        kind = getattr(annotation, "__origin__", annotation)
        return cls(
            name=name,
            kind=kind if isinstance(kind, type) else str,
            choices=tuple(map(str, words)),  # type: ignore[arg-type]
            bounds={
                key: getattr(bound, key)
                for bound in metadata
                for key in ("ge", "gt", "le", "lt")
                if hasattr(bound, key)
            },
            optional=optional,
            default=field.default,
            label=_(field.title or name),
            help=_(field.description or ""),
        )

    @property
    def allowed(self) -> str:
        """What it takes, in words."""
        if self.kind is bool:
            return _("true or false")
        listed = ", ".join(self.choices)
        if self.choices:
            return (
                _("one or more of {choices}").format(choices=listed)
                if self.kind is tuple
                else listed
            )
        kind = {int: _("a whole number"), float: _("a number")}.get(self.kind, self.kind.__name__)
        written = {k: f"{v:g}" if isinstance(v, float) else str(v) for k, v in self.bounds.items()}
        text = _(BOUNDED[tuple(sorted(written))]).format(kind=kind, **written)
        return _("{allowed}, or none").format(allowed=text) if self.optional else text


def explain(model: type[BaseModel], error: ValidationError) -> str:
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
        return _unknown(path[-1], _fields_at(model, path[:-1]))
    return _("{name}: got {value!r}; allowed: {allowed}.").format(
        name=name,
        value=problem["input"],
        allowed=Setting.of(model, name).allowed if path else problem["msg"],
    )


def _fields_at(model: type[BaseModel], path: list[str]) -> list[str]:
    """The fields of `model`, or of the settings inside it at `path`."""
    for part in path:
        model = model.model_fields[part].annotation  # type: ignore[assignment]
    return list(model.model_fields)


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    said = (
        _("{name}: no such setting; allowed: {allowed}; did you mean {near!r}?")
        if near
        else _("{name}: no such setting; allowed: {allowed}.")
    )
    return said.format(name=name, allowed=", ".join(known), near=next(iter(near), None))


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
