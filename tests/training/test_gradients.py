"""Recorded gradients and updates against a second, plainer route: `torch.autograd.grad` and copies."""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from bnviz.nn.layers import WEIGHT_LAYERS
from bnviz.nn.variants import VARIANTS
from bnviz.records import store
from bnviz.records.run_files import CHECKSUMS
from bnviz.records.schema import LAYERS, LEVELS, SIDES, gradients_table
from bnviz.training.gradients import GradientSampler
from bnviz.training.jobs import Jobs
from bnviz.training.stages import sampled_places
from bnviz.training.steps import Images, batches, build_model
from bnviz.training.trainer import Trainer


def plain_gradients(config, dataset, variant):
    """dL/dy and dL/dx of each BN layer and dL/dw of each weight, of the run's first batch."""
    model = build_model(config, variant, torch.device("cpu"))
    seen = {}
    for name, layer in model.norm_layers().items():
        layer.register_forward_hook(
            lambda _m, args, y, name=name: seen.update({(name, "input"): args[0],
                                                        (name, "output"): y})
        )  # fmt: skip
    inputs, labels = next(batches(Images(dataset, torch.device("cpu")), config))
    loss = F.cross_entropy(model(inputs), labels)
    sought = [*seen.values(), *(layer.weight for layer in model.weight_layers().values())]
    found = torch.autograd.grad(loss, sought)
    return dict(zip([*seen, *WEIGHT_LAYERS], found, strict=True))


def one_row(trainer, variant, place=-1):
    table = trainer.history[gradients_table(variant)]
    return {name: table.column(name)[place] for name in table.schema.columns}


CASES = [
    *((variant, "sigmoid", "float32") for variant in VARIANTS),
    *((variant, "relu", "float64") for variant in VARIANTS),
]


@pytest.mark.parametrize(("variant", "activation", "dtype"), CASES, ids=lambda v: str(v))
def test_gradients_are_those_that_autograd_gives(short_config, sample, variant, activation, dtype):
    """At batch 12 the fc layers have fewer values than are sampled: every one is among them."""
    config = short_config(
        variants=variant, activation=activation, dtype=dtype, batch_size=12, gradients=True
    )
    expected = plain_gradients(config, sample, variant)
    with Trainer(config, sample) as trainer:
        trainer.step()
        row = one_row(trainer, variant)
    assert row["step"] == 1
    tolerance = {"rtol": 1e-3, "atol": 1e-9} if dtype == "float32" else {"rtol": 1e-6, "atol": 0}
    for k, layer in enumerate(LAYERS):
        for j, side in enumerate(SIDES):
            values = expected[layer, side].flatten()
            recorded = torch.tensor(row["quantiles"][k, j])
            picked = np.sort(values[sampled_places(values.numel())].numpy())
            ranks = (LEVELS * len(picked)).astype(int)
            np.testing.assert_allclose(recorded, picked[ranks].astype("f4"), **tolerance)
            if values.numel() < 2048:
                whole = values.float().quantile(torch.tensor(LEVELS).float())
                assert (recorded - whole).abs().max() < 0.1 * values.abs().max()
    norms = [expected[layer].double().square().sum().sqrt() for layer in WEIGHT_LAYERS]
    np.testing.assert_allclose(row["grad_norm"], norms, rtol=1e-4)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("variant", ["builtin", "none"])
def test_the_update_ratio_is_that_of_the_weights_before_and_after(
    short_config, sample, variant, optimizer
):
    config = short_config(variants=variant, optimizer=optimizer, stages_every=1, gradients=True)
    expected = {}
    with Trainer(config, sample) as trainer:
        while not trainer.done:
            weights = {k: v.weight for k, v in trainer.runs[variant].model.weight_layers().items()}
            before = [w.detach().double().clone() for w in weights.values()]
            trainer.step()
            after = [w.detach().double() for w in weights.values()]
            ratios = [float((b - a).norm() / a.norm()) for a, b in zip(before, after, strict=True)]
            expected[trainer.step_count] = ratios
    table = trainer.history[gradients_table(variant)]
    assert len(table) >= 3
    for step, ratios in zip(table.column("step"), table.column("update_ratio"), strict=True):
        np.testing.assert_allclose(ratios, expected[int(step)], rtol=2e-3)


def test_the_named_weights_are_those_of_the_network(short_config):
    model = build_model(short_config(), "builtin", torch.device("cpu"))
    shapes = [(6, 1, 5, 5), (16, 6, 5, 5), (120, 256), (84, 120), (10, 84)]
    assert [tuple(layer.weight.shape) for layer in model.weight_layers().values()] == shapes
    assert tuple(model.weight_layers()) == WEIGHT_LAYERS


def test_without_bn_what_comes_in_is_what_goes_out(short_config, sample):
    config = short_config(variants="none", gradients=True)
    with Trainer(config, sample) as trainer:
        trainer.step()
    output, given = one_row(trainer, "none")["quantiles"].swapaxes(0, 1)
    np.testing.assert_array_equal(output, given)


def test_off_by_default_nothing_is_recorded_and_nothing_spent(short_config, sample):
    with Trainer(short_config(variants="builtin", stages_every=1), sample) as trainer:
        trainer.step()
        assert not any(isinstance(each, GradientSampler) for each in trainer.observers)
    assert len(trainer.history[gradients_table("builtin")]) == 0
    assert trainer.gradients_share == 0
    assert trainer.summary(1.0)["gradients_share"] is None


