"""The memory experiment as its page runs it, without a browser."""

import re

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from bnviz.subjects.memory import (
    experiment_figures,
    interventions_section,
)
from bnviz.subjects.memory.chain_figures import graph_behind
from bnviz.subjects.memory.expectation import chain_of_shapes, expected, layer_names
from bnviz.subjects.memory.experiment_config import LeakConfig
from bnviz.subjects.memory.experiment_runner import lab
from bnviz.subjects.memory.memory_experiment import Experiment
from bnviz.subjects.memory.memory_experiment_figures import (
    bytes_by_batch,
    freed_by_cut,
    kept_over_steps,
)
from tests.screen import cards, look_at, new_app
from tests.waiting import until


@pytest.fixture
def app():
    tested = new_app()
    tested.run()
    tested.switch_page("pages/memory.py").run()
    yield tested
    lab().end()
    lab.cache_clear()


def card(app, key):
    return cards(app).get(key)


def metrics(app):
    return {metric.label: metric.value for metric in app.metric}


def held(app, steps=12, **controls):
    """Press Run and wait until all steps are done and the chain is held."""
    app.number_input(key="mem_steps").set_value(steps)
    app.button(key="mem_run").click().run()
    until(lambda: lab().experiment.state == "paused")
    app.run()
    assert not app.exception
    return lab().experiment


def test_before_a_run_the_page_predicts_from_shapes_alone(app):
    assert not app.exception
    assert lab().experiment is None
    shown = metrics(app)
    assert shown["Kept by a test batch"] == "1.38 MiB"
    assert shown["Kept by a training step"] == "128 bytes"
    assert "Not measured with these settings" in card(app, "experiment")["sentence"]
    assert card(app, "experiment")["figure"]["data"][0]["name"] == "predicted from shapes"
    assert all(
        app.button(key=f"mem_cut_{name}").disabled for name in interventions_section.CUT_HELP
    )
    assert "24 nodes of a test batch" in card(look_at(app, "chain"), "chain")["sentence"]


@pytest.mark.parametrize(
    ("key", "kind", "value"),
    [
        ("mem_keep", "toggle", False),
        ("mem_grad", "toggle", False),
        ("mem_mode", "segmented_control", "eval"),
    ],
)
def test_any_one_cure_predicts_that_test_batches_keep_nothing(app, key, kind, value):
    getattr(app, kind)(key=key).set_value(value).run()
    assert metrics(app)["Kept by a test batch"] == "0 bytes"


def test_prediction_follows_batch_size_and_memory(app):
    app.select_slider(key="mem_batch").set_value(32).run()
    app.run()
    app.slider(key="mem_share").set_value(100).run()
    app.run()
    app.selectbox(key="mem_memory").set_value("2").run()
    assert metrics(app)["Kept by a test batch"] == "2.76 MiB"
    # 2 GB / 2,897,144 bytes a batch
    assert metrics(app)["Tensors alone fill it at step"] == "691"


def test_a_run_is_measured_beside_its_prediction(app):
    experiment = held(app)
    said = card(app, "experiment")["sentence"]
    assert re.search(r"At step 12 the note's layer keeps 4\.15 MiB, predicted were 4\.15 MiB", said)
    assert "built-in layer keep 0 bytes" in said
    names = {trace["name"] for trace in card(app, "experiment")["figure"]["data"]}
    assert {"Note's BN", "Hand-written BN", "nn.BatchNorm", "process memory gained"} <= names
    look_at(app, "chain")
    assert "12 batches are alive, 3 of them" in card(app, "chain_batches")["sentence"]
    look_at(app, "experiment")
    app.button(key="mem_end").click().run()
    lab().measurement.join(20)
    app.run()
    assert experiment.ended and not app.exception
    assert any("ended after 12 steps. It was ended by hand" in c.value for c in app.caption)
    assert "keeps 4.15 MiB" in card(app, "experiment")["sentence"], "what was measured stays"
    app.number_input(key="mem_steps").set_value(13).run()
    assert "Not measured with" in card(app, "experiment")["sentence"], "it was another experiment"


