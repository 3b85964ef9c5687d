"""The ablation at small size: 100 steps on 600 images, tests on 200, which is 12 batches and a half."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from bnviz.config import Quirks, RunConfig
from bnviz.errors import ConfigError
from bnviz.evaluation.population import population_statistics
from bnviz.nn.state import snapshot, statistics
from bnviz.subjects.note import ablation, ablation_section
from bnviz.subjects.note.ablation import Bench, run_bench
from bnviz.subjects.note.ablation_effects import EXACT, NOISY, effects, verdict, with_spread
from bnviz.subjects.note.quirk_settings import (
    ALL,
    LABELS,
    NONE,
    QUIRKS,
    TOGETHER,
    config_of,
    on_in,
    setting_of,
    side_parts,
    words,
)
from bnviz.subjects.note.recorded import recorded_bench
from bnviz.training.steps import (
    Images,
    batches,
    build_model,
    build_optimizer,
    note_test,
    train_step,
)
from bnviz.training.tasks import Cancelled
from tests.paths import ROOT

MIB = 2**20
TRAINS_OTHERWISE = {"conv_shift_one", "chained_mean"}
LEAK_WITHOUT = [",".join(q for q in TOGETHER["leak"] if q != left) for left in TOGETHER["leak"]]


@pytest.fixture(scope="module")
def little(sample):
    return dataclasses.replace(
        sample,
        train_images=sample.train_images[:600],
        train_labels=sample.train_labels[:600],
        test_images=sample.test_images[:200],
        test_labels=sample.test_labels[:200],
    )


@pytest.fixture(scope="module")
def bench(little):
    settings = [*ablation.SETTINGS, *LEAK_WITHOUT]
    return run_bench(settings, (0,), 100, dataset=little)


@pytest.fixture(scope="module")
def row(bench):
    return bench.frame.set_index("setting").loc


def test_no_quirk_alone_fills_the_memory(row):
    """The graph alone leaves the scalars of its nodes: some hundred bytes a step, no activation."""
    for quirk in QUIRKS:
        assert row[quirk]["kept_bytes"] <= (200 * 100 if quirk == "keep_graph" else 0)
    assert row["keep_graph"]["kept_nodes"] > 50 * 100


def test_four_together_keep_every_test_image(row):
    """1,398,712 bytes a batch of 16, as `torch.profiler` counts them, and the images themselves."""
    expected = 200 * (1_398_712 / 16 + 28 * 28 * 4)
    for setting in ("leak", ALL):
        assert row[setting]["kept_bytes"] == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("setting", LEAK_WITHOUT)
def test_without_any_one_of_the_four_nothing_is_kept(row, setting):
    assert row[setting]["kept_bytes"] <= 200 * 100


def test_the_printed_loss_is_divided_by_the_batch_size(row):
    assert row["loss_divided_twice"]["printed_loss"] * 16 == pytest.approx(
        row[NONE]["printed_loss"]
    )
    assert row["loss_divided_twice"]["loss_factor"] == pytest.approx(1 / 16)
    assert row[NONE]["loss_factor"] == 1


def test_the_printed_accuracy_is_low_by_the_images_that_the_last_batch_lacks(row):
    """200 images are 13 batches, for which the note divides by 208."""
    assert row["accuracy_over_full_batches"]["accuracy_factor"] == pytest.approx(200 / 208)
    assert row[NONE]["accuracy_factor"] == pytest.approx(1)
    expected = row[NONE]["printed_accuracy"] * 200 / 208
    assert row["accuracy_over_full_batches"]["printed_accuracy"] == pytest.approx(expected)


def test_plain_attributes_are_lost_by_saving(row):
    assert row[NONE]["reload_change"] == row["keep_graph"]["reload_change"] == 0
    lost = row["plain_attributes"]
    assert lost["eval_accuracy"] == row[NONE]["eval_accuracy"] > 0.4
    assert lost["reloaded_accuracy"] < 0.2


def test_the_measures_are_those_of_a_run_trained_here(little):
    """The same batches by hand; of the loss the last 100 steps count."""
    found = run_bench([NONE], (0,), 150, dataset=little).frame.loc[0]
    config = config_of(NONE, seed=0, steps=150, batch_size=16, device="cpu")
    images = Images(little, torch.device("cpu"))
    model = build_model(config, "note", torch.device("cpu"))
    optimizer, losses = build_optimizer(config, model, torch.device("cpu")), []
    for _step, batch in zip(range(150), batches(images, config), strict=False):
        losses.append(train_step(model, optimizer, *batch).item())
    assert found["train_loss"] == pytest.approx(np.mean(losses[-100:]), rel=1e-4)
    population = population_statistics(model, images.train[: ablation.POPULATION_IMAGES])
    ratios = [
        statistics(layer)[1].numpy() / population[name][1] - 1
        for name, layer in model.norm_layers().items()
    ]
    off = np.sqrt(np.mean(np.concatenate(ratios) ** 2))
    assert found["var_drift"] == pytest.approx(off, rel=0.01)


def test_the_time_of_a_step_is_the_median_of_its_steps(little, monkeypatch):
    monkeypatch.setattr(ablation, "median", lambda times: len(times))
    found = run_bench([NONE], (0,), 100, dataset=little).frame.loc[0]
    assert found["ms"] == 100


def test_most_quirks_do_not_touch_training(row):
    for quirk in set(QUIRKS) - TRAINS_OTHERWISE:
        assert row[quirk]["train_loss"] == row[NONE]["train_loss"], quirk
        assert row[quirk]["train_accuracy"] == row[NONE]["train_accuracy"], quirk


def test_test_passes_move_the_statistics_only_if_both_quirks_are_on(row):
    for quirk in TOGETHER["moving_tests"]:
        assert row[quirk]["mean_drift"] == row[NONE]["mean_drift"]
    assert row["moving_tests"]["mean_drift"] != row[NONE]["mean_drift"]


@pytest.fixture(scope="module")
def apart(little):
    """By setting and seed, how much further from the population's the running statistics end."""
    settings = [NONE, "moving_tests", "momentum_of_new"]
    frame = run_bench(settings, (0, 1, 2), 100, dataset=little).frame
    measures = ["mean_drift", "var_drift", "train_loss", "train_accuracy"]
    wide = frame.set_index(["setting", "seed"])[measures]
    return {setting: wide.loc[setting] - wide.loc[NONE] for setting in settings[1:]}


