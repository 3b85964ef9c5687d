"""Train vs eval as Streamlit runs it: every view, its controls, what is recalibrated and kept."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from bnviz.config import RunConfig
from bnviz.errors import RunError
from bnviz.records.store import RunWriter, runs_folder
from bnviz.subjects.modes import (
    batch_context_figures,
    checkpoints_figures,
    corruptions_figures,
    corruptions_section,
    layer_divergence_figures,
    mode_selection_section,
    recalibration_figures,
    side_effects_figures,
)
from bnviz.subjects.modes.checkpoints_section import CHECKPOINTS, steps_on_show
from bnviz.subjects.modes.mode_selection_section import Sides
from bnviz.subjects.modes.predictions_section import gap_sentence
from bnviz.subjects.modes.recalibration import Recalibration, kept
from bnviz.subjects.modes.recalibration_section import _worth
from bnviz.training.process import jobs, measurements
from bnviz.training.trainer import Trainer
from tests.screen import cards, new_app

VIEWS = {
    "predictions": ["truth", "by_class"],
    "layers": ["chain", "channels_apart", "statistics_apart"],
    "context": ["context_logits", "context_predictions", "by_batch"],
    "checkpoints": ["modes_over_run", "pairs_over_run"],
    "recalibrate": None,
    "table": [],
    "effects": ["side_effects"],
    "corruptions": ["shift_strength", "shift_kinds"],
}


@pytest.fixture
def app():
    tested = new_app()
    tested.run()
    tested.switch_page("pages/train_vs_eval.py").run()
    yield tested
    jobs().stop_all()
    jobs.cache_clear()
    measurements().end_all()
    measurements.cache_clear()


def settle(app, changed):
    """Run what answers to a widget, then the page: AppTest knows only what the last run drew."""
    changed.run()
    app.run()


SIDES = Sides(
    "recorded", "fashion-mnist", "builtin", 400, 1000, 16, "shuffled", "own", "", 0.1, 1e-5, (),
)  # fmt: skip


def press_recalibrate(app):
    """Press the button and wait for the thread behind it."""
    app.button(key="measure_recalibrate").click().run()
    (known,) = measurements()._all.values()
    known._thread.join(60)
    app.run()
    app.run()
    assert not app.exception


def choose(app, view):
    settle(app, app.segmented_control(key="view").set_value(view))
    assert not app.exception
    return cards(app)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("variant", ["note", "builtin", "none"])
def test_every_view_has_its_figures_for_every_kind_of_variant(app, view, variant):
    settle(app, app.segmented_control(key="variant").set_value(variant))
    found = choose(app, view)
    if variant == "none" and view != "predictions":
        assert not found
        assert any("has no BN" in box.value for box in app.info)
    elif view == "recalibrate":
        assert app.button(key="measure_recalibrate").label.startswith("Recalibrate step")
    else:
        assert list(found) == VIEWS[view]
        for card in found.values():
            assert card["sentence"] and card["alt"] and card["title"]
            assert not re.search(r"\b(nan|inf|None)\b", card["sentence"]), card["sentence"]


def test_a_switch_for_each_layer_closes_the_gap_when_all_are_on(app):
    before = app.metric[1].value
    settle(app, app.pills(key="by_batch").set_value(["conv1", "conv2", "fc1", "fc2"]))
    assert app.metric[1].value == app.metric[0].value != before
    assert app.metric[2].value == "0 of 1,000"


def test_the_eval_side_has_a_choice_of_statistics_and_the_note_s_own_are_others(app):
    """The note's test passes moved its running statistics, which a replay knows nothing of."""
    settle(app, app.segmented_control(key="variant").set_value("note"))
    own = app.metric[1].value
    assert app.segmented_control(key="eval_source").value == "own", (
        "the page begins with what was kept"
    )
    assert not [s for s in app.select_slider if s.key in ("momentum", "eps")], (
        "which nothing follows"
    )
    settle(app, app.segmented_control(key="eval_source").set_value("replayed"))
    assert app.metric[1].value != own
    assert {"momentum", "eps"} <= {s.key for s in app.select_slider}


def test_eval_mode_has_the_eps_that_the_run_had_at_the_checkpoint(sample, app):
    """Momentum 0.1 and eps 1e-5 once stood for those of any run."""
    store_run(sample, "large_eps", eps=0.5, momentum=0.3)
    app.run()
    settle(app, app.selectbox(key="run").set_value("large_eps"))
    assert "own statistics, eps 0.5" in app.metric[1].help
    large = replace(SIDES, run="large_eps", step=25, eps=0.5)
    options = mode_selection_section.eval_options(large)
    assert options["statistics"] is None and options["eps"] == 0.5
    settle(app, app.segmented_control(key="eval_source").set_value("replayed"))
    assert any("had momentum 0.3 and eps 0.5" in s.help for s in app.select_slider if s.help)


