import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bnviz.config import Quirks
from bnviz.errors import ConfigError, RunError
from bnviz.nn.state import statistics
from bnviz.records import store
from bnviz.records.reading import latest_step
from bnviz.records.recorded_statistics import eps_at, replayed_statistics
from bnviz.records.schema import LAYERS
from bnviz.training.checkpoints import (
    compare_estimators,
    parse_estimators,
    replayable_step,
    replayable_variant,
)
from bnviz.training.trainer import Trainer

ALL = ("composite", "fused", "builtin")


def trained(config, dataset, changes=None):
    """A run to its end, with its weights as a stored run has them."""
    changes = changes or {}
    weights = {}
    with Trainer(config, dataset) as trainer:
        trainer.on_checkpoint = lambda step, variant, state: weights.update(
            {(step, variant): state}
        )
        while not trainer.done:
            if trainer.step_count in changes:
                trainer.set(**changes[trainer.step_count])
            trainer.step()
        trainer.checkpoint()
    return SimpleNamespace(
        config=config,
        history=trainer.history,
        models={name: run.model for name, run in trainer.runs.items()},
        checkpoints=lambda variant: sorted({s for s, v in weights if v == variant}),
        checkpoint=lambda step, variant: {
            name: tensor.numpy() for name, tensor in weights[step, variant].items()
        },
    )


@pytest.fixture
def fewer(sample):
    """The sample with 1,000 training images, so that a population is soon measured."""
    return dataclasses.replace(sample, train_images=sample.train_images[:1000])


@pytest.fixture
def stored(store_run):
    return store_run("note,builtin,none")


@pytest.mark.parametrize("momentum", [0.9, 0.1, 0.01, None], ids=str)
def test_a_replay_at_the_runs_own_momentum_is_what_the_layers_recorded(
    short_config, sample, momentum
):
    variants = ALL if momentum is None else ("note", *ALL)
    config = short_config(variants=variants, momentum=momentum, steps=60, eval_every=10_000)
    run = trained(config, sample)
    for variant in variants:
        found = replayed_statistics(config, run.history, variant, momentum, 60)
        for name, layer in run.models[variant].norm_layers().items():
            own_mean, own_var = (s.double().numpy() for s in statistics(layer))
            assert np.abs((found[name][0] - own_mean) / np.sqrt(own_var)).max() < 1e-4, name
            np.testing.assert_allclose(found[name][1], own_var, rtol=1e-4)


@pytest.mark.parametrize("variant", ["note", *ALL])
def test_momentum_never_reaches_the_weights_and_a_replay_is_the_other_run(
    short_config, sample, fewer, variant
):
    slow, fast = (
        trained(
            short_config(variants=variant, momentum=momentum, steps=60, eval_every=10_000), sample
        )
        for momentum in (0.05, 0.9)
    )
    for one, other in zip(
        slow.models[variant].parameters(), fast.models[variant].parameters(), strict=True
    ):
        assert torch.equal(one, other)
    (replayed,) = compare_estimators(slow, variant, [0.9], dataset=fewer)
    (own,) = compare_estimators(fast, variant, [0.9], dataset=fewer)
    (before,) = compare_estimators(slow, variant, [0.05], dataset=fewer)
    measured = accuracy_of(fast, variant, sample)
    assert abs(own["accuracy"] - measured) <= 2 / len(sample.test_labels)
    assert abs(replayed["accuracy"] - measured) <= 2 / len(sample.test_labels)
    assert abs(before["accuracy"] - measured) > 2 / len(sample.test_labels)


def accuracy_of(run, variant, dataset):
    """Of a run's own model with its own statistics in eval mode, by torch alone."""
    images = torch.tensor(dataset.test_images).float().div(255).unsqueeze(1)
    model = run.models[variant].eval()
    with torch.no_grad():
        return float((model(images).argmax(1).numpy() == dataset.test_labels).mean())


