import pytest
import torch

from bnviz.census.graph_census import GraphCensus
from bnviz.census.prediction import is_test, predict
from bnviz.nn import LeNet


def on_meta(**quirks):
    return LeNet("note", momentum=0.9, device="meta", norm_options=quirks)


def shape(batch):
    return (batch, 1, 28, 28)


def by_hand(batch):
    """Bytes that a test batch of the note's network keeps, written down layer by layer.

    A BN layer keeps x less its mean (for the square), the same again (for the division), x̂ and
    the deviation; the note's last layer nothing behind its variance. A sigmoid keeps what it gives,
    a pooling two numbers of eight bytes a place, a layer with weights its input. Averaging in keeps
    sixteen numbers of eight bytes.
    """
    conv1, conv2 = batch * 6 * 24 * 24, batch * 16 * 8 * 8
    fc1, fc2 = batch * 120, batch * 84
    inputs = batch * 28 * 28 + batch * 6 * 12 * 12 + batch * 256 + batch * 120
    norms = 3 * (conv1 + conv2 + fc1) + fc2 + (6 + 16 + 120)
    sigmoids = conv1 + conv2 + fc1
    places = batch * 6 * 12 * 12 + batch * 16 * 4 * 4
    shared = batch * 120  # fc2's input is what the sigmoid before it gave, kept once
    return 4 * (inputs - shared + norms + sigmoids) + 8 * places + 128


@pytest.mark.parametrize("batch", [2, 16, 64, 256])
def test_the_prediction_is_what_is_measured_to_the_byte(batch):
    predicted = predict(on_meta(), shape(batch))
    model = LeNet("note", momentum=0.9)
    census = GraphCensus(model)
    for _ in range(2):
        model(torch.rand(shape(batch)))
        measured = census.update()
    assert predicted.bytes["test"] == measured.bytes
    assert predicted.nodes["test"] == measured.nodes
    assert predicted.bytes["test"] == by_hand(batch)


def test_at_batch_16_it_is_the_known_figure_and_the_images_themselves():
    predicted = predict(on_meta(), shape(16))
    assert predicted.bytes["test"] - predicted.input_bytes == 1_398_712
    assert predicted.input_bytes == 16 * 28 * 28 * 4
    assert predicted.bytes["train"] == 128


@pytest.mark.parametrize(
    ("quirks", "testing", "test", "train"),
    [
        ({}, {"test_mode": "eval"}, 0, 128),
        ({}, {"grad": False}, 0, 128),
        ({"keep_graph": False}, {}, 0, 0),
        ({"in_place": True}, {}, 0, 0),
    ],
    ids=["eval", "no_grad", "detached", "in place"],
)
def test_any_one_cure_leaves_nothing_of_a_test_batch(quirks, testing, test, train):
    assert predict(on_meta(**quirks), shape(16), **testing).bytes == {"test": test, "train": train}


def test_only_no_grad_in_train_mode_cuts_the_chain_that_was_there():
    assert predict(on_meta(), shape(4), grad=False).test_cuts
    assert not predict(on_meta(), shape(4), test_mode="eval").test_cuts
    assert not predict(on_meta(), shape(4), test_mode="eval", grad=False).test_cuts


@pytest.mark.parametrize("variant", ["composite", "fused", "builtin", "none"])
def test_the_other_layers_are_predicted_to_keep_nothing(variant):
    assert predict(LeNet(variant, device="meta"), shape(16)).bytes == {"test": 0, "train": 0}


@pytest.mark.parametrize("share", [0.0, 0.05, 0.25, 1 / 3, 0.95, 1.0])
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_a_memory_is_full_where_the_curve_passes_it(share, mode):
    predicted = predict(on_meta(), shape(16), test_mode=mode)
    curve = predicted.curve(20_000, share)
    if not curve[-1]:
        assert predicted.full_at(0, share) is None
        return
    for memory in (0, 64, 1000, curve[777], curve[777] - 1, curve[-1] - 1):
        assert predicted.full_at(int(memory), share) == (curve > memory).argmax() + 1


def test_a_memory_that_nothing_fills_is_never_full():
    assert predict(on_meta(keep_graph=False), shape(16)).full_at(10**9, 1.0) is None
    assert predict(on_meta(), shape(16), grad=False).full_at(10**9, 0.5) is None


def test_a_chain_that_each_test_cuts_is_predicted_to_stay_short():
    curve = predict(on_meta(), shape(4), grad=False).curve(12, 0.25)
    assert curve.tolist() == [64, 192, 320, 0] * 3


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("grad", [True, False], ids=["grad", "no_grad"])
@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("keep", [True, False], ids=["kept", "detached"])
def test_every_step_of_every_loop_is_predicted_to_the_byte(keep, mode, grad, share):
    predicted = predict(on_meta(keep_graph=keep), shape(2), test_mode=mode, grad=grad)
    model = LeNet("note", momentum=0.9, norm_options={"keep_graph": keep})
    census, kept = GraphCensus(model), []
    for step in range(1, 14):
        inputs = torch.rand(shape(2))
        if is_test(step, share):
            model.train(mode == "train")
            with torch.set_grad_enabled(grad):
                model(inputs)
        else:
            model.train()(inputs).sum().backward()
        census.update()
        kept.append((census.bytes, census.nodes))
    curves = [predicted.curve(13, share, quantity).tolist() for quantity in ("bytes", "nodes")]
    assert [list(column) for column in zip(*kept, strict=True)] == [
        curves[0],
        pytest.approx(curves[1], rel=0.1),  # a sum has fewer nodes than a cross entropy
    ]


@pytest.mark.parametrize("share", [0.0, 0.05, 0.1, 0.25, 1 / 3, 0.7, 1.0])
def test_test_batches_are_spread_evenly(share):
    which = [is_test(step, share) for step in range(1, 301)]
    assert sum(which) == round(300 * share)
    assert all(abs(sum(which[:k]) - k * share) <= 1 for k in range(301))