def test_the_three_questions_find_the_row(app):
    choose(app, "table")
    assert any("It normalizes by **the batch**" in m.value for m in app.markdown)
    settle(app, app.segmented_control(key="rules_frozen").set_value("no_grad()"))
    assert any("Freezing does not stop the statistics" in m.value for m in app.markdown)
    settle(app, app.segmented_control(key="rules_mode").set_value("eval"))
    assert any("It normalizes by **the running statistics**" in m.value for m in app.markdown)
    assert len(app.dataframe[0].value) == 32
    mine = app.dataframe[0].value
    assert list(mine[mine["your choice"] != ""]["mode"]) == ["model.eval()"]


def test_recalibrating_the_recorded_run_is_shown_everywhere_and_can_be_undone(app):
    before = app.metric[1].value
    choose(app, "recalibrate")
    press_recalibrate(app)
    assert not app.exception
    card = cards(app)["recalibrated"]
    assert "Recalibrated on 60 batches of 16." in card["sentence"]
    app.button(key="recalibration_keep").click().run()
    assert any("belongs to the package" in e.value for e in app.error)
    choose(app, "predictions")
    assert app.segmented_control(key="eval_source").value == "recalibrated"
    recalibration = app.metric[1].value
    assert recalibration != before
    choose(app, "recalibrate")
    settle(app, app.button(key="recalibration_undo").click())
    app.run()
    choose(app, "predictions")
    assert app.segmented_control(key="eval_source").value == "own"
    assert app.metric[1].value == before


def store_run(sample, run_id, **settings):
    config = RunConfig.parse(
        dataset="fashion-mnist-sample", variants="builtin", steps=25, device="cpu", **settings
    )
    writer = RunWriter(runs_folder(), run_id, config)
    with Trainer(config, sample, history=writer.history) as trainer:
        trainer.on_checkpoint = writer.checkpoint
        while not trainer.done:
            trainer.step()
        trainer.finish()
        trainer.checkpoint()
        writer.finish(trainer.summary(1.0))
    return writer.folder


@pytest.fixture
def stored(sample):
    return store_run(sample, "to_recalibrate")


def test_a_recalibrated_checkpoint_of_a_run_of_one_s_own_is_kept_chosen_and_deleted(stored):
    app = new_app()
    app.query_params["run"] = stored.name
    app.run()
    app.switch_page("pages/train_vs_eval.py").run()
    choose(app, "recalibrate")
    settle(app, app.segmented_control(key="recalibration_method").set_value("blended"))
    settle(app, app.slider(key="recalibration_weight").set_value(0.25))
    press_recalibrate(app)
    app.button(key="recalibration_keep").click().run()
    (one,) = kept(stored, "builtin")
    assert any(one.name in s.value for s in app.success)
    assert one.details["weight"] == 0.25
    app.run()
    settle(app, app.selectbox(key="checkpoint").set_value(one.name))
    choose(app, "predictions")
    assert f"{one.after:.1%}" in app.metric[1].value
    settle(app, app.selectbox(key="checkpoint").set_value(20))
    assert any(
        "recalibrated statistics are those of nn.BatchNorm at step 25" in c.value
        for c in app.caption
    )
    settle(app, app.selectbox(key="checkpoint").set_value(one.name))
    choose(app, "recalibrate")
    settle(app, app.button(key=f"recalibration_drop_{one.name}").click())
    app.run()
    assert not app.exception
    assert kept(stored, "builtin") == []
    assert app.selectbox(key="checkpoint").value == 0


def test_a_batch_of_one_cannot_be_chosen_and_a_checkpoint_that_is_gone_is_said(sample, app):
    stored = store_run(sample, "vanishing")
    app.run()
    assert "1" not in app.select_slider(key="mode_batch").options
    settle(app, app.selectbox(key="run").set_value(stored.name))
    settle(app, app.select_slider(key="mode_batch").set_value(64))
    settle(app, app.selectbox(key="checkpoint").set_value(20))
    (stored / "checkpoints" / "20-builtin.safetensors").unlink()
    app.run()
    assert any("checkpoint 20 is not there" in toast.value for toast in app.toast)
    assert not app.exception
    app.run()
    assert app.selectbox(key="checkpoint").value == 0
    assert app.select_slider(key="mode_batch").value == 64


def test_the_batch_size_is_the_run_s_own_until_the_reader_chooses_another(sample, app):
    store_run(sample, "small", batch_size=4)
    app.run()
    settle(app, app.selectbox(key="run").set_value("small"))
    assert app.select_slider(key="mode_batch").value == 4
    settle(app, app.select_slider(key="mode_batch").set_value(64))
    settle(app, app.selectbox(key="run").set_value("recorded"))
    assert app.select_slider(key="mode_batch").value == 64


def test_a_long_run_shows_no_more_checkpoints_than_a_shorter_one_and_the_newest_always():
    long = list(range(20, 50_020, 500))
    shown = steps_on_show(long)
    assert len(shown) <= 2 * CHECKPOINTS + 1
    assert (shown[0], shown[-1]) == (long[0], long[-1])
    assert set(steps_on_show(long[:-1])) - {long[-2]} <= set(shown), "a tick keeps what it had"
    assert steps_on_show([20, 40, 60]) == [20, 40, 60]
    assert steps_on_show([]) == []


