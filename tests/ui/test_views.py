"""Cards over the recorded run: what a reader sees has title, units, a sentence and few points."""

import numpy as np
import plotly.graph_objects as go
import pytest

from bnviz.config import RunConfig
from bnviz.figures import theme
from bnviz.train.history import History
from bnviz.train.schema import STAGES, schemas
from bnviz.train.store import RECORDED_ID, StoredRun, recorded_run
from bnviz.ui import activations, estimates, intro, start_and_eps, views
from bnviz.ui.live.wire import encode_figure
from bnviz.ui.runs import RunView

FC1 = estimates.Choice("builtin", "fc1", (3, 7), 0.01, 1e-5)


@pytest.fixture
def recorded():
    return RunView(RECORDED_ID, recorded_run())


def all_cards(run):
    return [
        views.curves_card(run),
        views.stages_card(run, "conv1", None),
        views.running_card(run, "conv1", [0, 3], 0.9),
        views.memory_card(run),
        *activations.cards(run, activations.Choice("conv2", STAGES, 100)),
        estimates.estimates_card(run, FC1, None),
        *start_and_eps.start_and_eps_cards(run, FC1),
    ]


def checked(card):
    """The figure after plotly's own checks of every property."""
    return go.Figure(card.figure)


def axes(card):
    layout = checked(card).to_plotly_json()["layout"]
    return {name: axis for name, axis in layout.items() if name.startswith(("xaxis", "yaxis"))}


def test_every_card_has_title_sentence_alternative_and_named_axes(recorded):
    for card in [*all_cards(recorded), intro.card(recorded, "fc1", 400)]:
        assert card.title and card.sentence and card.alt
        titles = [a["title"]["text"] for a in axes(card).values() if a.get("title")]
        assert len(titles) >= 2, card.key
        known = {q.axis() for q in theme.QUANTITIES.values()}
        assert set(titles) <= known, "axis titles come from the one table"


def test_every_series_is_named_and_says_units_on_hover(recorded):
    for card in all_cards(recorded):
        for trace in checked(card).data:
            assert trace.hoverinfo == "skip" or (trace.name and trace.hovertemplate), card.key


def test_figures_stay_small_whatever_the_length_of_the_run():
    config = RunConfig(variants="builtin", steps=20_000)
    history = History(schemas(config.variants))
    count, rng = 20_000, np.random.default_rng(0)
    values = rng.normal(size=(count, 226)).astype(np.float32)
    history["steps-builtin"].extend(
        step=np.arange(1, count + 1), loss=rng.random(count), ms=np.ones(count),
        batch_mean=values, batch_var=values**2, running_mean=values, running_var=values**2,
    )  # fmt: skip
    history["memory-builtin"].extend(
        step=np.arange(count), kept_bytes=np.zeros(count), graph_nodes=np.zeros(count)
    )
    run = RunView("long", StoredRun("long", None, config, history, None))
    for card in all_cards(run):
        for trace in checked(card).data:
            assert trace.x is None or len(trace.x) <= 600, card.key


def test_a_run_that_has_just_begun_has_sentences_instead_of_numbers():
    config = RunConfig(variants="builtin,none", steps=100)
    run = RunView("new", StoredRun("new", None, config, History(schemas(config.variants)), None))
    for card in all_cards(run):
        assert card.sentence
        encode_figure(card.figure)


def test_a_run_without_bn_says_so():
    config = RunConfig(variants="none")
    run = RunView("none", StoredRun("none", None, config, History(schemas(("none",))), None))
    assert "no BN" in views.running_card(run, "conv1", [0], 0.1).sentence


def test_the_difference_of_right_layers_is_explained_where_it_shows():
    assert "rounding" in views.difference_note(RunConfig(variants="composite,builtin"))
    assert views.difference_note(RunConfig(variants="note,builtin")) == ""
    assert views.difference_note(RunConfig(dtype="float64")) == ""


def test_a_change_in_mid_run_is_a_mark_in_every_curve(recorded):
    config = recorded.config
    history = History(schemas(config.variants))
    history.tables = recorded.history.tables
    history.events = [{"step": 50, "kind": "set", "name": "momentum", "old": 0.1, "new": 0.9}]
    run = RunView("marked", StoredRun("marked", None, config, history, recorded.summary))
    for card in (views.curves_card(run), views.running_card(run, "conv1", [0], 0.1),
                 views.memory_card(run)):  # fmt: skip
        [marks] = checked(card).layout.shapes
        assert (marks.path, marks.xref, marks.yref) == ("M50,0V1", "x", "paper")
        assert "momentum 0.1 → 0.9" in [a.text for a in checked(card).layout.annotations]


def test_the_figure_of_home_answers_to_its_step(recorded):
    early, late = (intro.card(recorded, "fc1", step) for step in (10, 400))
    assert early.sentence != late.sentence
    assert not np.array_equal(checked(early).data[1].y, checked(late).data[1].y)
