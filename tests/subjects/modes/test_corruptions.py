import numpy as np
import pytest
import torch
from scipy import stats

from bnviz.errors import ConfigError
from bnviz.evaluation.modes import eval_side, train_side
from bnviz.records.store import recorded_run
from bnviz.subjects.modes.corruptions import SHIFTS, modes_under_shift, shifted
from bnviz.training.checkpoints import model_at


@pytest.fixture
def images(sample):
    return torch.tensor(sample.test_images[:200])


@pytest.mark.parametrize("kind", SHIFTS)
def test_no_strength_changes_nothing_and_more_changes_more(kind, images):
    before, random = images.clone(), torch.random.get_rng_state()
    assert torch.equal(shifted(images, kind, 0), images)
    weak, strong = (
        (shifted(images, kind, strength).float() - images.float()).abs().mean()
        for strength in (0.25, 1)
    )
    assert 0 < weak < strong
    assert shifted(images, kind, 0.5).dtype == torch.uint8
    assert torch.equal(images, before)
    assert torch.equal(torch.random.get_rng_state(), random)


def test_the_changes_are_what_their_names_say(images):
    assert torch.equal(shifted(images, "inverted", 1), 255 - images)
    light, left = (
        each.float().mean().item() for each in (images, shifted(images, "brightness", 1))
    )
    assert left == pytest.approx(light / 5, abs=1)
    flat, full = (each.float().std((1, 2)) for each in (shifted(images, "contrast", 1), images))
    torch.testing.assert_close(flat, full / 10, rtol=0, atol=1.0)
    turned = shifted(images, "rotated", 1)
    assert torch.equal(turned, torch.rot90(images, 1, (1, 2)))
    assert not torch.equal(shifted(images, "noise", 1), shifted(images, "noise", 1, seed=1))


def test_unknown_changes_and_strengths_are_refused(images):
    with pytest.raises(ConfigError, match="'fog'; allowed: brightness"):
        shifted(images, "fog", 0.5)
    with pytest.raises(ConfigError, match="strength: got 2; allowed: 0 to 1"):
        shifted(images, "noise", 2)


def test_under_a_strong_change_train_mode_wins_on_the_recorded_run(sample):
    """The claim on the page, measured: darker images, whose statistics are far from the running ones."""
    run = recorded_run()
    model = model_at(run, "builtin", run.checkpoints("builtin")[-1])
    frame = modes_under_shift(
        model, torch.tensor(sample.test_images), sample.test_labels, kind="brightness",
        batch_size=64, order=np.arange(1000),
    )  # fmt: skip
    strongest = frame.iloc[-1]
    assert strongest["train"] > strongest["eval"] + 0.1
    none = frame.iloc[0]
    assert abs(none["train"] - none["eval"]) < 0.1
    # The same by hand: the answers of both modes on the same images, in one difference each.
    assert frame["ahead"].tolist() == pytest.approx((frame["train"] - frame["eval"]).tolist())
    changed = shifted(torch.tensor(sample.test_images), "brightness", 0.5)
    sides = (
        train_side(model, changed, batch_size=64, order=np.arange(1000)),
        eval_side(model, changed),
    )
    train, evaluation = (side.argmax(1) == sample.test_labels for side in sides)
    assert frame["train"][2] == train.mean() and frame["eval"][2] == evaluation.mean()
    apart = train.astype(int) - evaluation
    exact = stats.binomtest(int((apart > 0).sum()), int((apart != 0).sum())).pvalue
    assert frame["clear"][2] == (exact < 0.05)
