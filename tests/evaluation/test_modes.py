import numpy as np
import pytest
import torch

from bnviz.errors import ConfigError
from bnviz.evaluation.batch_context import NEIGHBOURS, context_order, neighbours_of, random_contexts
from bnviz.evaluation.inference import evaluate, forward, logits_by_groups, standard_error
from bnviz.evaluation.modes import (
    compare_modes,
    eval_side,
    layer_drift,
    paired,
    paired_counts,
    train_side,
)
from bnviz.nn import LeNet
from bnviz.nn.state import snapshot
from bnviz.nn.variants import VARIANTS


@pytest.fixture
def model():
    built = LeNet("builtin")
    built.reset_parameters(torch.Generator().manual_seed(0))
    return built


@pytest.fixture
def images(sample):
    return torch.tensor(sample.test_images[:101])


def test_eval_mode_does_not_depend_on_the_batch_and_train_mode_does(model, images):
    alone = forward(model, images[:1], mode="eval", batch_size=1)
    together = forward(model, images, mode="eval", batch_size=1)
    torch.testing.assert_close(alone[0], together[0], atol=1e-5, rtol=1e-5)
    state = snapshot(model)
    small = forward(model, images[:4], mode="train", batch_size=4)
    model.load_state_dict(state)
    large = forward(model, images[:16], mode="train", batch_size=16)
    assert (small[0] - large[0]).abs().max() > 1e-3


def test_train_mode_is_the_models_own_forward_in_train_mode(model, images):
    ours = forward(model, images[:8], mode="train", batch_size=4)
    x = images[:8].float().div(255).unsqueeze(1)
    model.train()
    with torch.no_grad():
        expected = torch.cat([model(x[:4]), model(x[4:])])
    torch.testing.assert_close(ours, expected)


def test_a_last_batch_of_one_joins_the_one_before(model, images):
    assert forward(model, images, mode="train", batch_size=50).shape == (101, 10)


def test_a_train_batch_of_one_is_refused_with_the_reason(model, images):
    with pytest.raises(ConfigError, match=r"batch_size: got 1 in train mode.*2 or more"):
        forward(model, images, mode="train", batch_size=1)


def test_the_training_flag_is_put_back_also_on_failure(model):
    model.train()
    with pytest.raises(RuntimeError):
        forward(model, torch.zeros(4, 3, 3, dtype=torch.uint8), mode="eval", batch_size=4)
    assert model.training


@pytest.mark.parametrize("variant", VARIANTS)
def test_other_statistics_and_eps_act_on_the_eval_side_and_leave_the_model_alone(images, variant):
    built = LeNet(variant)
    before = snapshot(built)
    plain = eval_side(built, images)
    shifted = {
        name: (np.full(c, 0.3, np.float32), np.full(c, 2.0, np.float32))
        for name, c in {"conv1": 6, "conv2": 16, "fc1": 120, "fc2": 84}.items()
    }
    other = eval_side(built, images, statistics=shifted, eps=0.1)
    assert np.abs(other - plain).max() > 1e-4 or variant == "none"
    after = snapshot(built)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert np.array_equal(eval_side(built, images), plain)


