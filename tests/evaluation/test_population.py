import numpy as np
import pytest
import torch
from torch import nn

from bnviz.errors import ConfigError
from bnviz.evaluation.inference import evaluate, to_input
from bnviz.evaluation.population import evaluate_with_statistics, population_statistics, recalibrate
from bnviz.nn import LeNet
from bnviz.nn.state import snapshot, statistics
from bnviz.nn.variants import VARIANTS

NORMALIZING = [name for name, variant in VARIANTS.items() if variant.normalizes]


@pytest.fixture
def images(sample):
    return torch.tensor(sample.train_images[:301])


def built(variant, dtype=torch.float32):
    """A network whose statistics have moved, in train mode but for one layer."""
    model = LeNet(variant, dtype=dtype)
    model.reset_parameters(torch.Generator().manual_seed(0))
    model.train()
    model(torch.rand(8, 1, 28, 28, generator=torch.Generator().manual_seed(1), dtype=dtype))
    model.conv[1].eval()
    return model


def inputs_of(model, images):
    """What enters each norm layer in one pass over all images at once."""
    caught = {}
    handles = [
        layer.register_forward_pre_hook(
            lambda _layer, inputs, name=name: caught.__setitem__(name, inputs[0].double())
        )
        for name, layer in model.norm_layers().items()
    ]
    with torch.no_grad():
        model(to_input(images, next(model.parameters()).dtype))
    for handle in handles:
        handle.remove()
    return caught


def mean_and_var(x):
    dims = [d for d in range(x.dim()) if d != 1]
    return x.mean(dims), torch.var(x, dims)


class Same:
    """Tells whether a model is in every observable way what it was."""

    def __init__(self, model):
        self.model, self.before = model, self.look(model)

    @staticmethod
    def look(model):
        return {
            "state": {name: value.clone() for name, value in snapshot(model).items()},
            "training": [module.training for module in model.modules()],
            "statistics": [
                getattr(layer, name)
                for layer in model.norm_layers().values()
                for name in ("running_mean", "running_var")
            ],
            "batch": [getattr(x, "batch_mean", None) for x in model.norm_layers().values()],
            "hooks": [len(m._forward_pre_hooks) for m in model.modules()],
            "eps": [layer.eps for layer in model.norm_layers().values()],
        }

    def check(self):
        after = self.look(self.model)
        assert self.before["state"].keys() == after["state"].keys()
        for name, value in self.before["state"].items():
            assert torch.equal(value, after["state"][name]), name
        for key in ("training", "hooks", "eps"):
            assert self.before[key] == after[key], key
        for key in ("statistics", "batch"):  # the same tensors, with the graph that they had
            assert all(a is b for a, b in zip(self.before[key], after[key], strict=True)), key


@pytest.mark.parametrize("variant", NORMALIZING)
def test_layer_by_layer_each_layer_is_measured_as_eval_mode_will_feed_it(variant, images):
    """Plainer: put the result into the layers, look at all inputs of one eval pass at once."""
    model = built(variant)
    found = population_statistics(model, images, batch_size=64)
    assert list(found) == list(model.norm_layers())
    model.eval()
    for name, layer in model.norm_layers().items():
        mean, var = mean_and_var(inputs_of(model, images)[name])
        np.testing.assert_allclose(found[name][0], mean, atol=1e-5 * var.sqrt().max().item())
        np.testing.assert_allclose(found[name][1], var, rtol=1e-5)
        own_mean, own_var = statistics(layer)
        with torch.no_grad():
            own_mean.copy_(mean)
            own_var.copy_(var)


@pytest.mark.parametrize("variant", NORMALIZING)
def test_in_one_pass_the_batches_are_pooled(variant, images):
    model = built(variant)
    found = population_statistics(model, images, batch_size=100, how="one_pass")
    model.train()
    batches = [inputs_of(model, part) for part in (images[:100], images[100:200], images[200:])]
    for name in found:
        mean, var = mean_and_var(torch.cat([batch[name] for batch in batches]))
        np.testing.assert_allclose(found[name][0], mean, atol=1e-5 * var.sqrt().max().item())
        np.testing.assert_allclose(found[name][1], var, rtol=1e-5)


def test_the_variance_is_not_the_mean_of_the_batch_variances(sample):
    """In batches of one class each, some of the variance lies between the batches."""
    order = np.argsort(sample.train_labels, kind="stable")
    images = torch.tensor(sample.train_images[order])
    model = built("builtin")
    found = population_statistics(model, images, batch_size=600)
    x = inputs_of(model.eval(), images)["conv1"]
    within = torch.stack([mean_and_var(part)[1] for part in x.split(600)]).mean(0)
    assert (found["conv1"][1] > 1.02 * within.numpy()).all()
    np.testing.assert_allclose(found["conv1"][1], mean_and_var(x)[1], rtol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 7, 300, 1000])