def test_errors_are_differences_to_the_population_by_hand(stored, fewer):
    found = compare_estimators(stored, "builtin", [0.3, None, "population"], dataset=fewer)
    assert [entry["momentum"] for entry in found] == [0.3, "none", "population"]
    exact = found[-1]
    assert (exact["mean_error"], exact["var_error"]) == (0, 0)
    # The population value of the first layer, without any of this project's functions.
    weights = {k: torch.tensor(v) for k, v in stored.checkpoint(25, "builtin").items()}
    x = torch.nn.functional.conv2d(
        torch.tensor(fewer.train_images).float().div(255).unsqueeze(1),
        weights["conv.0.weight"], weights["conv.0.bias"],
    ).double()  # fmt: skip
    mean, var = x.mean((0, 2, 3)).numpy(), x.var((0, 2, 3)).numpy()
    for entry, momentum in ((found[0], 0.3), (found[1], None)):
        statistics = replayed_statistics(stored.config, stored.history, "builtin", momentum, 25)
        off = ((statistics["conv1"][0] - mean) ** 2 / var).mean() ** 0.5
        assert entry["layers"]["conv1"]["mean_error"] == pytest.approx(off, rel=1e-4)
        off = (((statistics["conv1"][1] - var) / var) ** 2).mean() ** 0.5
        assert entry["layers"]["conv1"]["var_error"] == pytest.approx(off, rel=1e-4)
        assert list(entry["layers"]) == list(LAYERS)
        for error in ("mean_error", "var_error"):
            squares = [c * entry["layers"][name][error] ** 2 for name, c in LAYERS.items()]
            assert entry[error] == pytest.approx((sum(squares) / sum(LAYERS.values())) ** 0.5)


def test_the_checkpoint_asked_for_is_the_one_that_is_evaluated(stored, fewer):
    early, late = (
        compare_estimators(stored, "builtin", ["population"], step=step, dataset=fewer)[0]
        for step in (20, None)
    )
    assert early != late
    assert compare_estimators(stored, "builtin", ["population"], step=25, dataset=fewer) == [late]


def test_fewer_test_images_of_the_runs_own_data_set(stored):
    (entry,) = compare_estimators(stored, "note", [0.1], images=10)
    assert 10 * entry["accuracy"] == pytest.approx(round(10 * entry["accuracy"]))
    with pytest.raises(ConfigError, match=r"images: got 0; allowed: 1 or more"):
        compare_estimators(stored, "note", [0.1], images=0)


def test_a_change_of_eps_in_mid_run_is_respected(short_config, sample, fewer):
    config = short_config(variants="builtin", steps=30)
    run = trained(config, sample, changes={21: {"eps": 0.5}})
    assert [eps_at(config, run.history, step) for step in (20, 21, 22, 30)] == [
        1e-5,
        1e-5,
        0.5,
        0.5,
    ]
    (entry,) = compare_estimators(run, "builtin", [0.1], dataset=fewer)
    assert abs(entry["accuracy"] - accuracy_of(run, "builtin", sample)) <= 0.002
    run.history.events.clear()
    (without,) = compare_estimators(run, "builtin", [0.1], dataset=fewer)
    assert without["layers"] != entry["layers"]


def test_a_channel_that_never_varies_is_left_out_of_the_errors(stored, fewer):
    state = dict(stored.checkpoint(25, "builtin"))
    state["conv.0.weight"] = state["conv.0.weight"].copy()
    state["conv.0.weight"][0] = 0
    dead = dataclasses.replace(stored)
    object.__setattr__(dead, "checkpoint", lambda step, variant: state)
    (entry,) = compare_estimators(dead, "builtin", [0.1], dataset=fewer)
    assert np.isfinite(entry["layers"]["conv1"]["var_error"])
    state["conv.0.weight"][:] = 0
    (entry,) = compare_estimators(dead, "builtin", [0.1], dataset=fewer)
    assert entry["layers"]["conv1"] == {"mean_error": None, "var_error": None}


