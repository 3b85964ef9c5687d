"""Which of the note's quirks are on, as a value: by name, in words, as a RunConfig. Without torch.

A setting is written as ``none``, ``all``, a name of TOGETHER, or the quirks that are on, separated
by commas.
"""

import difflib
from collections.abc import Iterable
from typing import Any

from bnviz.config import Quirks, RunConfig
from bnviz.errors import ConfigError
from bnviz.i18n import N_, _, listed
from bnviz.nn.variants import VARIANTS

MOMENTUM = "momentum_of_new"
"""The note's weight of the new batch; it is a setting of the run and not one of `Quirks`."""
NOTES_MOMENTUM, TORCHS_MOMENTUM = 0.9, 0.1
QUIRKS = (*Quirks.model_fields, MOMENTUM)
"""All of the note's quirks by name."""

NONE, ALL = "none", "all"
TOGETHER: dict[str, tuple[str, ...]] = {
    "moving_tests": ("test_in_train_mode", "test_moves_statistics"),
    "leak": ("keep_graph", "test_in_train_mode", "test_with_grad", "test_moves_statistics"),
}
"""Quirks that act only together."""

LABELS: dict[str, str] = {
    NONE: N_("no quirk"),
    "keep_graph": N_("graph kept in running statistics"),
    "zero_running_var": N_("running variance starts at 0"),
    "conv_shift_one": N_("β of convolutions starts at 1"),
    "plain_attributes": N_("statistics are plain attributes"),
    "biased_running_var": N_("biased variance averaged"),
    "chained_mean": N_("mean taken dimension by dimension"),
    "test_in_train_mode": N_("test without eval()"),
    "test_moves_statistics": N_("test overwrites the statistics"),
    "test_with_grad": N_("test without no_grad()"),
    "loss_divided_twice": N_("printed loss divided twice"),
    "accuracy_over_full_batches": N_("printed accuracy over full batches"),
    MOMENTUM: N_("0.9 weighs the new batch"),
    "moving_tests": N_("test without eval(), which overwrites"),
    "leak": N_("the four that leak together"),
    ALL: N_("all quirks, as in the note"),
}


def on_in(setting: str) -> frozenset[str]:
    """The quirks that are on in a setting. Raises ConfigError for a name that is none."""
    if setting in (NONE, ""):
        return frozenset()
    if setting == ALL:
        return frozenset(QUIRKS)
    if setting in TOGETHER:
        return frozenset(TOGETHER[setting])
    names = [name.strip() for name in setting.split(",")]
    for name in names:
        if name not in QUIRKS:
            near = difflib.get_close_matches(name, QUIRKS, n=1)
            said = (
                _("quirk: got {value!r}; allowed: {allowed}; did you mean {near!r}?")
                if near
                else _("quirk: got {value!r}; allowed: {allowed}.")
            )
            allowed = ", ".join([NONE, *QUIRKS, *TOGETHER, ALL])
            raise ConfigError(said.format(value=name, allowed=allowed, near="".join(near)))
    return frozenset(names)


def setting_of(on: Iterable[str]) -> str:
    """The shortest name of the setting in which exactly these quirks are on."""
    chosen = frozenset(on)
    known = {frozenset(): NONE, frozenset(QUIRKS): ALL}
    known |= {frozenset(names): setting for setting, names in TOGETHER.items()}
    return known.get(chosen) or ",".join(name for name in QUIRKS if name in chosen)


def words(setting: str) -> str:
    """A setting in a few words. Raises ConfigError as `on_in`."""
    if setting in LABELS:
        return _(LABELS[setting])
    on = on_in(setting)
    if len(on) > len(QUIRKS) // 2:
        off = [_(LABELS[name]) for name in QUIRKS if name not in on]
        return _("all quirks but {names}").format(names=listed(off))
    return listed(_(LABELS[name]) for name in QUIRKS if name in on)


def config_of(setting: str, **fields: Any) -> RunConfig:
    """A run of the variant ``note`` with those quirks and other `fields`.

    Raises ConfigError as `on_in` and `RunConfig.parse`.
    """
    on = on_in(setting)
    return RunConfig.parse(
        **{
            "variants": "note",
            "momentum": NOTES_MOMENTUM if MOMENTUM in on else TORCHS_MOMENTUM,
            "quirks": {name: name in on for name in Quirks.model_fields},
            **fields,
        }
    )


# ---- a side of a comparison ----------------------------------------------------------------------

QUIRKY = "note"


def side_parts(side: str) -> tuple[str, str]:
    """Variant and setting of a side, written ``builtin`` or ``note:keep_graph,chained_mean``.

    Raises ConfigError for another variant, and for quirks of any but the note's layer.
    """
    variant, _colon, setting = side.partition(":")
    if variant not in VARIANTS:
        raise ConfigError(
            _("side: got {value!r}; allowed: {allowed}, the first with its quirks after a colon.")
            .format(value=side, allowed=", ".join([QUIRKY, *(v for v in VARIANTS if v != QUIRKY)]))
        )  # fmt: skip
    if setting and variant != QUIRKY:
        raise ConfigError(
            _("side: got {value!r}; only {note} has quirks; allowed: {variant} alone.").format(
                value=side, note=QUIRKY, variant=variant
            )
        )
    return variant, setting_of(on_in(setting or ALL)) if variant == QUIRKY else ""


def side_config(side: str, **fields: Any) -> RunConfig:
    """A run of one side. Raises ConfigError as `side_parts` and `RunConfig.parse`."""
    variant, setting = side_parts(side)
    if variant == QUIRKY:
        return config_of(setting, **fields)
    return RunConfig.parse(**{"variants": variant, **fields})


def side_words(side: str) -> str:
    """A side in a few words. Raises ConfigError as `side_parts`."""
    variant, setting = side_parts(side)
    label = _(VARIANTS[variant].label)
    if not setting:
        return label
    return _("{variant} ({quirks})").format(variant=label, quirks=words(setting))
