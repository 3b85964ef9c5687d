"""Each figure is worked out once for all who look, and as often as training can spare."""

import threading

import pytest

from bnviz.app import figure_answers as module
from bnviz.app.figure_answers import LOOKED_AT_S, SHARE_OF_A_CORE, SHORTEST_S, FigureAnswers
from bnviz.charts import registry
from bnviz.charts.card import Card
from bnviz.charts.registry import NotReady
from bnviz.config import RunConfig
from bnviz.errors import ConfigError, RunError
from bnviz.records.store import recorded_run
from bnviz.training.jobs import Job
from bnviz.training.process import measurements
from bnviz.training.run_view import RunView
from tests.waiting import until


class Clock:
    """Seconds that pass when a test says so; one drawing takes `cost` of a core."""

    def __init__(self):
        self.now, self.spent, self.cost = 100.0, 0.0, 0.01

    def monotonic(self):
        return self.now

    def thread_time(self):
        self.spent += self.cost / 2  # asked before and after a drawing
        return self.spent


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def drawn(monkeypatch):
    """A registered figure that counts how often it is drawn."""
    calls = []
    monkeypatch.setattr(registry, "FIGURES", dict(registry.FIGURES))

    @registry.figure("test/counted", "counted", needs=("layer", "momentum"))
    def counted(run, chosen):
        calls.append(chosen.layer)
        return Card("counted", chosen.layer, {"data": [{"y": [len(calls)]}], "layout": {}})

    return calls


@pytest.fixture
def live():
    """A run that goes on, without a thread behind it."""
    job = Job(RunConfig(), None, "live")
    job.steps_done = 1
    return job


@pytest.fixture
def answers(live):
    runs = {"recorded": RunView("recorded", recorded_run()), "live": RunView("live", live)}

    def open_run(name):
        if name not in runs:
            raise RunError(f"run: there is no run {name!r} here.")
        return runs[name]

    yield FigureAnswers(open_run)
    measurements().end_all()
    measurements.cache_clear()


LIVE = {"run": "live", "layer": "fc1"}


def test_a_figure_of_a_run_that_has_ended_is_drawn_once_and_final(answers, drawn, clock):
    first = answers.answer("test/counted", {"layer": "fc1"})
    clock.now += 1000
    assert answers.answer("test/counted", {"layer": "fc1"}) is first
    assert first.again is None
    assert len(drawn) == 1


def test_thirty_readers_of_a_live_run_cost_one_drawing_an_interval(answers, drawn, clock, live):
    for _second in range(10):
        for _reader in range(30):
            answers.answer("test/counted", LIVE)
            clock.now += 1 / 30
            live.steps_done += 1
    assert 18 <= len(drawn) <= 21, "two a second"


def test_other_selections_are_other_figures(answers, drawn):
    for layer in ("fc1", "fc2"):
        answers.answer("test/counted", {**LIVE, "layer": layer})
    answers.answer("test/counted", {**LIVE, "momentum": "0.5"})
    assert drawn == ["fc1", "fc2", "fc1"]


def test_the_interval_stretches_with_what_all_figures_take(answers, drawn, clock):
    clock.cost = 0.1
    for layer in ("conv1", "conv2", "fc1", "fc2"):
        answers.answer("test/counted", {**LIVE, "layer": layer})
    seconds = sum(kept.seconds for kept in answers._kept.values())
    assert answers.interval(clock.now) == pytest.approx(seconds / SHARE_OF_A_CORE)
    assert answers.interval(clock.now) > SHORTEST_S
    clock.now += 2 * LOOKED_AT_S
    assert answers.interval(clock.now) == SHORTEST_S, "nobody looks any more"


def test_nothing_new_is_nothing_drawn_and_the_same_etag(answers, drawn, clock):
    first = answers.answer("test/counted", LIVE)
    clock.now += 10
    again = answers.answer("test/counted", LIVE)
    assert len(drawn) == 1
    assert again.etag == first.etag


def test_another_number_is_another_etag(answers, drawn, clock, live):
    first = answers.answer("test/counted", LIVE)
    clock.now += 10
    live.steps_done += 1
    assert answers.answer("test/counted", LIVE).etag != first.etag
    assert len(drawn) == 2


def test_what_a_task_has_found_is_shown_at_once(answers, drawn, clock):
    query = {"layer": "fc1"}
    answers.answer("test/counted", query)
    task = measurements().begin("recorded", "test", work=lambda progress: 1)
    until(lambda: not task.going_on)
    assert answers.answer("test/counted", query).document["card"]["figure"]["data"][0]["y"] == [2]


def test_a_page_gets_the_newest_without_waiting_for_its_turn(answers, drawn, clock, live):
    answers.answer("test/counted", LIVE)
    live.steps_done += 1
    answers.answer("test/counted", LIVE, newest=True)
    assert len(drawn) == 2


def test_while_another_is_drawn_the_one_of_before_is_answered(answers, drawn, clock, live):
    first = answers.answer("test/counted", LIVE)
    clock.now += 10
    live.steps_done += 1
    found = []
    with answers._drawing:
        reader = threading.Thread(target=lambda: found.append(answers.answer("test/counted", LIVE)))
        reader.start()
        reader.join(20)
    assert found == [first]


def test_a_figure_that_is_not_there_yet_says_why_and_when_to_ask(answers, drawn):
    @registry.figure("test/later", "later")
    def later(run, chosen):
        raise NotReady("working", "3 of 9", 1 / 3)

    assert answers.answer("test/later", {}).document == {
        "card": None, "state": "working", "text": "3 of 9", "progress": 1 / 3, "again": SHORTEST_S,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "query", "said"),
    [
        ("test/none", {}, "figure: got 'test/none'; allowed: "),
        ("test/counted", {"stage": "input"}, "stage: no such parameter; allowed: run, layer"),
        ("test/counted", {"layer": "conv9"}, "layer: got 'conv9'; allowed: conv1"),
        ("test/counted", {"run": "../recorded"}, "run: there is no run '../recorded' here"),
    ],
)
def test_bad_parameters_are_one_sentence(answers, drawn, name, query, said):
    with pytest.raises((ConfigError, RunError)) as refused:
        answers.answer(name, query)
    assert str(refused.value).startswith(said)