def test_the_figure_has_the_numbers_of_the_experiment():
    experiment = Experiment(
        LeakConfig.parse(dataset="fashion-mnist-sample", device="cpu", steps=12)
    ).run()
    found = experiment_figures.experiment_card(experiment.config, experiment)
    lines = {(t["name"], t.get("yaxis", "y")): t["y"] for t in found.figure["data"]}
    kept, nodes = (experiment.table.column(name) for name in ("kept_bytes", "graph_nodes"))
    assert lines["Note's BN", "y"] == pytest.approx(kept[:, 0] / 2**20, rel=1e-5)
    assert lines["Note's BN", "y2"] == pytest.approx(nodes[:, 0] / 1000, rel=1e-5)
    predicted = expected(experiment.config).curve(12, 0.25) / 2**20
    assert lines["predicted from shapes", "y"] == pytest.approx(predicted, rel=1e-5)
    rss = experiment.table.column("process")
    gained = (rss - rss[0]) / 2**20
    assert lines["process memory gained", "y3"] == pytest.approx(gained, rel=1e-5, abs=1e-5)


def test_the_sentence_says_how_far_the_measurement_is_from_the_prediction():
    experiment = Experiment(
        LeakConfig.parse(dataset="fashion-mnist-sample", device="cpu", steps=12)
    ).run()
    kept = experiment.table.column("kept_bytes")
    assert kept[-1, 0] == expected(experiment.config).curve(12, 0.25)[-1]
    assert "(+0 bytes, 0.00%)" in experiment_figures._measured_words(experiment)
    doubled = kept.copy()
    doubled[:, 0] *= 2
    experiment.table.column = lambda name, **_: {
        "kept_bytes": doubled, "process": np.zeros(12, int)
    }[name]  # fmt: skip
    assert re.search(
        r"\+4,34\d,\d{3} bytes, 100\.00%\)", experiment_figures._measured_words(experiment)
    )


def test_what_the_budget_ends_is_predicted():
    config = LeakConfig.parse(steps=20_000, budget_mib=100)
    frame = experiment_figures.predicted_frame(config)
    assert frame["step"].iloc[-1] == experiment_figures.last_step(config) < 20_000
    curve = expected(config).curve(experiment_figures.last_step(config), config.test_share)
    assert curve[-2] <= 100 * 2**20 < curve[-1]
    whole = LeakConfig.parse(steps=1500)
    assert experiment_figures.predicted_frame(whole)["step"].iloc[-1] == 1500
    assert "after 1,500 steps" in experiment_figures._prediction_words(whole)


def test_fixes_say_what_they_freed_and_stand_in_the_figure(app):
    experiment = held(app)
    app.button(key="mem_cut_del").click().run()
    assert any("freed **0 bytes** of 4.15 MiB" in m.value for m in app.markdown)
    assert "No fix tried so far" in card(app, "cuts")["sentence"]
    app.button(key="mem_cut_detach").click().run()
    assert any("freed **4.15 MiB** of 4.15 MiB" in m.value for m in app.markdown)
    assert (
        "1 of 2 fixes freed all that was kept when they were tried: 2. detach()."
        in card(app, "cuts")["sentence"]
    )
    still = next(t for t in card(app, "cuts")["figure"]["data"] if t["name"] == "still kept")
    assert still["y"] == pytest.approx([experiment.events[0]["before"] / 2**20, 0])
    notes = [note["text"] for note in card(app, "experiment")["figure"]["layout"]["annotations"]]
    assert notes == ["del −0 bytes", "detach() −4.15 MiB"]
    assert experiment.chain_batches().empty
    drawn = next(t for t in card(app, "experiment")["figure"]["data"] if t["name"] == "Note's BN")
    assert (drawn["x"][-2:], drawn["y"][-1]) == ([12, 12], 0), "the line falls where it was cut"
    assert "Now, at step 12, it keeps 0 bytes" in card(app, "experiment")["sentence"]
    said = experiment_figures.state_of_experiment()["text"]
    assert said.startswith("All 12 steps are done. No chain is kept.")
    app.button(key="mem_cut_eval").click().run()
    assert any("of 0 bytes. There was no chain to cut" in m.value for m in app.markdown)
    app.button(key="mem_cut_undo").click().run()
    assert any("what leaked leaks again; nothing was freed" in m.value for m in app.markdown)