def test_statistics_given_are_those_that_normalize(model, images):
    """Against torch's own layer with its buffers overwritten."""
    chosen = {
        name: (np.full(c, 0.1, np.float32), np.full(c, 0.5, np.float32))
        for name, c in {"conv1": 6, "conv2": 16, "fc1": 120, "fc2": 84}.items()
    }
    ours = eval_side(model, images, statistics=chosen, eps=1e-2)
    for name, layer in model.norm_layers().items():
        layer.running_mean.copy_(torch.tensor(chosen[name][0]))
        layer.running_var.copy_(torch.tensor(chosen[name][1]))
        layer.eps = 1e-2
    model.eval()
    with torch.no_grad():
        expected = model(images.float().div(255).unsqueeze(1))
    np.testing.assert_allclose(ours, expected.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("neighbours", NEIGHBOURS)
def test_neighbours_are_an_order_of_all_images(sample, neighbours):
    labels = sample.test_labels
    order = context_order(labels, neighbours)
    assert sorted(order) == list(range(len(labels)))
    if neighbours == "same class":
        assert (np.diff(labels[order]) >= 0).all()


def test_unknown_neighbours_are_refused(sample):
    with pytest.raises(ConfigError, match=r"'lonely'.*shuffled"):
        context_order(sample.test_labels, "lonely")


def test_answers_come_back_in_the_order_of_the_images(model, images, sample):
    order = context_order(sample.test_labels[:101], "shuffled")
    state = snapshot(model)
    shuffled = train_side(model, images, batch_size=101, order=order)
    model.load_state_dict(state)
    plain = train_side(model, images, batch_size=101, order=np.arange(101))
    np.testing.assert_allclose(shuffled, plain, atol=1e-5)


def test_the_comparison_counts_by_hand():
    train = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    evaluation = np.array([[0.8, 0.2], [0.7, 0.3], [0.1, 0.9]])
    frame = paired(np.log(train), np.log(evaluation), np.array([0, 1, 1]))
    assert frame["differ"].tolist() == [False, True, True]
    assert frame["train_right"].tolist() == [True, True, False]
    assert frame["eval_right"].tolist() == [True, False, True]
    assert frame["train_true"].tolist() == pytest.approx([0.9, 0.8, 0.4])
    assert frame["logit_difference"][1] == pytest.approx(np.log(0.7 / 0.2))
    assert paired_counts(frame) == {"both": 1, "only_train": 1, "only_eval": 1, "none": 0}


def test_accuracy_and_its_standard_error(model, sample):
    images, labels = torch.tensor(sample.test_images), torch.tensor(sample.test_labels)
    result = evaluate(model, images, labels, mode="eval", batch_size=16)
    assert result.accuracy == pytest.approx((result.logits.argmax(1) == labels).double().mean())
    assert result.standard_error == pytest.approx(standard_error(result.accuracy, 1000))
    assert standard_error(0.84, 10_000) == pytest.approx(0.003666, rel=1e-3)


NORMALIZING = [name for name, variant in VARIANTS.items() if variant.normalizes]


def trained(variant):
    """A network with statistics that have moved, as after some steps."""
    built = LeNet(variant)
    generator = torch.Generator().manual_seed(0)
    built.reset_parameters(generator)
    for _ in range(4):
        built(torch.rand(16, 1, 28, 28, generator=generator))
    return built


def everything(model):
    """All that an analysis could have changed."""
    return (
        {name: value.clone() for name, value in snapshot(model).items()},
        [module.training for module in model.modules()],
        torch.random.get_rng_state(),
    )


def assert_untouched(model, before):
    state, flags, random = before
    after = snapshot(model)
    assert all(torch.equal(state[name], after[name]) for name in state)
    assert [module.training for module in model.modules()] == flags
    assert torch.equal(torch.random.get_rng_state(), random)
    assert not any("forward" in vars(module) for module in model.modules())


@pytest.mark.parametrize("variant", VARIANTS)
def test_both_modes_are_compared_on_the_same_images_and_nothing_is_changed(variant, images, sample):
    model = trained(variant)
    before = everything(model)
    frame = compare_modes(model, images, sample.test_labels[:101], batch_size=10)
    assert_untouched(model, before)
    assert len(frame) == 101
    model.eval()
    with torch.no_grad():
        expected = model(images[:, None].float() / 255).argmax(1).numpy()
    assert (frame["eval_prediction"] == expected).all()
    model.train()
    with torch.no_grad():
        first = model(images[:10, None].float() / 255).argmax(1).numpy()
    assert (frame["train_prediction"][:10] == first).all()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("batch_size", [2, 7, 10, 100, 101, 500])
def test_batches_that_go_together_give_what_each_gives_alone(variant, batch_size, images):
    model = trained(variant)
    before = everything(model)
    together = logits_by_groups(model, images, batch_size=batch_size)
    assert_untouched(model, before)
    alone = forward(
        model, images, mode="train", batch_size=batch_size
    )  # a rest of 1 joins there too
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=2e-5)


def test_a_layer_that_normalizes_by_the_batch_is_that_layer_in_train_mode(images, sample):
    model = trained("builtin")
    plain = eval_side(model, images)
    by_hand = trained("builtin").eval()
    by_hand.fc[1].train()
    with torch.no_grad():
        expected = by_hand(images[:, None].float() / 255).numpy()
    mixed = eval_side(
        model, images, layer_modes={"fc1": "batch", "conv1": "running"}, batch_size=101
    )
    np.testing.assert_allclose(mixed, expected, atol=1e-5)
    assert np.abs(mixed - plain).max() > 1e-3
    everywhere = dict.fromkeys(model.norm_layers(), "batch")
    frame = compare_modes(
        model, images, sample.test_labels[:101], batch_size=101, layer_modes=everywhere
    )
    assert not frame["differ"].any(), "with all layers by the batch, eval mode is train mode"


