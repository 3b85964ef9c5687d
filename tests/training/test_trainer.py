import pytest
import torch
from torch.nn import functional as F

from bnviz.config import Quirks
from bnviz.errors import ConfigError
from bnviz.nn.state import snapshot
from bnviz.nn.variants import VARIANTS
from bnviz.records.reading import accuracy_curves
from bnviz.records.schema import LAYERS, layer_slice, stages_table, steps_table
from bnviz.training.observers import Evaluator
from bnviz.training.trainer import Trainer


def run(config, dataset, **options):
    with Trainer(config, dataset, **options) as trainer:
        while not trainer.done:
            trainer.step()
        trainer.finish()
    return trainer


def assert_same_state(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def test_observers_never_change_the_run(short_config, sample):
    """With everything watched as often as possible, the weights are those of a bare run."""
    config = short_config(
        variants="composite,fused,builtin,none",
        stages_every=1,
        memory_every=1,
        eval_every=3,
        gradients=True,
    )
    bare, watched = run(config, sample, observers=()), run(config, sample)
    for variant in config.variants:
        assert_same_state(snapshot(bare.runs[variant].model), snapshot(watched.runs[variant].model))


def test_observers_do_not_change_the_note_either(short_config, sample):
    config = short_config(
        variants="note", stages_every=1, memory_every=1, eval_every=5, steps=11, gradients=True
    )
    bare, watched = run(config, sample, observers=()), run(config, sample)
    assert_same_state(snapshot(bare.runs["note"].model), snapshot(watched.runs["note"].model))


@pytest.mark.parametrize("variant", VARIANTS)
def test_evaluation_leaves_statistics_and_mode_alone(short_config, sample, variant):
    with Trainer(short_config(variants=variant, quirks=Quirks()), sample) as trainer:
        for _ in range(3):
            trainer.step()
        model = trainer.runs[variant].model
        before = snapshot(model)
        trainer.runs[variant].observer(Evaluator).evaluate(200)
        assert_same_state(before, snapshot(model))
        assert model.training


def test_all_variants_start_with_the_same_weights_and_see_the_same_batches(short_config, sample):
    with Trainer(short_config(variants="composite,fused,builtin,none"), sample) as trainer:
        weights = [run.model.conv[0].weight.clone() for run in trainer.runs.values()]
        assert all(torch.equal(weights[0], other) for other in weights)
        trainer.step()
        trainer.flush()
        first = [
            trainer.history[steps_table(v)].column("batch_mean")[0, layer_slice("conv1")]
            for v in ("composite", "fused", "builtin")
        ]
    for other in first[1:]:
        torch.testing.assert_close(torch.tensor(other), torch.tensor(first[0]))


def winners_of(model, places):
    """Write into `places` where each maximum pooling of `model` took its values from."""

    def look(pool, inputs, _output):
        found = F.max_pool2d(inputs[0].detach(), pool.kernel_size, return_indices=True)
        places[pool] = found[1]

    for pool in model.modules():
        if isinstance(pool, torch.nn.MaxPool2d):
            pool.register_forward_hook(look)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_right_layers_agree_in_float32_until_a_pooling_takes_another_pixel(
    short_config, sample, seed
):
    """From there on the gradient flows elsewhere (`benchmarks/parting.py`), in no layer's fault."""
    config = short_config(variants="composite,fused,builtin", steps=20, seed=seed)
    with Trainer(config, sample) as trainer:
        places = {v: {} for v in config.variants}
        for variant, run_of in trainer.runs.items():
            winners_of(run_of.model, places[variant])
        same = True
        while same and not trainer.done:
            trainer.step()
            found = [list(of.values()) for of in places.values()]
            same = all(
                torch.equal(a, b)
                for other in found[1:]
                for a, b in zip(found[0], other, strict=True)
            )
        trainer.flush()
        assert trainer.step_count >= 2
        losses = [
            torch.tensor(trainer.history[steps_table(v)].column("loss")) for v in config.variants
        ]
    for other in losses[1:]:
        torch.testing.assert_close(other, losses[0], atol=1e-4, rtol=0)


def test_right_layers_agree_for_a_hundred_steps_in_float64(short_config, sample):
    config = short_config(variants="composite,fused,builtin", steps=100, dtype="float64")
    history = run(config, sample).history
    losses = [torch.tensor(history[steps_table(v)].column("loss")) for v in config.variants]
    for other in losses[1:]:
        torch.testing.assert_close(other, losses[0], atol=1e-8, rtol=0)


@pytest.mark.parametrize("variant", ["composite", "fused", "builtin"])
def test_recorded_batch_statistics_are_those_of_the_layers_input(short_config, sample, variant):
    with Trainer(short_config(variants=variant), sample) as trainer:
        inputs = {}
        for name, layer in trainer.runs[variant].model.norm_layers().items():
            layer.register_forward_hook(
                lambda _m, args, _out, name=name: inputs.__setitem__(name, args[0].detach())
            )
        trainer.step()
        trainer.flush()
    row = trainer.history[steps_table(variant)]
    for name, x in inputs.items():
        values = x.transpose(0, 1).flatten(1).double()
        for column, expected in (
            ("batch_mean", values.mean(1)),
            ("batch_var", values.var(1, correction=0)),
        ):
            torch.testing.assert_close(
                torch.tensor(row.column(column)[0, layer_slice(name)]).double(),
                expected,
                atol=2e-6,
                rtol=1e-4,
            )


def test_recorded_running_statistics_are_the_layers_own(short_config, sample):
    trainer = run(short_config(variants="builtin"), sample)
    row = trainer.history[steps_table("builtin")]
    for name, layer in trainer.runs["builtin"].model.norm_layers().items():
        where = layer_slice(name)
        assert torch.equal(torch.tensor(row.column("running_mean")[-1, where]), layer.running_mean)
        assert torch.equal(torch.tensor(row.column("running_var")[-1, where]), layer.running_var)


def test_a_change_in_mid_run_acts_from_the_next_step_and_is_an_event(short_config, sample):
    with Trainer(short_config(variants="composite,builtin"), sample) as trainer:
        for _ in range(4):
            trainer.step()
        trainer.set(momentum=0.5, eps=1e-3, lr=0.002)
        trainer.step()
    assert [(e["step"], e["name"], e["old"], e["new"]) for e in trainer.history.events] == [
        (4, "momentum", 0.1, 0.5),
        (4, "eps", 1e-5, 1e-3),
        (4, "lr", 0.01, 0.002),
    ]
    for one in trainer.runs.values():
        assert {layer.momentum for layer in one.model.norm_layers().values()} == {0.5}
        assert {layer.eps for layer in one.model.norm_layers().values()} == {1e-3}
        assert one.optimizer.param_groups[0]["lr"] == 0.002


def test_variances_recorded_around_a_change_of_eps_are_right(short_config, sample):
    """nn.BatchNorm hands over 1/sqrt(var + eps): each row must be read with its own eps."""
    with Trainer(short_config(variants="composite,builtin"), sample) as trainer:
        for step in range(6):
            if step == 3:
                trainer.set(eps=0.1)
            trainer.step()
        trainer.flush()
    own, builtin = (
        torch.tensor(trainer.history[steps_table(v)].column("batch_var"))
        for v in ("composite", "builtin")
    )
    torch.testing.assert_close(builtin, own, atol=1e-4, rtol=1e-2)


def test_a_bad_change_in_mid_run_is_refused_and_changes_nothing(short_config, sample):
    with Trainer(short_config(), sample) as trainer:
        with pytest.raises(ConfigError, match=r"momentum: got 1\.5"):
            trainer.set(momentum=1.5)
        with pytest.raises(ConfigError, match="batch_size: cannot be changed"):
            trainer.set(batch_size=4)
        assert trainer.settings["momentum"] == 0.1
        assert trainer.history.events == []


def test_the_notes_own_test_keeps_what_the_facts_say_and_eval_mode_keeps_nothing(
    short_config, sample
):
    """A test batch of 16 in train mode with gradients on keeps 1,398,712 bytes and its own input."""
    config = short_config(
        variants="note,builtin", steps=10, eval_every=10, eval_images=160, momentum=0.9
    )
    trainer = run(config, sample)
    kept = trainer.history["memory-note"].column("kept_bytes")
    per_batch = (kept[-1] - kept[0]) / 10
    assert per_batch == pytest.approx(1_398_712 + 16 * 28 * 28 * 4, rel=1e-3)
    assert trainer.history["memory-builtin"].column("kept_bytes").max() == 0
    (event,) = [e for e in trainer.history.events if e["kind"] == "note_test"]
    assert event["batches"] == 10
    modes = set(accuracy_curves(config, trainer.history)["mode"])
    assert modes == {"train", "eval", "note"}


@pytest.mark.parametrize("quirk", ["keep_graph", "test_in_train_mode", "test_with_grad"], ids=str)
def test_switching_off_any_one_of_three_quirks_stops_the_explosion(short_config, sample, quirk):
    config = short_config(
        variants="note", steps=10, eval_every=10, eval_images=160, quirks={quirk: False}
    )
    kept = run(config, sample).history["memory-note"].column("kept_bytes")
    assert kept[-1] < 10_000


def test_the_log_is_what_the_note_would_print_and_its_quirks_can_be_switched_off(
    short_config, sample
):
    """Loss divided by the batch size once too often; accuracy over 3 x 16 instead of 40 images."""
    printed = {}
    for quirk in (True, False):
        quirks = {"loss_divided_twice": quirk, "accuracy_over_full_batches": quirk}
        config = short_config(
            variants="note", steps=10, eval_every=10, eval_images=40, quirks=quirks
        )
        trainer = run(config, sample)
        (printed[quirk],) = [e for e in trainer.history.events if e["kind"] == "note_test"]
    losses = trainer.history[steps_table("note")].column("loss")
    assert printed[False]["loss"] == pytest.approx(losses.mean())
    assert printed[True]["loss"] == pytest.approx(losses.mean() / 16)
    assert printed[True]["accuracy"] == pytest.approx(printed[False]["accuracy"] * 40 / 48)


def test_past_the_memory_limit_the_note_stops_and_the_others_go_on(short_config, sample):
    config = short_config(
        variants="note,builtin", steps=30, eval_every=10, eval_images=200, memory_limit_mib=20
    )
    trainer = run(config, sample)
    reason = trainer.runs["note"].stopped
    assert "more than the limit of 20 MiB" in reason
    assert "Detach" in reason
    assert len(trainer.history[steps_table("note")]) == 20
    assert len(trainer.history[steps_table("builtin")]) == 30
    layer = trainer.runs["note"].model.norm_layers()["fc2"]
    assert layer.running_mean.grad_fn is None, "what it kept is set free"


def test_a_diverged_variant_stops_with_the_remedy(short_config, sample):
    config = short_config(
        variants="none,builtin", optimizer="sgd", lr=100, activation="relu", steps=60
    )
    trainer = run(config, sample)
    assert trainer.runs["none"].stopped is None
    assert "diverged" in trainer.runs["builtin"].stopped
    assert "Lower lr" in trainer.runs["builtin"].stopped


def test_hooks_are_gone_after_the_run_also_after_an_error(short_config, sample):
    """Test by effect: run the model on, and nothing more is recorded."""
    config = short_config(variants="builtin", stages_every=1)
    with pytest.raises(RuntimeError, match="boom"), Trainer(config, sample) as trainer:
        trainer.step()
        raise RuntimeError("boom")
    norms = trainer.runs["builtin"].norms
    before = dict(norms._saved)
    norms.tensors = True
    trainer.runs["builtin"].model(torch.rand(4, 1, 28, 28))
    assert norms.inputs == norms.outputs == {}
    assert all(norms._saved[k] is before[k] for k in before)


def test_stage_quantiles_are_those_of_the_whole_tensor_when_it_is_small(short_config, sample):
    """fc2 at batch 12 has 1,008 values: all are taken, so quantiles can be checked directly."""
    caught = {}
    config = short_config(variants="composite", batch_size=12, stages_every=1, steps=1)
    with Trainer(config, sample) as trainer:
        layer = trainer.runs["composite"].model.norm_layers()["fc2"]
        layer.register_forward_hook(lambda _m, args, out: caught.update(x=args[0], y=out))
        trainer.step()
    row = trainer.history[stages_table("composite")].column("quantiles")[
        0, list(LAYERS).index("fc2")
    ]
    x, y = caught["x"].detach(), caught["y"].detach()
    x_hat = (x - x.mean(0)) / torch.sqrt(x.var(0, correction=0) + 1e-5)
    levels = (torch.arange(128) + 0.5) / 128
    for recorded, values in zip(row, (x, x_hat, y), strict=True):
        expected = values.flatten().quantile(levels)
        assert torch.tensor(recorded).sub(expected).abs().max() < 0.1


def test_a_device_that_is_not_there_is_refused(short_config, sample):
    if torch.cuda.is_available():
        assert Trainer(short_config(device="cuda"), sample).device.type == "cuda"
        return
    with pytest.raises(ConfigError, match=r"device: got 'cuda'.*auto, cpu"):
        Trainer(short_config(device="cuda"), sample)
