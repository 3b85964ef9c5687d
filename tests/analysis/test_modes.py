import numpy as np
import pytest
import torch

from bnviz.analysis.modes import (
    NEIGHBOURS,
    company,
    compare_modes,
    eval_side,
    evaluate,
    forward,
    standard_error,
    train_side,
)
from bnviz.errors import ConfigError
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


def test_eval_mode_does_not_care_about_company_and_train_mode_does(model, images):
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
        expected = model(images.float().div(255).unsqueeze(1)).softmax(1)
    np.testing.assert_allclose(ours, expected.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("neighbours", NEIGHBOURS)
def test_a_company_is_an_order_of_all_images(sample, neighbours):
    labels = sample.test_labels
    order = company(labels, neighbours)
    assert sorted(order) == list(range(len(labels)))
    if neighbours == "same class":
        assert (np.diff(labels[order]) >= 0).all()


def test_an_unknown_company_is_refused(sample):
    with pytest.raises(ConfigError, match=r"'lonely'.*shuffled"):
        company(sample.test_labels, "lonely")


def test_answers_come_back_in_the_order_of_the_images(model, images, sample):
    order = company(sample.test_labels[:101], "shuffled")
    state = snapshot(model)
    shuffled = train_side(model, images, batch_size=101, order=order)
    model.load_state_dict(state)
    plain = train_side(model, images, batch_size=101, order=np.arange(101))
    np.testing.assert_allclose(shuffled, plain, atol=1e-5)


def test_the_comparison_counts_by_hand():
    train = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    evaluation = np.array([[0.8, 0.2], [0.7, 0.3], [0.1, 0.9]])
    frame = compare_modes(train, evaluation, np.array([0, 1, 1]))
    assert frame["differ"].tolist() == [False, True, True]
    assert frame["train_right"].tolist() == [True, True, False]
    assert frame["eval_right"].tolist() == [True, False, True]
    assert frame["train_true"].tolist() == [0.9, 0.8, 0.4]


def test_accuracy_and_its_standard_error(model, sample):
    images, labels = torch.tensor(sample.test_images), torch.tensor(sample.test_labels)
    result = evaluate(model, images, labels, mode="eval", batch_size=16)
    assert result.accuracy == pytest.approx((result.logits.argmax(1) == labels).double().mean())
    assert result.standard_error == pytest.approx(standard_error(result.accuracy, 1000))
    assert standard_error(0.84, 10_000) == pytest.approx(0.003666, rel=1e-3)
