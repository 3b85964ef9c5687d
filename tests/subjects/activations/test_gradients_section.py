"""The backward part of the Activations page: its cards over a run, and the way to get one."""

import re
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest
from streamlit.testing.v1 import AppTest

from bnviz import figures
from bnviz.charts import theme
from bnviz.charts.encoding import encode_figure
from bnviz.charts.registry import figure_named
from bnviz.config import RunConfig
from bnviz.nn.layers import WEIGHT_LAYERS
from bnviz.records.history import History
from bnviz.records.schema import schemas
from bnviz.records.store import StoredRun
from bnviz.selection import Selection
from bnviz.subjects.activations import gradients_section
from bnviz.subjects.activations.recorded_gradients import gradient_curves, gradient_norms
from bnviz.subjects.training import controls_section
from bnviz.training.process import jobs
from bnviz.training.run_view import RunView
from bnviz.training.trainer import Trainer
from tests.paths import ROOT
from tests.screen import new_app

figures.load()


@pytest.fixture(scope="module")
def run(sample):
    """With and without BN, the sigmoid's gradients vanishing."""
    config = RunConfig.parse(
        dataset="fashion-mnist-sample", device="cpu", variants="builtin,none", steps=60,
        gradients=True, observe_budget=1.0,
    )  # fmt: skip
    with Trainer(config, sample) as trainer:
        while not trainer.done:
            trainer.step()
        summary = trainer.summary(1.0)
    return RunView("one", StoredRun("one", None, config, trainer.history, summary))


def by_key(run, layer="conv1", step=None):
    chosen = Selection(layer=layer, step=step)
    names = ("gradient_values", "gradient_depth", "gradient_curves")
    return {name: figure_named(f"activations/{name}").draw(run, chosen) for name in names}


@pytest.mark.parametrize("layer", ["conv1", "conv2", "fc1", "fc2"])
def test_each_card_has_title_sentence_axes_and_named_series(run, layer):
    found = by_key(run, layer, 40)
    assert list(found) == ["gradient_values", "gradient_depth", "gradient_curves"]
    known = {q.axis() for q in theme.QUANTITIES.values()}
    for card in found.values():
        assert card.title and card.sentence and card.alt
        drawn = go.Figure(card.figure)
        layout = drawn.to_plotly_json()["layout"]
        axes = [v for k, v in layout.items() if k.startswith(("xaxis", "yaxis"))]
        assert {a["title"]["text"] for a in axes if a.get("title")} <= known
        names = {t.name for t in drawn.data}
        assert names == {"nn.BatchNorm", "No BN"}
        for trace in drawn.data:
            assert trace.hovertemplate and len(trace.x) <= 150
            assert trace.line.dash == theme.DASH["none" if trace.name == "No BN" else "builtin"]


def test_histograms_of_both_variants_share_their_bins(run):
    above, above_none, below, below_none = go.Figure(by_key(run)["gradient_values"].figure).data
    for trace in (above_none, below, below_none):
        np.testing.assert_array_equal(trace.x, above.x)
    assert (above.xaxis, below.xaxis) == ("x", "x2")
    np.testing.assert_array_equal(above_none.y, below_none.y)
    assert below.y.sum() == pytest.approx(100, abs=12), "after BN no value is exactly 0"
    assert above.y.sum() < 35, "three of four are, behind the pooling"


def test_sentences_say_the_numbers_of_the_record_at_the_step_on_show(run):
    for step, probed in ((35, None), (None, 60)):
        sentence = by_key(run, step=step)["gradient_depth"].sentence
        for variant in ("builtin", "none"):
            frame = gradient_norms(run.history, variant, step)
            assert probed is None or frame["step"].iloc[0] == probed
            first, last = frame["grad_norm"].iloc[[0, -1]]
            assert f"{run.labels[variant]} {first / last:.2g}" in sentence
        assert f"At step {int(frame['step'].iloc[0])}" in sentence
    medians = [
        float(gradient_curves(run.history, v, "conv1")["update_ratio"].median())
        for v in ("builtin", "none")
    ]
    moves = re.findall(r"([\d.e-]+)%", by_key(run)["gradient_curves"].sentence)
    assert moves == [f"{100 * median:.2g}" for median in medians]
    assert "Adam" in by_key(run)["gradient_curves"].sentence
    assert "exactly 0" in by_key(run, "conv1")["gradient_values"].sentence