def test_layer_by_layer_the_batch_size_does_not_matter(images, batch_size):
    model = built("composite", torch.float64)
    one = population_statistics(model, images, batch_size=301)
    other = population_statistics(model, images, batch_size=batch_size)
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("how", ["layer_by_layer", "one_pass"])
@pytest.mark.parametrize("variant", NORMALIZING)
def test_measuring_leaves_the_model_as_it_was(variant, how, images):
    model = built(variant)
    same = Same(model)
    population_statistics(model, images[:64], batch_size=32, how=how)
    same.check()


@pytest.mark.parametrize("how", ["layer_by_layer", "one_pass"])
@pytest.mark.parametrize("variant", NORMALIZING)
def test_a_failure_half_way_leaves_the_model_as_it_was_too(variant, how, images):
    class Broken(nn.Module):
        calls = 0

        def forward(self, x):
            self.calls += 1
            if self.calls > 2:
                raise RuntimeError("broken")
            return x

    model = built(variant)
    model.fc.append(Broken())
    model.conv.append(Broken())
    same = Same(model)
    with pytest.raises(RuntimeError, match="broken"):
        population_statistics(model, images[:128], batch_size=32, how=how)
    same.check()


def test_what_cannot_be_measured_is_refused(images):
    with pytest.raises(ConfigError, match=r"how: got 'ema'.*layer_by_layer, one_pass"):
        population_statistics(built("builtin"), images, how="ema")
    with pytest.raises(ConfigError, match=r"norm 'none'.*no running statistics"):
        population_statistics(LeNet("none"), images)
    with pytest.raises(ConfigError, match=r"images: got 1; allowed: 2 or more"):
        population_statistics(built("builtin"), images[:1])
    with pytest.raises(ConfigError, match=r"batch_size: got 0; allowed: 1 or more"):
        population_statistics(built("builtin"), images, batch_size=0)
    with pytest.raises(ConfigError, match=r"batch_size: got 1 in train mode"):
        population_statistics(built("builtin"), images, batch_size=1, how="one_pass")


@pytest.mark.parametrize("variant", NORMALIZING)
def test_statistics_given_are_those_that_evaluate(variant, images, sample):
    labels = torch.tensor(sample.train_labels[:301])
    model = built(variant)
    same = Same(model)
    population = population_statistics(model, images)
    found = evaluate_with_statistics(model, population, images, labels, eps=1e-3)
    plain = evaluate_with_statistics(model, None, images, labels)
    same.check()
    assert not torch.equal(found.logits, plain.logits)
    for name, layer in model.norm_layers().items():
        own_mean, own_var = statistics(layer)
        expected = evaluate(model, images, labels, mode="eval", batch_size=1)
        if name == "conv1":
            assert torch.equal(expected.logits, plain.logits)
        own_mean.copy_(torch.tensor(population[name][0]))
        own_var.copy_(torch.tensor(population[name][1]))
        layer.eps = 1e-3
    expected = evaluate(model, images, labels, mode="eval", batch_size=1)
    assert torch.equal(found.logits, expected.logits)
    assert (found.accuracy, found.loss) == (expected.accuracy, expected.loss)


def test_statistics_that_do_not_fit_are_refused_and_the_model_is_put_back(images, sample):
    labels = torch.tensor(sample.train_labels[:301])
    model = built("builtin")
    same = Same(model)
    population = population_statistics(model, images)
    short = {**population, "fc1": (np.zeros(3), np.ones(3))}
    with pytest.raises(ConfigError, match=r"shapes \[\(3,\), \(3,\)\].*fc1.*\(120,\)"):
        evaluate_with_statistics(model, short, images, labels)
    del population["fc2"]
    with pytest.raises(ConfigError, match=r"layer fc2.*\(84,\)"):
        evaluate_with_statistics(model, population, images, labels)
    same.check()
    with pytest.raises(RuntimeError):
        evaluate_with_statistics(model, None, images.reshape(-1, 14, 56), labels, eps=0.5)
    same.check()


def test_recalibration_takes_so_many_batches_and_no_more(images):
    model = built("builtin")
    same = Same(model)
    found = recalibrate(model, images, batches=3, batch_size=50)
    same.check()
    expected = population_statistics(model, images[:150])
    for name, both in expected.items():
        for ours, theirs in zip(found[name], both, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)
    with pytest.raises(ConfigError, match=r"batches: got 7 of 50, .* at most 6 batches of the 301"):
        recalibrate(model, images, batches=7, batch_size=50)
    with pytest.raises(ConfigError, match="batches: got 0; allowed: 1 or more"):
        recalibrate(model, images, batches=0, batch_size=50)