def test_means_moved_by_test_images_end_nearer_to_the_population_s(apart):
    """The weights are the same, so it is the test images that moved them."""
    changed = apart["moving_tests"]
    assert (changed[["train_loss", "train_accuracy"]] == 0).all(axis=None)
    assert (changed["mean_drift"] < -0.1).all()


def test_of_0_9_the_means_end_nearer_and_the_variances_further(apart):
    changed = apart["momentum_of_new"]
    assert (changed["mean_drift"] < -0.1).all()
    assert (changed["var_drift"] > 0.01).all()


def test_a_pass_that_must_not_move_the_statistics_puts_them_back(little):
    quirks = Quirks(test_moves_statistics=False)
    config = config_of(setting_of(set(QUIRKS) - {"test_moves_statistics"}))
    model = build_model(config, "note", torch.device("cpu"))
    images, before = Images(little, torch.device("cpu")), snapshot(model)
    note_test(
        model, images.test, images.test_labels, batch_size=16, quirks=quirks, go_on=lambda: True
    )  # fmt: skip
    assert model.training
    for name, value in snapshot(model).items():
        assert torch.equal(value, before[name]), name
    assert model.conv[1].running_mean.grad_fn is None


@pytest.fixture
def models(monkeypatch):
    """The networks that the bench has made."""
    made = []

    def build(*arguments):
        made.append(build_model(*arguments))
        return made[-1]

    monkeypatch.setattr("bnviz.training.trainer.build_model", build)
    return made


def holds_a_graph(model):
    return any(layer.running_mean.grad_fn is not None for layer in model.norm_layers().values())


def test_past_the_limit_a_run_ends_says_so_and_frees_what_it_kept(little, models):
    bench = run_bench(["none", "leak"], (0,), 200, dataset=little, limit_mib=5)
    stopped = bench.frame.set_index("setting").loc["leak"]
    assert stopped["kept_bytes"] > 5 * MIB
    assert "at step 200, more than the limit of 5 MiB" in stopped["stopped"]
    assert bench.frame.loc[0, "stopped"] == ""
    assert models and not any(map(holds_a_graph, models))


def test_a_cancelled_bench_ends_within_a_run_and_frees_what_it_kept(little, models):
    heard = []

    def progress(done, parts, share=None):
        heard.append((done, share))
        if len(heard) == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        run_bench(["leak"], (0,), 400, progress, dataset=little)
    assert models and not any(map(holds_a_graph, models))
    assert heard[1][0] == 0 and heard[1][1] < 0.5


