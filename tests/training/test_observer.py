"""Observers are called in a known order, when their cadence says so, and their time is taken."""

import pytest

from bnviz.training.observer import Cadence, Observer
from bnviz.training.observers import OBSERVERS
from bnviz.training.trainer import Trainer


@pytest.fixture
def calls():
    return []


@pytest.fixture
def kinds(calls):
    """Two observers of each variant and one of the whole run, which note what they are called for."""

    class First(Observer):
        def before_update(self, step):
            calls.append(("before", type(self).__name__, self.run.variant, step))

        def after_update(self, step, loss):
            calls.append(("after", type(self).__name__, self.run.variant, step))

        def failed(self):
            calls.append(("failed", type(self).__name__, self.run.variant))

    class Second(First):
        when = "stages"

    class Whole(Observer):
        of_each_variant = False

        def after_step(self, step):
            calls.append(("step", "Whole", self.run, step))

    return First, Second, Whole


def test_the_first_is_nearest_to_the_update_and_each_comes_at_its_own_steps(
    short_config, sample, kinds, calls
):
    config = short_config(variants="builtin", stages_every=2, observe_budget=1.0)
    with Trainer(config, sample, observers=kinds) as trainer:
        for _ in range(3):
            trainer.step()
    assert calls == [
        ("before", "Second", "builtin", 1), ("before", "First", "builtin", 1),
        ("after", "First", "builtin", 1), ("after", "Second", "builtin", 1), ("step", "Whole", None, 1),
        ("before", "Second", "builtin", 2), ("before", "First", "builtin", 2),
        ("after", "First", "builtin", 2), ("after", "Second", "builtin", 2), ("step", "Whole", None, 2),
        ("before", "First", "builtin", 3),
        ("after", "First", "builtin", 3), ("step", "Whole", None, 3),
    ]  # fmt: skip


def test_a_variant_that_has_stopped_is_not_looked_at(short_config, sample, kinds, calls):
    with Trainer(short_config(variants="builtin,none"), sample, observers=kinds) as trainer:
        trainer.stop(trainer.runs["none"], "no more")
        trainer.stop(trainer.runs["none"], "told twice")
        trainer.step()
    assert {variant for _what, _kind, variant, *_step in calls} == {"builtin", None}
    assert [event["reason"] for event in trainer.history.events] == ["no more"]


def test_observers_hear_of_an_update_that_fails(short_config, sample, kinds, calls):
    def boom():
        raise RuntimeError("boom")

    with Trainer(short_config(variants="builtin"), sample, observers=kinds) as trainer:
        trainer.runs["builtin"].optimizer.step = boom
        with pytest.raises(RuntimeError, match="boom"):
            trainer.step()
    assert calls[-2:] == [("failed", "First", "builtin"), ("failed", "Second", "builtin")]


def test_the_time_of_each_observer_is_its_own_and_all_of_it_is_observing(short_config, sample):
    with Trainer(short_config(variants="builtin"), sample) as trainer:
        for _ in range(4):
            trainer.step()
        spent = {type(each): each.seconds for each in trainer.observers}
        assert trainer.observing_share == pytest.approx(sum(spent.values()) / trainer.seconds)
        assert 0 < trainer.observing_share < 1
    assert set(spent) < set(OBSERVERS), "gradients only where they are asked for"


def test_a_cadence_over_its_share_looks_less_often_but_looks():
    cadence, looked = Cadence(10, share=0.1, early=(1,)), []
    for step in range(1, 301):
        cadence.decide(step, total=100.0)
        if cadence.now:
            looked.append(step)
            cadence.seconds = 11.0 if step < 210 else 9.0
    assert looked == [1, 110, 210, 220, 230, 240, 250, 260, 270, 280, 290, 300]
