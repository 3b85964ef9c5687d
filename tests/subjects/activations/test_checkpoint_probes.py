"""Stored weights looked into with images."""

import numpy as np
import pytest
import torch

from bnviz.errors import ConfigError, RunError
from bnviz.evaluation.batch_context import neighbours_of
from bnviz.records.schema import LAYERS
from bnviz.records.store import nearest_checkpoint, recorded_run
from bnviz.subjects.activations.checkpoint_probes import affine_over_steps, probe_image, probe_layer
from bnviz.subjects.running_stats.first_steps import before_training
from bnviz.training.checkpoints import model_at


@pytest.fixture(scope="module")
def run():
    return recorded_run()


def test_the_channels_are_those_of_the_probe_images_as_one_batch(run, sample):
    probe = probe_layer(run, "builtin", 400, "fc1", sample)
    model = model_at(run, "builtin", 400).train()
    model.fc[1].register_forward_pre_hook(lambda _layer, inputs: caught.append(inputs[0]))
    caught = []
    model(torch.tensor(sample.test_images[: probe.images], dtype=torch.float32)[:, None] / 255)
    entered = caught[0].detach().numpy()
    np.testing.assert_allclose(probe.table["mean"], entered.mean(0), atol=1e-4)
    np.testing.assert_allclose(
        np.median(entered, axis=0), probe.quantiles["input"][:, 63:65].mean(1), atol=0.05
    )
    assert {rows.shape for rows in probe.quantiles.values()} == {(120, 128)}


@pytest.mark.parametrize("layer", LAYERS)
def test_an_image_depends_on_its_batch_in_train_mode_only(run, sample, layer):
    alone = sample.test_images[[0, 1, 2, 3]]
    other = sample.test_images[[0, 7, 8, 9]]
    one, two = (probe_image(run, "builtin", 400, layer, batch) for batch in (alone, other))
    assert one.maps["eval"]["scaled"].shape[0] == LAYERS[layer]
    assert one.maps["eval"]["scaled"].ndim == 3
    for stage in ("input", "scaled", "activation"):
        np.testing.assert_allclose(one.maps["eval"][stage], two.maps["eval"][stage], atol=1e-5)
    assert np.abs(one.maps["train"]["scaled"] - two.maps["train"]["scaled"]).max() > 0.05
    assert np.abs(one.probabilities["train"] - two.probabilities["train"]).max() > 1e-4
    assert one.probabilities["eval"].sum() == pytest.approx(1, abs=1e-5)


def test_weight_and_bias_begin_at_one_and_zero_and_move(run):
    path = affine_over_steps(run, "builtin", "conv2", 3)
    assert path["step"].tolist() == run.checkpoints("builtin")
    moved = (path["weight"] - 1).abs() + path["bias"].abs()
    assert moved.iloc[0] < moved.iloc[-1]


def test_the_nearest_checkpoint():
    assert nearest_checkpoint([20, 100, 400], None) == 400
    assert nearest_checkpoint([20, 100, 400], 1) == 20
    assert nearest_checkpoint([20, 100, 400], 240) == 100
    with pytest.raises(RunError, match="No weights are stored yet"):
        nearest_checkpoint([], 5)


@pytest.mark.parametrize("kind", ["random", "same class", "another class"])
def test_neighbours_are_of_the_kind_that_was_asked_for(sample, kind):
    labels = sample.test_labels
    found = neighbours_of(labels, 5, kind=kind, count=30, seed=1)
    assert len(found) == len(set(found.tolist())) == 30 and 5 not in found
    classes = set(labels[found].tolist())
    assert {"random": len(classes) > 3, "same class": classes == {labels[5]},
            "another class": len(classes) == 1 and labels[5] not in classes}[kind]  # fmt: skip
    np.testing.assert_array_equal(found, neighbours_of(labels, 5, kind=kind, count=30, seed=1))
    assert set(found) != set(neighbours_of(labels, 5, kind=kind, count=30, seed=2))


def test_neighbours_that_cannot_be_are_refused():
    labels = np.array([0, 0, 1])
    with pytest.raises(ConfigError, match="neighbours: got 'near'"):
        neighbours_of(labels, 0, kind="near", count=1)
    with pytest.raises(ConfigError, match="image: got 3; allowed: 0 to 2"):
        neighbours_of(labels, 3, kind="random", count=1)
    with pytest.raises(ConfigError, match="no same class image beside image 2"):
        neighbours_of(labels, 2, kind="same class", count=1)
    assert len(neighbours_of(labels, 0, kind="same class", count=4)) == 4


@pytest.mark.parametrize("layer", LAYERS)
def test_a_variance_of_0_before_the_first_step_multiplies_by_one_over_the_root_of_eps(
    run, sample, layer
):
    """In the first layer exactly; behind it the sigmoid has cut off what it made too large."""
    found = {
        (start, eps): before_training(
            run.config, "builtin", layer, sample.test_images, start=start, eps=eps
        )
        for start, eps in ((0.0, 1e-5), (1.0, 1e-5), (0.0, 1e-3))
    }
    assert found[0.0, 1e-5] > 100 * found[1.0, 1e-5]
    if layer == "conv1":
        assert found[0.0, 1e-5] == pytest.approx(found[1.0, 1e-5] * 1e5**0.5, rel=1e-3)
        assert found[0.0, 1e-5] == pytest.approx(10 * found[0.0, 1e-3], rel=1e-3)
    with pytest.raises(ConfigError, match="variant: got 'none'"):
        before_training(run.config, "none", layer, sample.test_images, start=0.0, eps=1e-5)