def test_a_bench_survives_its_own_json(bench):
    back = Bench.from_json(bench.to_json())
    pd.testing.assert_frame_equal(back.frame, bench.frame)
    assert dataclasses.replace(back, frame=None) == dataclasses.replace(bench, frame=None)


def made_up(eval_change, eval_spread, times=1):
    """A bench of 3 x times seeds in which a quirk changes the accuracy so much on the average."""
    rows = []
    for seed, noise in enumerate((-1.0, 0.0, 1.0) * times):
        same = dict.fromkeys([*NOISY, *EXACT], 1.0)
        change = eval_change + eval_spread * noise
        rows.append({"setting": NONE, "seed": seed, **same, "eval_accuracy": 0.8})
        rows.append(
            {"setting": "chained_mean", "seed": seed, **same, "eval_accuracy": 0.8 + change}
        )
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("change", "spread", "clear"),
    [(-0.05, 0.01, True), (-0.05, 0.03, False), (0.05, 0.01, True), (0.0, 0.0, False)],
)
def test_a_difference_counts_when_0_is_outside_of_its_interval(change, spread, clear):
    found = effects(made_up(change, spread)).set_index("measure").loc["eval_accuracy"]
    assert found["difference"] == pytest.approx(change)
    assert found["spread"] == pytest.approx(spread)  # of -1, 0 and 1 the standard deviation is 1
    assert found["interval"] == pytest.approx(
        stats.t.ppf(0.975, 2) * spread / math.sqrt(3), rel=1e-3
    )
    assert found["clear"] == clear


def test_more_seeds_settle_what_three_leave_open():
    """t over 12 seeds is 2.20: 2.20 x 0.03 x sqrt(8 / 11) / sqrt(12) is 0.016."""
    few, many = (effects(made_up(-0.02, 0.03, times)) for times in (1, 4))
    assert not few[few["measure"] == "eval_accuracy"]["clear"].item()
    assert many[many["measure"] == "eval_accuracy"]["clear"].item()


def test_the_verdict_names_cost_and_spread_or_no_effect():
    costs = verdict(effects(made_up(-0.05, 0.01)), "chained_mean", 3)
    assert costs == "Costs 5.00 ± 1.00 points of accuracy in eval mode."
    unsettled = verdict(effects(made_up(-0.05, 0.03)), "chained_mean", 3)
    assert unsettled == (
        "Inconclusive with 3 seeds: -5.00 ± 3.00 points in eval mode, anywhere from -12.45 to +2.45 "
        "(95% interval)."
    )
    harmless = verdict(effects(made_up(-0.0005, 0.001)), "chained_mean", 3)
    assert harmless == (
        "No effect above 1 point: -0.05 ± 0.10 points in eval mode, from -0.30 to +0.20 (95% interval)."
    )
    to_zero = verdict(effects(made_up(0.001, 0.000415)), "chained_mean", 3)
    assert to_zero.endswith("from +0.00 to +0.20 (95% interval).")
    same = verdict(effects(made_up(0.0, 0.0)), "chained_mean", 3)
    assert same == "No effect: accuracy is the same at every seed."


@pytest.mark.parametrize("change", [(-0.30, -0.02), (-0.10, 0.02, -0.05)])
def test_a_large_spread_is_inconclusive(change):
    frame = made_up(0.0, 0.0)
    frame = frame[frame["seed"] < len(change)].copy()
    frame.loc[frame["setting"] == "chained_mean", "eval_accuracy"] += np.array(change)
    said = verdict(effects(frame), "chained_mean", len(change))
    assert said.startswith(f"Inconclusive with {len(change)} seeds")


def test_three_seeds_that_happen_to_agree_count_only_beside_the_usual_spread():
    """0 is outside of the first quirk's own interval, but the other quirks spread much further."""
    agreeing, others = made_up(-0.01, 0.001), []
    for name in ("conv_shift_one", "momentum_of_new"):
        other = made_up(0.0, 0.02)
        others.append(other[other["setting"] != NONE].assign(setting=name))
    counts = [
        effects(pd.concat([agreeing, *more])).set_index(["setting", "measure"])["clear"]
        for more in ([], others)
    ]
    assert [found["chained_mean", "eval_accuracy"] for found in counts] == [True, False]