def test_without_bn_the_gradient_vanishes_on_its_way_to_the_first_layer(run):
    with_bn, without = go.Figure(by_key(run)["gradient_depth"].figure).data
    assert list(with_bn.x) == list(WEIGHT_LAYERS)
    assert without.y[0] / without.y[-1] < 0.05 * with_bn.y[0] / with_bn.y[-1]


def test_the_step_on_show_is_marked_in_the_curves(run):
    (mark,) = go.Figure(by_key(run, step=40)["gradient_curves"].figure).layout.shapes
    assert (mark.x0, mark.x1) == (40, 40)
    assert not go.Figure(by_key(run)["gradient_curves"].figure).layout.shapes


def test_before_the_first_probe_cards_say_when_it_comes():
    config = RunConfig(variants="builtin,none", gradients=True)
    new = RunView("new", StoredRun("new", None, config, History(schemas(config.variants)), None))
    for card in by_key(new, "fc1").values():
        assert "after 10 steps" in card.sentence
        encode_figure(card.figure)
    assert gradients_section.cost(new) == ""


def test_the_cost_is_the_runs_own(run):
    share = run.summary["gradients_share"]
    assert (
        gradients_section.cost(run) == f"Recording gradients took {share:.1%} of this run's time."
    )
    silent = replace(run.source, config=run.config.model_copy(update={"gradients": False}))
    assert gradients_section.cost(RunView(run.id, silent)) == ""


def test_the_same_run_again_has_gradients_and_a_variant_without_bn():
    config = RunConfig.parse(variants="note,builtin", lr=0.003, quirks={"keep_graph": False})
    again = gradients_section.with_gradients(config)
    assert again.variants == ("note", "builtin", "none")
    assert again == config.model_copy(update={"gradients": True, "variants": again.variants})
    assert gradients_section.with_gradients(again) == again


def test_the_cost_beside_the_switch_is_the_one_measured():
    table = (ROOT / "docs" / "benchmarks.md").read_text()
    assert f"The difference, {100 * controls_section.GRADIENTS_COST:.1f} %" in table


@pytest.fixture
def registry():
    yield jobs()
    jobs().stop_all()
    jobs.cache_clear()


def test_the_switch_is_in_the_link_and_reaches_the_run(registry):
    app = new_app()
    app.query_params["gradients"] = "true"
    app.run()
    app.switch_page("pages/train.py").run()
    assert not app.exception
    assert app.toggle(key="gradients").value is True
    assert "2% of the time" in app.toggle(key="gradients").label
    app.selectbox(key="dataset").set_value("fashion-mnist-sample")
    app.number_input(key="steps").set_value(5)
    app.run()
    app.button(key="start").click().run()
    (job,) = registry.all()
    assert job.config.gradients
    job.join(60)
    app.run()
    assert not app.exception


def empty_page():
    """The script of a page of its own, so it imports what it needs."""
    import dataclasses

    from bnviz.app import rerun_button, runs
    from bnviz.records import store
    from bnviz.subjects.activations import gradients_section as view

    stored = store.recorded_run()
    config = rerun_button.with_changes(stored.config, gradients=False, variants=("builtin",))
    view.empty(runs.RunView("silent", dataclasses.replace(stored, config=config)))


def test_the_button_of_the_empty_state_trains_again_and_shows_that_run(registry):
    app = AppTest.from_function(empty_page, default_timeout=60).run()
    assert not app.exception
    assert "did not record" in app.info[0].value
    button = app.button(key="record_gradients")
    assert "without BN" in button.label
    button.click().run()
    (job,) = registry.all()
    assert app.session_state["run"] == job.id
    assert job.config.gradients and job.config.variants == ("builtin", "none")