def test_the_notes_own_test_passes_are_not_in_the_record(short_config, sample):
    """They move its statistics, and a replay is what these would have been without them."""
    found = {}
    for every in (10, 10_000):
        config = short_config(
            variants="note", steps=10, eval_every=every, quirks=Quirks(keep_graph=False)
        )
        run = trained(config, sample)
        found[every] = (
            replayed_statistics(config, run.history, "note", 0.1, 10)["fc1"][0],
            statistics(run.models["note"].norm_layers()["fc1"])[0].numpy(),
        )
    np.testing.assert_array_equal(found[10][0], found[10_000][0])
    assert np.abs(found[10][1] - found[10_000][1]).max() > 1e-3


def test_at_a_checkpoint_the_record_is_complete(short_config, sample):
    """Weights of a step can be replayed as soon as they are there."""
    seen = []
    with Trainer(short_config(variants="builtin,none", steps=25), sample) as trainer:
        trainer.on_checkpoint = lambda step, variant, _state: seen.append(
            (step, latest_step(trainer.history, variant))
        )
        while not trainer.done:
            trainer.step()
    assert seen == [(20, 20), (20, 20)]


def test_words_become_estimators():
    assert parse_estimators("0.9, 1,0,none,population") == [0.9, 1.0, 0.0, None, "population"]


@pytest.mark.parametrize("word", ["fast", "1.5", "-0.1", "nan", ""])
def test_a_word_that_is_no_estimator_is_refused(word, stored):
    with pytest.raises(ConfigError, match=rf"momentum: got '?{word}'?; allowed: numbers from 0"):
        parse_estimators(f"0.9,{word}")


@pytest.mark.parametrize("momentum", ["fast", 1.5, float("nan")])
def test_a_momentum_that_is_none_is_refused_before_anything_is_measured(stored, momentum):
    with pytest.raises(ConfigError, match=r"momentum: got .*population"):
        compare_estimators(stored, "builtin", [momentum])


def test_only_variants_with_running_statistics_can_be_replayed(stored, short_config):
    assert replayable_variant(stored.config) == "builtin"
    assert replayable_variant(stored.config, "note") == "note"
    for variant in ("none", "fused"):
        with pytest.raises(ConfigError, match=rf"variant: got '{variant}'; allowed: note, builtin"):
            compare_estimators(stored, variant, [0.1])
    with pytest.raises(ConfigError, match="choose another run"):
        replayable_variant(short_config(variants="none"))


def test_a_step_without_weights_is_refused_with_those_that_have(stored):
    assert replayable_step(stored, "builtin") == 25
    with pytest.raises(ConfigError, match=r"step: got 7.*20, 25"):
        compare_estimators(stored, "builtin", [0.1], step=7)


def test_a_run_without_weights_is_refused(stored):
    for path in (stored.folder / "checkpoints").iterdir():
        path.unlink()
    with pytest.raises(RunError, match="No weights of builtin"):
        compare_estimators(stored, "builtin", [0.1])


def test_a_record_that_ends_before_the_weights_is_refused(stored):
    (stored.folder / "summary.json").unlink()
    table = stored.folder / "steps-builtin.arrow"
    table.write_bytes(table.read_bytes()[:2000])
    with pytest.raises(RunError, match=r"builtin ends at step 0.*step 25.*another run"):
        compare_estimators(store.open_run(stored.folder), "builtin", [0.1])


def test_of_a_record_that_ends_earlier_the_newest_weights_that_it_covers_are_taken(
    stored, monkeypatch
):
    assert replayable_step(stored, "builtin") == 25
    monkeypatch.setattr("bnviz.training.checkpoints.latest_step", lambda history, variant: 22)
    assert replayable_step(stored, "builtin") == 20
    assert replayable_step(stored, "builtin", 20) == 20
    with pytest.raises(RunError, match=r"ends at step 22.*step 25.*Choose step 20"):
        replayable_step(stored, "builtin", 25)


def test_weights_that_do_not_fit_are_refused(stored, fewer):
    state = dict(stored.checkpoint(25, "builtin"))
    del state["fc.0.weight"]
    odd = dataclasses.replace(stored)
    object.__setattr__(odd, "checkpoint", lambda step, variant: state)
    with pytest.raises(RunError, match=r"builtin at step 25 does not fit.*fc.0.weight"):
        compare_estimators(odd, "builtin", [0.1], dataset=fewer)