def test_unknown_layers_and_modes_are_refused_by_name(images):
    model = trained("builtin")
    with pytest.raises(ConfigError, match="layer: got 'conv9'; allowed: conv1, conv2, fc1, fc2"):
        eval_side(model, images, layer_modes={"conv9": "batch"})
    with pytest.raises(ConfigError, match="layer_modes: got 'train'; allowed: batch, running"):
        eval_side(model, images, layer_modes={"fc1": "train"})


@pytest.mark.parametrize("variant", NORMALIZING)
def test_drift_is_the_difference_of_two_walks_through_the_network(variant, images):
    model = trained(variant)
    before = everything(model)
    frame = layer_drift(model, images, batch_size=101)
    assert_untouched(model, before)
    assert len(frame) == 226
    caught = {}
    for name, layer in model.norm_layers().items():
        layer.register_forward_hook(
            lambda _layer, inputs, out, name=name: caught.__setitem__(name, (inputs[0], out))
        )
    with torch.no_grad():
        model.eval()
        model(images[:, None].float() / 255)
        evaluated = {name: out.transpose(0, 1).flatten(1) for name, (_x, out) in caught.items()}
        model.train()
        model(images[:, None].float() / 255)
    for name, (x, out) in caught.items():
        rows = frame[frame["layer"] == name]
        apart = (out.transpose(0, 1).flatten(1) - evaluated[name]).pow(2).mean(1).sqrt()
        expected = apart / evaluated[name].std(1, correction=0)
        np.testing.assert_allclose(rows["drift"], expected.numpy(), rtol=1e-3)
        entered = x.transpose(0, 1).flatten(1)
        np.testing.assert_allclose(rows["batch_mean"], entered.mean(1).numpy(), atol=1e-5)


def test_statistics_that_are_those_of_the_batch_leave_no_drift(images):
    """With momentum 1 eval mode normalizes by the last batch, but for the unbiased variance."""
    model = trained("builtin").train()
    for layer in model.norm_layers().values():
        layer.momentum = 1.0
    with torch.no_grad():
        model(images[:, None].float() / 255)
    frame = layer_drift(model, images, batch_size=101)
    assert frame["drift"].max() < 0.02
    assert frame[frame["layer"] == "conv1"]["drift"].max() < 1e-3


def test_drift_of_a_network_without_bn_and_of_single_images_is_refused(images):
    with pytest.raises(ConfigError, match="has no modes to compare"):
        layer_drift(trained("none"), images, batch_size=8)
    with pytest.raises(ConfigError, match=r"batch_size: got 1 in train mode.*2 or more"):
        layer_drift(trained("builtin"), images, batch_size=1)


@pytest.mark.parametrize("kind", ["random", "same class", "copies", "black"])
def test_batch_contexts_together_equal_each_alone(kind, sample):
    images, labels = torch.tensor(sample.test_images), sample.test_labels
    model = trained("composite")
    before = everything(model)
    found = random_contexts(model, images, labels, 7, kind=kind, batch_size=8, count=5, seed=3)
    assert_untouched(model, before)
    model.train()
    for k, row in enumerate(found.itertuples()):
        others = neighbours_of(labels, 7, kind=kind, count=7, seed=3 + k)
        assert row.neighbours == tuple(others)
        context_of = (
            images[[7] * 8].clone() if kind in ("copies", "black") else images[[7, *others]]
        )
        if kind == "black":
            context_of[1:] = 0
        with torch.no_grad():
            logits = model(context_of[:, None].float() / 255)[0]
        ours = found.loc[k, [f"logit_{c}" for c in range(10)]].to_numpy(float)
        np.testing.assert_allclose(ours, logits.numpy(), atol=1e-5)
        assert row.prediction == ours.argmax() and row.right == (ours.argmax() == labels[7])


def test_a_batch_context_of_one_is_refused(sample):
    with pytest.raises(ConfigError, match="batch_size: got 1; allowed: 2 or more"):
        random_contexts(
            trained("builtin"),
            torch.tensor(sample.test_images),
            sample.test_labels,
            0,
            batch_size=1,
        )
