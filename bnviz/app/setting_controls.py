"""The widget of a setting, built from its schema: bounds, choices, default, label and help."""

import math
from collections.abc import Callable
from typing import Any

import streamlit as st

from bnviz.config import RunConfig
from bnviz.settings import Setting, Settings

SHORT = 20
"""Letters of two words that fit beside each other in the sidebar."""


def setting_control(
    name: str, model: type[Settings] = RunConfig, *, key: str | None = None, **options: Any
) -> Any:
    """The widget of the field `name` of `model`, in the address under `key` (`name`); its value.

    A switch is a toggle, a number a number input, one of two short words a segmented control, one of
    more a select box. `options` are those of the widget and go before what the schema says.
    """
    setting = Setting.of(model, name)
    widget, given = _widget(setting)
    given |= {"key": key or name, "bind": "query-params", "help": setting.help, **options}
    return widget(given.pop("label", setting.label), **given)


def _widget(setting: Setting) -> tuple[Callable[..., Any], dict[str, Any]]:
    if setting.kind is bool:
        return st.toggle, {"value": setting.default}
    if len("".join(setting.choices)) <= SHORT and len(setting.choices) == 2:
        return st.segmented_control, {
            "options": setting.choices, "default": setting.default, "required": True,
        }  # fmt: skip
    if setting.choices:
        return st.selectbox, {
            "options": setting.choices,
            "index": setting.choices.index(setting.default),
        }
    return st.number_input, _number(setting)


def _number(setting: Setting) -> dict[str, Any]:
    """Bounds that a number input can take: it includes both, the schema may exclude them."""
    bounds = setting.bounds
    if setting.kind is int:
        most = bounds.get("le", bounds.get("lt", math.inf) - 1)
        return {
            "value": setting.default,
            "min_value": bounds.get("ge"),
            "max_value": None if math.isinf(most) else int(most),
        }
    least = bounds.get("ge", math.nextafter(bounds.get("gt", -math.inf), math.inf))
    return {
        "value": setting.default,
        "min_value": least,
        "max_value": float(bounds["le"]),
        "format": "%g",
    }
