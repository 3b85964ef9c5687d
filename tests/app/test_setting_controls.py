"""Widgets take their bounds, choices, defaults and words from the schema."""

import pytest
from streamlit.testing.v1 import AppTest

from bnviz.config import RunConfig
from bnviz.settings import Setting


def page():
    from bnviz.app.setting_controls import setting_control

    for name in ("batch_size", "lr", "seed", "eval_every", "optimizer", "gradients"):
        setting_control(name)


@pytest.fixture
def app():
    found = AppTest.from_function(page).run()
    assert not found.exception
    return found


def test_the_widgets_together_are_the_default_settings(app):
    names = [w.key for w in (*app.number_input, *app.segmented_control, *app.toggle)]
    values = {name: app.session_state[name] for name in names}
    assert len(values) == 6
    assert RunConfig.parse(**values) == RunConfig()


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [("batch_size", 1, 4096), ("seed", 0, 2**32 - 1), ("eval_every", 1, None)],
)
def test_a_whole_number_has_the_bounds_of_its_field(app, name, least, most):
    widget = app.number_input(key=name)
    assert widget.min == least
    assert most is None or widget.max == most
    RunConfig.parse(**{"variants": "none", name: least})
    assert widget.label == Setting.of(RunConfig, name).label


def test_a_number_that_must_be_more_than_0_cannot_be_0(app):
    widget = app.number_input(key="lr")
    assert 0 < widget.min < 1e-300 and widget.max == 100
    assert widget.help == Setting.of(RunConfig, "lr").help