def test_their_share_of_the_time_is_a_part_of_observing(short_config, sample):
    config = short_config(variants="builtin,none", stages_every=1, gradients=True)
    with Trainer(config, sample) as trainer:
        while not trainer.done:
            trainer.step()
        assert 0 < trainer.gradients_share < trainer.observing_share < 1
        assert trainer.summary(1.0)["gradients_share"] == round(trainer.gradients_share, 5)


def test_gradients_are_recorded_at_the_steps_that_are_probed(short_config, sample):
    config = short_config(variants="builtin", stages_every=4, gradients=True)
    with Trainer(config, sample) as trainer:
        while not trainer.done:
            trainer.step()
    steps = trainer.history[gradients_table("builtin")].column("step").tolist()
    assert steps == trainer.history["stages-builtin"].column("step").tolist()
    assert set(steps) <= {1, 4, 8, 12}


def go_on(run):
    """A forward and backward pass of the model of `run` with its norm layers captured."""
    run.norms.tensors = True
    run.model(torch.rand(4, 1, 28, 28)).sum().backward()


@pytest.mark.parametrize("variant", ["composite", "builtin", "none"])
def test_no_hook_is_left_after_a_step_and_after_the_end(short_config, sample, variant):
    """Test by effect: the model runs on, and nothing more is caught."""
    with Trainer(short_config(variants=variant, gradients=True), sample) as trainer:
        trainer.step()
        run = trainer.runs[variant]
        for _ in range(2):
            go_on(run)
            assert run.observer(GradientSampler)._caught == {}
            assert run.observer(GradientSampler)._before.numel() == 0
            trainer.close()


def test_no_hook_is_left_on_a_graph_that_lives_on(short_config, sample):
    """As that of the note's tests does; going through it once more must not be caught."""
    with Trainer(short_config(variants="builtin", gradients=True), sample) as trainer:
        run = trainer.runs["builtin"]
        run.norms.tensors = True
        gradients = run.observer(GradientSampler)
        gradients.before_update(1)
        loss = run.model(torch.rand(4, 1, 28, 28)).sum()
        loss.backward(retain_graph=True)
        assert len(gradients._caught) == len(LAYERS) * len(SIDES)
        gradients.after_update(1, loss)
        loss.backward()
        assert gradients._caught == {}


def test_no_hook_is_left_after_a_step_that_fails(short_config, sample, monkeypatch):
    def boom():
        raise RuntimeError("boom")

    with Trainer(short_config(variants="builtin", gradients=True), sample) as trainer:
        run = trainer.runs["builtin"]
        with monkeypatch.context() as broken:
            broken.setattr(run.optimizer, "step", boom)
            with pytest.raises(RuntimeError, match="boom"):
                trainer.step()
        assert run.observer(GradientSampler)._caught == {}
        assert run.observer(GradientSampler)._before.numel() == 0
        go_on(run)
        assert run.observer(GradientSampler)._caught == {}
        trainer.step()  # not a probed step, and the run goes on
    assert len(trainer.history[gradients_table("builtin")]) == 0


def test_a_diverged_variant_stops_with_gradients_too(short_config, sample):
    config = short_config(
        variants="builtin", optimizer="sgd", lr=100, activation="relu", steps=60,
        stages_every=1, gradients=True,
    )  # fmt: skip
    with Trainer(config, sample) as trainer:
        while not trainer.done:
            trainer.step()
        trainer.finish()
    assert "diverged" in trainer.runs["builtin"].stopped


@pytest.fixture
def stored(tmp_path, short_config, sample):
    config = short_config(variants="builtin,none", stages_every=2, gradients=True)
    writer = store.RunWriter(tmp_path / "runs", "one", config)
    with Trainer(config, sample, history=writer.history) as trainer:
        while not trainer.done:
            trainer.step()
        trainer.finish()
        writer.finish(trainer.summary(1.0))
    return trainer, writer.folder


def test_a_stored_run_keeps_its_gradients(stored):
    trainer, folder = stored
    run = store.open_run(folder)
    assert run.config.gradients
    assert run.summary["gradients_share"] > 0
    for variant in run.config.variants:
        table = gradients_table(variant)
        for column in ("step", "quantiles", "grad_norm", "update_ratio"):
            np.testing.assert_array_equal(
                run.history[table].column(column), trainer.history[table].column(column)
            )


def test_a_run_from_before_there_were_gradients_opens(stored):
    """Neither the setting nor the table was known when it was stored, and no checksums either."""
    _trainer, folder = stored
    (folder / CHECKSUMS).unlink()
    config = json.loads((folder / "config.json").read_bytes())
    del config["gradients"]
    (folder / "config.json").write_text(json.dumps(config))
    for path in folder.glob("gradients-*.arrow"):
        path.unlink()
    run = store.open_run(folder)
    assert run.config.gradients is False
    assert len(run.history[gradients_table("builtin")]) == 0
    assert len(run.history["steps-builtin"]) == 12


def test_a_job_says_what_gradients_cost(short_config):
    jobs = Jobs()
    job = jobs.start(short_config(variants="builtin", gradients=True), None)
    job.join(60)
    assert 0 < job.gradients_share < 1
    assert job.summary["gradients_share"] > 0