def test_a_chosen_batch_stays_open_until_its_chain_is_cut(app):
    experiment = held(app)
    starts = experiment.chain_batches()["start"].tolist()
    look_at(app, "chain")
    app.session_state["mem_chain_batch"] = starts[3]
    app.run()
    assert "nodes of batch 3 of the chain" in card(app, "chain")["sentence"]
    app.session_state["mem_chain_batch"] = starts[-1] + 10**6  # of a chain that is no more
    app.run()
    assert "nodes of batch 11 of the chain" in card(app, "chain")["sentence"]


def test_a_second_visitor_finds_the_experiment_and_cannot_start_another(app):
    experiment = held(app)
    other = new_app()
    other.run()
    other.switch_page("pages/memory.py").run()
    assert "At step 12" in card(other, "experiment")["sentence"]
    assert other.button(key="mem_run").disabled
    assert lab().experiment is experiment


def test_a_budget_that_the_machine_has_not_is_refused_on_the_page(app):
    app.number_input(key="mem_budget").set_value(900_000)
    app.button(key="mem_run").click().run()
    assert any("budget_mib: got 900,000 MiB" in e.value for e in app.error)
    assert lab().experiment is None
    app.number_input(key="mem_budget").set_value(1024).run()
    app.run()
    assert not app.error, "it was said of another budget"


def test_a_batch_larger_than_the_budget_is_refused_with_what_it_needs(app):
    app.select_slider(key="mem_batch").set_value(512).run()
    app.run()
    app.number_input(key="mem_budget").set_value(10)
    app.button(key="mem_run").click().run()
    assert any("one step of all networks saves" in e.value for e in app.error)


def test_a_cut_that_comes_too_late_says_so(app):
    held(app)
    lab().end()
    app.button(key="mem_cut_detach").click().run()
    assert any("No experiment is going on" in e.value for e in app.error)


def test_the_figures_are_plotly_s():
    config = LeakConfig()
    predicted = experiment_figures.predicted_frame(config)
    nothing = experiment_figures._nothing(config)
    labels = {variant: variant for variant in config.variants}
    go.Figure(kept_over_steps(nothing, predicted, labels, 1024, [{"step": 3, "text": "x"}]))
    on_device = nothing.reindex(range(3)).fillna(1.0)
    drawn = go.Figure(kept_over_steps(on_device, predicted, labels, 1))
    assert {t.name for t in drawn.data} >= {"device memory allocated", "device memory reserved"}
    go.Figure(freed_by_cut(["a"], np.array([2.0]), np.array([1.0])))
    go.Figure(bytes_by_batch(pd.DataFrame({"batch": [0, 1], "start": [7, 9], "bytes": [3, 4]}), 1))


@pytest.mark.parametrize("layer", ["conv1", "conv2", "fc1", "fc2"])
@pytest.mark.parametrize("statistic", ["running_mean", "running_var"])
def test_every_node_of_a_chain_has_its_row(layer, statistic):
    found, rows = chain_of_shapes(4, layer, statistic), layer_names()
    nodes = found.nodes.assign(layer=found.nodes["layer"].map(rows))
    drawn = go.Figure(graph_behind(nodes, found.edges, found.older, list(rows.values()), "mean"))
    marks = drawn.data[1]
    assert len(marks.x) == len(nodes) > 5
    assert all(0 - 1 < y < len(rows) for y in marks.y)
    assert marks.text[-1] == "mean"
