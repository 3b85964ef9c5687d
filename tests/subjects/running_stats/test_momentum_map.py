"""Momentum x batch size: the same numbers by training and averaging by hand; kept, cut, gone on with."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from bnviz.errors import ConfigError, RunError
from bnviz.records.schema import CHANNELS, LAYERS, layer_slice
from bnviz.subjects.running_stats import momentum_map as maps
from bnviz.subjects.running_stats.momentum_map import momentum_map, noise_of_mean
from bnviz.training.steps import Images, batches, build_model, build_optimizer, train_step
from bnviz.training.tasks import Cancelled

SIZES = (4, 16)


@pytest.fixture
def config(short_config):
    return short_config(variants="note,builtin", momentum=0.3, steps=5, lr=0.02)


@pytest.fixture
def few(sample):
    """500 training and 200 test images are enough to tell accuracies apart."""
    return dataclasses.replace(
        sample,
        train_images=sample.train_images[:500],
        train_labels=sample.train_labels[:500],
        test_images=sample.test_images[:200],
        test_labels=sample.test_labels[:200],
    )


def made(config, dataset, **options):
    settings = {"batch_sizes": SIZES, "momenta": (0.1, 0.9), "dataset": dataset, **options}
    return momentum_map(config, "builtin", 64, **settings)


def test_a_cell_is_what_torch_itself_comes_to_with_that_momentum(config, few):
    """Another route: train nn.BatchNorm with the momentum of the cell, and evaluate it."""
    frame = made(config, few).set_index(["batch_size", "momentum"])
    device = torch.device("cpu")
    for batch_size in SIZES:
        for momentum in (0.1, 0.9):
            other = config.model_copy(update={"batch_size": batch_size, "momentum": momentum})
            model = build_model(other, "builtin", device)
            optimizer = build_optimizer(other, model, device)
            feed = batches(Images(few, device), other)
            for _step in range(64 // batch_size):
                train_step(model, optimizer, *next(feed))
            own = [layer.running_mean.clone() for layer in model.norm_layers().values()]
            images = torch.tensor(few.test_images).float().div(255).unsqueeze(1)
            with torch.no_grad():
                right = (model.eval()(images).argmax(1).numpy() == few.test_labels).mean()
            cell = frame.loc[(batch_size, momentum)]
            assert cell["accuracy"] == pytest.approx(float(right), abs=0.006)
            # The first layer's population is a plain mean over the images; its part of the error.
            with torch.no_grad():
                x = model.conv[0](torch.tensor(few.train_images).float().div(255).unsqueeze(1))
            mean, var = x.double().mean((0, 2, 3)), x.double().var((0, 2, 3))
            of_conv1 = ((own[0] - mean) ** 2 / var).sum() / CHANNELS
            assert cell["mean_error"] ** 2 >= of_conv1 * 0.99


def test_the_noise_is_that_of_many_averages_of_independent_batches():
    """By drawing: 400 averages over batches around a slope, their spread about their mean."""
    rng, m, steps = np.random.default_rng(0), 0.2, 60
    spread = rng.uniform(0.5, 2, CHANNELS)
    slope = np.linspace(0, 30, steps)[:, None] * spread
    ends, found = [], []
    population = {
        layer: (np.zeros(c), 4 * spread[layer_slice(layer)] ** 2) for layer, c in LAYERS.items()
    }
    for _draw in range(400):
        means = slope + spread * rng.normal(size=(steps, CHANNELS))
        running = np.zeros(CHANNELS)
        for row in means:
            running = (1 - m) * running + m * row
        ends.append(running / (2 * spread))
        found.append(noise_of_mean(means[-15:], population, m, steps))
    expected = np.sqrt(np.var(ends, axis=0).mean())
    assert np.mean(found) == pytest.approx(expected, rel=0.02)


def test_noise_of_a_start_and_of_channels_that_never_vary():
    means = np.tile([[1.0], [-1.0], [1.0]], CHANNELS)
    population = {layer: (np.zeros(c), np.full(c, 4.0)) for layer, c in LAYERS.items()}
    # One middle value: off by 2 from its neighbours, so s² = 2/3 · 4; one step at m = 0.5: m² s².
    assert noise_of_mean(means, population, 0.5, 1) == pytest.approx(np.sqrt(0.25 * 8 / 3 / 4))
    population["fc1"][1][:] = 0
    assert noise_of_mean(means, population, 0.5, 1) == pytest.approx(np.sqrt(0.25 * 8 / 3 / 4))
    still = {layer: (np.zeros(c), np.zeros(c)) for layer, c in LAYERS.items()}
    assert np.isnan(noise_of_mean(means, still, 0.5, 1))


def test_a_cancelled_map_keeps_its_rows_and_goes_on_from_there(config, few, monkeypatch):
    kept = []

    def stop_in_the_second(done, parts, share):
        if kept and share > 0.9:
            raise Cancelled

    with pytest.raises(Cancelled):
        made(config, few, progress=stop_in_the_second, keep=kept.append)
    assert [list(frame["batch_size"]) for frame in kept] == [[4, 4]]
    whole, trained = made(config, few), []
    row = maps._row
    monkeypatch.setattr(
        maps, "_row", lambda config, *rest: trained.append(config.batch_size) or row(config, *rest)
    )
    rest = made(config, few, kept=kept[0])
    assert trained == [16]
    pd.testing.assert_frame_equal(rest, whole)


def test_rows_of_another_data_set_are_not_gone_on_with(config, few):
    frame = made(config, few, batch_sizes=(16,), momenta=(0.1,)).assign(train_images=60_000)
    again = made(config, few, batch_sizes=(16,), momenta=(0.1,), kept=frame)
    assert set(again["train_images"]) == {500}


def test_the_share_of_the_work_grows_to_the_end(config, few):
    heard = []
    made(config, few, progress=lambda *said: heard.append(said))
    assert heard == sorted(heard)
    assert heard[0] == (0, 8, 0.0)
    assert heard[-1][:2] == (8, 8)
    assert heard[-1][2] == pytest.approx(1)


def test_the_map_follows_the_run_s_settings(config):
    other = maps.at_batch_size(config, "builtin", 64, 6_400)
    assert (other.batch_size, other.steps, other.variants) == (64, 100, ("builtin",))
    assert (other.lr, other.momentum, other.seed) == (0.02, 0.3, config.seed)


def test_too_few_images_and_a_training_that_diverges_are_named(config, few):
    with pytest.raises(ConfigError, match=r"images: got 64; allowed: 768 or more, 3 steps of 256"):
        momentum_map(config, "builtin", 64, dataset=few)
    wild = config.model_copy(update={"lr": 100.0, "optimizer": "sgd", "activation": "relu"})
    with pytest.raises(RunError, match=r"At batch size 4: The loss became"):
        made(wild, few)