@pytest.mark.parametrize(("share", "clear"), [(0.05, False), (0.2, True)])
def test_a_time_counts_from_a_tenth_of_a_step(share, clear):
    frame = made_up(0.0, 0.0)
    slower = frame["setting"] == "chained_mean"
    frame.loc[slower, "ms"] += share * (1 + 0.01 * frame.loc[slower, "seed"])
    found = effects(frame).set_index("measure").loc["ms"]
    assert found["clear"] == clear


def test_one_seed_proves_nothing_but_what_is_exact(bench):
    found = effects(bench.frame)
    clear = found[found["clear"]]
    assert set(clear["measure"]) <= set(EXACT)
    assert "One seed shows no spread" in verdict(found, "conv_shift_one", 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"seeds": ()}, "seeds"),
        ({"seeds": (1, 1)}, "seeds: got '1,1'"),
        ({"seeds": (-1,)}, "seed: got -1"),
        ({"steps": 20}, "steps: got 20; allowed: 100 to"),
        ({"settings": ["keep_grph"]}, "did you mean 'keep_graph'"),
        ({"batch_size": 4000}, "600 training images"),
    ],
)
def test_what_the_bench_cannot_do_is_refused(little, arguments, said):
    with pytest.raises(ConfigError, match=said):
        run_bench(**arguments, dataset=little)


def test_settings_are_written_and_read():
    for setting in ablation.SETTINGS:
        assert setting_of(on_in(setting)) == setting
        assert words(setting) == LABELS[setting]
    assert on_in("chained_mean, keep_graph") == {"keep_graph", "chained_mean"}
    assert config_of(ALL).quirks == Quirks() and config_of(ALL).momentum == 0.9
    assert not any(config_of(NONE).quirks.model_dump().values())
    assert config_of(NONE).momentum == 0.1


@pytest.mark.parametrize("side", ["nonsense", "builtin:keep_graph", "note:nonsense"])
def test_a_side_that_there_is_not_is_refused(side):
    with pytest.raises(ConfigError, match="allowed"):
        side_parts(side)


def test_configs_stored_before_there_was_the_switch_still_open():
    old = Quirks().model_dump()
    del old["test_moves_statistics"]
    assert RunConfig.parse(quirks=old).quirks == Quirks()


def test_the_recorded_bench_is_whole_and_says_where_it_comes_from():
    bench = recorded_bench()
    assert set(bench.frame["setting"]) == set(ablation.SETTINGS)
    assert bench.frame.groupby("setting")["seed"].apply(tuple).map(lambda s: s == (0, 1, 2)).all()
    assert bench.made["command"] == "python -m bnviz quirks"
    kept = bench.frame.groupby("setting")["kept_bytes"].min() / MIB
    assert set(kept.index[kept > 1]) == {"leak", ALL}
    assert np.isfinite(bench.frame[list(NOISY)].to_numpy()).all()
    found = effects(bench.frame)
    assert "Costs" in verdict(found, "plain_attributes", 3)
    assert "16 times too small" in verdict(found, "loss_divided_twice", 3)
    assert "No effect" in verdict(found, "biased_running_var", 3)
    assert "Inconclusive" in verdict(found, "chained_mean", 3)


def test_the_table_in_the_docs_says_of_every_setting_what_the_recorded_bench_says():
    document = (ROOT / "docs" / "questions.md").read_text()
    table = document.split("| quirk | what it costs here |\n| --- | --- |\n")[1].split("\n\n")[0]
    said = dict(row.strip("| ").split(" | ") for row in table.splitlines())
    found = effects(recorded_bench().frame)
    settings = list(dict.fromkeys(found["setting"]))
    assert sorted(said) == sorted(LABELS[setting] for setting in settings)
    for setting in settings:
        assert said[LABELS[setting]].startswith(verdict(found, setting, 3)), setting


def test_a_single_seed_has_no_spread():
    """It was once said to have one of 0."""
    assert with_spread(1.5, float("nan"), "+.2f") == "+1.50"
    assert with_spread(-1.5, 0.25, "+.2f") == "-1.50 ± 0.25"
    whole = recorded_bench()
    one = dataclasses.replace(whole, frame=whole.frame[whole.frame["seed"] == 0], seeds=(0,))
    changes = effects(one.frame)
    for setting in dict.fromkeys(changes["setting"]):
        assert "±" not in verdict(changes, setting, 1)
    for measure in ablation_section.MEASURES:
        labels = {str(s): str(s) for s in dict.fromkeys(changes["setting"])}
        assert "±" not in ablation_section.effect_sentence(one, changes, measure, labels)