def test_a_recalibration_is_called_a_gain_only_where_it_is_one():
    assert "a loss" in _worth(-3)
    assert "as good" in _worth(-0.05) and "as good" in _worth(0.05)
    assert _worth(2) == "No weight was changed."


def test_a_kept_checkpoint_that_is_gone_is_not_replaced_by_another_recalibration(monkeypatch):
    recalibration = Recalibration("builtin", 400, "replayed", {"momentum": 0.1}, 0.7, 0.8, 1.0, {})
    monkeypatch.setattr(mode_selection_section, "recalibration_of", lambda run: recalibration)
    sides = replace(SIDES, source="recalibrated", token="400-builtin.blended-1")
    with pytest.raises(RunError, match=r"400-builtin.blended-1 is gone"):
        mode_selection_section.eval_options(sides)
    assert (
        mode_selection_section.eval_options(
            replace(sides, token=mode_selection_section._token(recalibration))
        )["statistics"]
        == {}
    )


@pytest.mark.parametrize(
    ("train_only", "eval_only", "words"),
    [
        (10, 40, "train mode at batch 8 is 15.0 ± 3.4 points below eval mode"),
        (40, 10, "eval mode is 15.0 ± 3.4 points below train mode"),
        (21, 29, "4.0 ± 3.5 points apart, no more than chance"),
        (4, 0, "2.0 ± 1.0 points apart, no more than chance"),  # p = 0.125 of a fair coin
    ],
)
def test_a_gap_counts_when_it_is_more_than_chance(train_only, eval_only, words):
    right = [(1, 0)] * train_only + [(0, 1)] * eval_only
    right += [(1, 1)] * (200 - len(right))
    frame = pd.DataFrame(right, columns=["train_right", "eval_right"]).astype(bool)
    frame["differ"] = frame["train_right"] != frame["eval_right"]
    run = SimpleNamespace(labels={"builtin": "nn.BatchNorm"})
    sides = SimpleNamespace(variant="builtin", step=20, batch_size=8)
    assert words in gap_sentence(run, frame, sides)


def test_train_mode_is_ahead_where_it_is_more_than_chance_and_a_guess():
    rows = [(0.5, 0.1, True), (0.5, 0.1, False), (0.5, -0.1, True), (0.12, 0.1, True)]
    frame = pd.DataFrame(rows, columns=["train", "ahead", "clear"])
    assert corruptions_section._ahead(frame).tolist() == [True, False, False, False]


def test_the_figures_pass_plotly_s_own_checks():
    names = tuple("abcdefghij")
    rows = pd.DataFrame(
        {
            "layer": "conv1", "channel": range(3), "drift": [0.1, 0.0, 0.4], "batch_mean": 0.0,
            "batch_var": [1.0, 0.0, 2.0], "running_mean": 0.1, "running_var": [1.0, 0.0, 1.0],
        }
    )  # fmt: skip
    run = pd.DataFrame({"step": [20, 40], "train": [0.5, 0.6], "eval": [0.4, 0.7],
                        "only_eval": [1, 2], "only_train": [2, 1], "none": [3, 3]})  # fmt: skip
    shifts = pd.DataFrame({"kind": "noise", "strength": [0, 1], "train": [0.7, 0.6], "eval": 0.5})
    accuracy = {2: 0.5, 4: 0.6}
    chain = go.Figure(
        layer_divergence_figures.drift_chain(pd.Series({"conv1": 0.2, "conv2": 0.4}), "conv2")
    )
    assert list(chain.data[0].customdata) == [0, 1]  # what a click tells
    apart = go.Figure(layer_divergence_figures.statistics_apart(rows))
    assert len(apart.data[0].x) == 2, "a channel that never varies has no ratio"
    tests = go.Figure(checkpoints_figures.modes_over_checkpoints(run, "note", [20], 40)).data[2]
    assert list(tests.x) == [20]
    line = go.Figure(batch_context_figures.accuracy_by_batch(accuracy, 0.7, 4)).data[1]
    assert list(line.y) == [70, 70]
    for figure in (
        layer_divergence_figures.channels_apart(rows),
        checkpoints_figures.pairs_over_checkpoints(run, 10),
        corruptions_figures.modes_over_strength(shifts),
        corruptions_figures.modes_by_kind(shifts, ["noise", "noise"]),
        side_effects_figures.accuracy_after(0.5, {"a": 0.6}),
        recalibration_figures.before_and_after(0.5, 0.6, "builtin"),
        batch_context_figures.logits_by_class(np.zeros((5, 10)), np.zeros(10), names),
        batch_context_figures.predictions(pd.Series(range(10)), names, "a", 45),
    ):
        for trace in go.Figure(figure).data:
            assert trace.name
