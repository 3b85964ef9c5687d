"""Two networks in lock-step: where they part is known beforehand."""

import pandas as pd
import pytest

from bnviz.errors import ConfigError
from bnviz.subjects.note.divergence import (
    KINDS,
    compare_sides,
    first_apart,
    largest_by_step,
    that_matters,
)
from bnviz.training.tasks import Cancelled


def parted(few, first, second, steps=12, **options):
    return compare_sides(first, second, steps, dataset=few, **options)


def test_two_sides_that_are_the_same_never_part(few):
    for side in ("note:all", "composite"):
        found = parted(few, side, side, test_every=5)
        assert (found.frame["difference"] == 0).all()
        assert first_apart(found.frame, 0.0) is None


def test_another_start_of_the_variance_parts_a_buffer_and_never_the_forward_pass(few):
    found = parted(few, "note:none", "note:zero_running_var", 40, test_every=15)
    first = first_apart(found.frame, 1e-5)
    assert (first["step"], first["kind"], first["layer"], first["tensor"]) == (
        1, "buffer", "conv1 BN", "running_var",
    )  # fmt: skip
    worst = found.frame.groupby("kind")["difference"].max()
    assert worst["buffer"] > 0.1
    assert worst[["forward", "gradient", "parameter"]].eq(0).all()
    assert set(found.start[found.start["difference"] > 0]["tensor"]) == {"running_var"}


def test_another_start_of_beta_parts_the_first_forward_pass_behind_it(few):
    first = first_apart(parted(few, "note:none", "note:conv_shift_one", 2).frame, 1e-5)
    assert (first["step"], first["kind"], first["layer"]) == (1, "forward", "conv1 BN")


def test_the_unbiased_variance_is_one_sixteenth_from_the_biased_one(few):
    """At batch 16 a fully connected layer has 16 values: the biased variance is 15/16 of it."""
    found = parted(few, "note:zero_running_var", "note:zero_running_var,biased_running_var", 3)
    rows = found.frame.query("layer == 'fc1 BN' and tensor == 'running_var'")
    assert rows["difference"].to_numpy() == pytest.approx([1 / 16] * 3, rel=1e-5)


def test_test_passes_that_move_statistics_part_them_at_the_first_pass(few):
    frame = parted(few, "note:none", "note:moving_tests", 7, test_every=5).frame
    first = first_apart(frame, 1e-5)
    assert (first["step"], first["tensor"]) == (5, "running_mean after test()")
    assert frame[frame["kind"] != "buffer"]["difference"].eq(0).all()


def test_every_tensor_of_a_layer_with_another_start_differs(few):
    """Beta of 1 changes each layer behind it, forward and back, and the loss."""
    frame = parted(few, "note:none", "note:conv_shift_one", 1).frame
    differs = frame[frame["difference"] > 1e-6]
    for kind in ("forward", "gradient"):
        behind = set(differs[differs["kind"] == kind]["layer"])
        assert {"conv1 BN", "conv2", "conv2 BN", "fc1", "fc1 BN", "fc2", "fc2 BN", "out"} <= behind
    assert "loss" in set(differs[differs["kind"] == "forward"]["layer"])


def test_a_network_without_bn_parts_where_bn_stands(few):
    first = first_apart(parted(few, "builtin", "none", 1).frame, 1e-5)
    assert (first["step"], first["kind"], first["layer"]) == (1, "forward", "conv1 BN")


def test_right_layers_stay_together_in_float64(sample):
    """Of what matters: a bias before BN has nothing but rounding for a gradient (next test)."""
    found = parted(sample, "composite", "builtin", 100, dtype="float64")
    assert that_matters(found.frame)["difference"].max() < 1e-9


def test_in_float32_a_bias_before_bn_parts_first_and_does_not_matter(few):
    frame = parted(few, "composite", "builtin", 1).frame
    first = first_apart(frame, 1e-3)
    assert (first["kind"], first["tensor"]) == ("parameter", "bias")
    assert first["layer"] in ("conv1", "conv2", "fc1", "fc2")
    assert first_apart(that_matters(frame), 1e-3) is None


def test_everything_is_compared_in_the_order_in_which_it_comes_to_be(few):
    frame = parted(few, "composite", "builtin", 1).frame
    kinds = list(dict.fromkeys(frame[frame["kind"] != "buffer"]["kind"]))
    assert kinds == ["forward", "gradient", "parameter"]
    layers = list(frame[frame["kind"] == "forward"]["layer"])
    assert layers[:5] == ["conv1", "conv1 BN", "conv1 sigmoid", "conv1 pooling", "conv2"]
    assert layers[-2:] == ["out", "loss"]
    assert next(iter(frame[frame["kind"] == "gradient"]["layer"])) == "out"
    assert (frame["kind"] == "parameter").sum() == 2 * 5 + 2 * 4
    assert (frame["kind"] == "buffer").sum() == 2 * 4


def test_the_largest_difference_of_each_step_and_kind():
    frame = pd.DataFrame(
        {
            "step": [1, 1, 1, 2],
            "kind": ["forward", "forward", "buffer", "forward"],
            "layer": ["a", "b", "a", "a"],
            "tensor": ["output"] * 4,
            "difference": [0.1, 0.3, 0.2, 0.4],
        }
    )
    found = largest_by_step(frame)
    assert list(found["difference"]) == [0.3, 0.2, 0.4]
    assert found.loc[0, "layer"] == "b"
    assert first_apart(frame, 0.1)["difference"] == 0.3
    assert set(found["kind"]) <= set(KINDS)


def test_it_can_be_cancelled(few):
    def progress(done, _parts, _share=None):
        if done >= 10:
            raise Cancelled

    with pytest.raises(Cancelled):
        compare_sides("composite", "builtin", 50, progress, dataset=few)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("builtin", "bultin"), "side"),
        (("builtin:all", "builtin"), "only note has quirks"),
        (("builtin", "note", 0), "steps: got 0; allowed: 1 to 2000"),
    ],
)
def test_what_cannot_be_compared_is_refused(few, arguments, said):
    with pytest.raises(ConfigError, match=said):
        compare_sides(*arguments, dataset=few)
    with pytest.raises(ConfigError, match="dtype"):
        compare_sides("builtin", "builtin", dtype="float16", dataset=few)
