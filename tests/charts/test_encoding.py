"""Figures on their way to the browser: what arrives is what was sent, in fewer bytes."""

import base64
import json

import numpy as np
import plotly.graph_objects as go
import pytest

from bnviz.charts.encoding import LEVELS, encode_array, encode_figure


def decoded(sent):
    """As live.js reads it."""
    flat = np.frombuffer(base64.b64decode(sent["bdata"]), "<" + sent["dtype"])
    if "level" in sent:
        flat = np.where(flat == LEVELS, np.nan, sent["low"] + flat * sent["level"])
    return flat.reshape([int(n) for n in sent["shape"].split(",")]) if "shape" in sent else flat


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (np.linspace(-3, 3, 40), "f4"),
        (np.linspace(-3, 3, 40, dtype="f4"), "f4"),
        (np.arange(40), "i2"),
        (np.arange(40) * 10_000, "i4"),
        (np.arange(40) * 1e12, "f8"),
        (np.arange(40, dtype="u1"), "u1"),
    ],
)
def test_numbers_travel_in_the_narrowest_type_that_keeps_them(values, dtype):
    sent = encode_array(values)
    assert sent["dtype"] == dtype
    np.testing.assert_allclose(decoded(sent), values, rtol=1e-6)


@pytest.mark.parametrize("low", [-7.5, 0.0, 1e-6])
def test_a_heatmap_travels_in_levels_too_fine_to_see(low):
    values = low + np.random.default_rng(0).random((20, 30)).astype("f4")
    values[3, 4] = np.nan
    sent = encode_array(values)
    assert sent["dtype"] == "u2"
    np.testing.assert_allclose(decoded(sent), values, atol=1e-5)


def test_a_heatmap_of_nothing_and_one_of_a_single_value():
    assert np.isnan(decoded(encode_array(np.full((5, 5), np.nan)))).all()
    assert (decoded(encode_array(np.full((5, 5), 2.5))) == 2.5).all()


def test_short_and_worded_arrays_stay_lists_and_nan_becomes_nothing():
    assert encode_array(np.array([1.0, np.nan, 3.0])) == [1.0, None, 3.0]
    assert encode_array(np.array(["a", "b"] * 20)) == ["a", "b"] * 20


def test_a_figure_is_sent_as_json_without_what_the_card_decides():
    figure = go.Figure(
        go.Scatter(x=np.arange(30), y=np.sin(np.arange(30))),
        {"title": "mine", "height": 300, "xaxis": {"title": "x"}},
    )
    sent = json.loads(json.dumps(encode_figure(figure)))
    assert set(sent["layout"]) == {"xaxis"}
    assert sent["layout"]["xaxis"]["title"] == {"text": "x"}
    np.testing.assert_allclose(decoded(sent["data"][0]["y"]), np.sin(np.arange(30)), atol=1e-6)
