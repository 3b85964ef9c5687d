"""Prove it: nothing is green before it is measured, and what is measured is shown."""

import re

import pandas as pd
import plotly.graph_objects as go
import pytest
from streamlit.testing.v1 import AppTest

from bnviz.charts import theme
from bnviz.subjects.parity import parity_section
from bnviz.subjects.parity.parity_report import hand_written, prove
from bnviz.training.process import measurements
from tests.screen import cards
from tests.waiting import until


def section():
    from bnviz.subjects.parity.parity_section import prove_it

    prove_it()


@pytest.fixture(scope="module")
def proofs():
    return {variant: prove(variant) for variant in ("fused", "note")}


@pytest.fixture
def app():
    yield AppTest.from_function(section, default_timeout=60)
    measurements().end_all()
    measurements.cache_clear()


def measure(app, proof, monkeypatch):
    """Press the button; the measurement itself is that of the fixture."""
    monkeypatch.setattr(
        "bnviz.subjects.parity.parity_report.prove", lambda variant, progress: proof
    )
    app.button(key="measure_prove_it").click().run()
    key = parity_section.proof_key(proof.variant)
    until(lambda: not measurements().get(*key).going_on, seconds=30)
    return app.run()


def test_before_measuring_there_is_a_sentence_a_button_and_no_tick(app):
    app.run()
    assert not app.exception
    assert [b.key for b in app.button] == ["measure_prove_it"]
    assert any("Nothing is measured yet" in m.value for m in app.markdown)
    assert not app.metric and not app.dataframe
    assert parity_section.COMMAND in [c.value for c in app.code]


def test_layers_to_choose_are_the_hand_written_ones(app):
    assert hand_written() == parity_section.LAYERS == ["note", "composite", "fused"]


def test_a_right_layer_is_green_all_over(app, proofs, monkeypatch):
    app.session_state["prove_variant"] = "fused"
    measure(app.run(), proofs["fused"], monkeypatch)
    assert not app.exception
    values = {m.label: m.value for m in app.metric}
    assert values["Cases that agree"] == "286 of 286"
    assert "× torch's" in values["Time"]
    fingerprint, cases = (d.value for d in app.dataframe)
    assert set(fingerprint["same"]) == {"✓ same"}
    assert list(cases["agrees"]) == ["✓ agrees"] * 286
    [card] = cards(app).values()
    assert card["title"] == "Every case stays within the tolerance"
    assert "286 of 286 cases agree" in card["sentence"]


def test_the_note_s_layer_is_red_where_it_differs_and_its_causes_are_named(
    app, proofs, monkeypatch
):
    app.session_state["prove_variant"] = "note"
    measure(app.run(), proofs["note"], monkeypatch)
    assert not app.exception
    listed = [m.value for m in app.markdown if m.value.startswith("- `")]
    codes = [cause.code for cause in proofs["note"].causes]
    assert re.findall(r"- `(\w+)`", "\n".join(listed)) == codes
    assert codes[0] == "shift_start"
    [card] = cards(app).values()
    assert "A cross below the line" in card["sentence"]
    app.selectbox(key="prove_cases").set_value(parity_section.DIFFERING).run()
    shown = app.dataframe[1].value
    assert set(shown["agrees"]) == {"✗ differs"}
    assert shown["detail"].str.len().min() > 0


def test_what_is_not_measured_has_no_tick_and_no_colour(proofs):
    table = parity_section.filtered(proofs["note"].frame, "options")
    assert {"not measured", "✗ differs"} == set(table["agrees"])
    assert parity_section._mark_colour("not measured") == ""


def test_the_filters_part_the_cases(proofs):
    frame = proofs["note"].frame
    groups = [parity_section.filtered(frame, group) for group in dict.fromkeys(frame["group"])]
    assert (
        sum(map(len, groups))
        == len(frame)
        == len(parity_section.filtered(frame, parity_section.ALL))
    )


@pytest.mark.parametrize("variant", ["fused", "note"])
def test_the_figure_has_a_mark_a_case_and_the_limit(proofs, variant):
    card, frame = parity_section.card(proofs[variant]), proofs[variant].frame
    *marks, limit = go.Figure(card.figure).data
    assert sum(len(trace.x) for trace in marks) == frame["of_tolerance"].notna().sum()
    assert set(limit.y) == {1}
    for trace in marks:
        assert len(trace.text) == len(trace.x)
        assert trace.name == "differs" or max(trace.y) <= 1
    known = {q.axis() for q in theme.QUANTITIES.values()}
    layout = go.Figure(card.figure).layout
    assert {layout.xaxis.title.text, layout.yaxis.title.text} <= known
    assert layout.yaxis.type == "log"
    assert card.title and card.sentence and card.alt


def test_the_figure_of_cases_that_could_not_be_measured_is_empty_but_for_the_limit():
    nothing = pd.DataFrame({"agrees": pd.array([None], "boolean"), "dtype": ["float32"],
                            "of_tolerance": [float("nan")], "name": ["one"]})  # fmt: skip
    assert len(parity_section.differences_by_dtype(nothing)["data"]) == 1
