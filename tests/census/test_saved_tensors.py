"""Saved tensors against other ways to count them: storages, the allocator, plain arithmetic."""

import gc
import threading

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile, record_function

from bnviz.census.saved_tensors import CURVE_POINTS, layer_names, peak_of_a_step, saved_for_backward
from bnviz.evaluation.inference import to_input
from bnviz.nn import VARIANTS, LeNet
from bnviz.nn.state import snapshot
from bnviz.subjects.memory.saved_tensor_purposes import COMMON_PURPOSES, PURPOSES, purpose

each_variant = pytest.mark.parametrize("variant", list(VARIANTS))


@pytest.fixture
def batch_of(sample):
    """Real images as network input with their labels."""

    def take(count):
        images = torch.tensor(sample.train_images[:count])
        return to_input(images, torch.float32), torch.tensor(sample.train_labels[:count])

    return take


@pytest.mark.parametrize(
    ("variant", "total"),
    [("builtin", 1_046_820), ("fused", 1_045_012), ("composite", 1_643_660), ("note", 1_643_660)],
)
def test_a_whole_lenet_keeps_the_bytes_of_the_benchmarks(variant, total, batch_of):
    frame = saved_for_backward(LeNet(variant), *batch_of(16))
    assert frame["bytes"].sum() == total
    assert set(frame["kind"]) <= {"parameter", "buffer", "input", "made"}


@each_variant
def test_what_the_pass_makes_is_what_the_allocator_hands_out(variant, batch_of):
    """The other route: bytes that stay allocated while the loss lives."""
    model, (images, labels) = LeNet(variant), batch_of(16)
    frame = saved_for_backward(model, images, labels)
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        before = F.cross_entropy(model(images), labels)  # a profile can lose its first events
        with record_function("this pass"):
            loss = F.cross_entropy(model(images), labels)
    events = seen.profiler.kineto_results.events()
    began = next(e.start_ns() for e in events if e.name() == "this pass")
    kept = sum(e.nbytes() for e in events if e.name() == "[memory]" and e.start_ns() >= began)
    made = frame["bytes"][frame["kind"] == "made"].sum()
    # Besides: the loss, new running and batch statistics of 226 channels, the note's 16 numbers.
    assert 0 <= kept - made <= 4 + 226 * 4 * 4 + 128
    assert loss.grad_fn is not None and before.grad_fn is not None


@each_variant
def test_every_row_knows_its_layer_and_its_operation(variant, batch_of):
    frame = saved_for_backward(LeNet(variant), *batch_of(4))
    assert (frame["operation"] != "").all() and (frame["saved"] != "").all()
    first = frame.iloc[0]
    assert (first["layer"], first["operation"], first["saved"]) == (
        "conv1", "ConvolutionBackward0", "input",
    )  # fmt: skip
    assert first["shape"] == (4, 1, 28, 28) and first["kind"] == "input"
    assert frame["layer"].iloc[-1] == "loss"


def test_a_storage_counts_once_and_the_others_say_where():
    """ReLU keeps its result, which is also what the next linear layer keeps."""
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    frame = saved_for_backward(model, torch.ones(7, 3))
    rows = {(r.layer, r.saved): r for r in frame.itertuples()}
    assert rows["1", "result"].bytes == rows["1", "result"].size == 7 * 5 * 4
    again = rows["2", "mat1"]
    assert (again.bytes, again.size, again.counted_in) == (0, 140, "1")
    assert rows["0", "mat1"].kind == "input" and rows["2", "mat2"].kind == "parameter"
    assert frame["bytes"].sum() == 140 + 7 * 3 * 4 + 5 * 2 * 4


def test_modules_of_any_kind_are_taken():
    """Several inputs, outputs in a dict, a module within a module, a buffer that is saved."""

    class Inner(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("scale", torch.full((3,), 2.0))

        def forward(self, a, b):
            return a * b * self.scale

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Inner()

        def forward(self, a, b):
            return {"out": [self.inner(a, b).exp()]}

    a = torch.ones(3, requires_grad=True)
    frame = saved_for_backward(Outer(), (a, torch.ones(3)))
    assert list(frame["layer"]) == ["inner", "inner", "Outer"]
    assert list(frame["kind"]) == ["input", "buffer", "made"]
    assert list(frame["operation"]) == ["MulBackward0", "MulBackward0", "ExpBackward0"]


@each_variant
def test_the_model_is_as_it_was(variant, batch_of):
    model = LeNet(variant).eval()
    before = snapshot(model)
    saved_for_backward(model, *batch_of(4))
    assert all(torch.equal(before[name], value) for name, value in snapshot(model).items())
    assert not any(module.training for module in model.modules())
    assert not any("forward" in vars(m) for m in model.modules())


def test_the_hooks_go_also_when_the_pass_fails():
    model = LeNet("builtin")
    with pytest.raises(RuntimeError):
        saved_for_backward(model, torch.ones(4, 1, 5, 5))
    assert not any("forward" in vars(m) for m in model.modules())


def test_nothing_stays_alive(batch_of):
    model, (images, labels) = LeNet("note"), batch_of(16)
    saved_for_backward(model, images, labels)
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as events:
        saved_for_backward(model, images, labels)
        gc.collect()
    kept = [e.nbytes() for e in events.profiler.kineto_results.events() if e.name() == "[memory]"]
    assert sum(kept) == 0


def test_layers_of_a_lenet_have_the_names_of_their_weights():
    names = list(layer_names(LeNet("fused")).values())
    for name in ("conv1", "conv1 BN", "conv1 sigmoid", "conv2 BN", "fc1", "fc2 BN", "out"):
        assert names.count(name) == 1


# ---- purposes ------------------------------------------------------------------------------------


@each_variant
def test_each_saved_tensor_of_a_bn_layer_has_a_purpose_and_none_is_left_over(variant, batch_of):
    frame = saved_for_backward(LeNet(variant), *batch_of(4))
    found = set()
    for layers in (["conv1 BN", "conv2 BN"], ["fc1 BN", "fc2 BN"]):  # 4D and 2D
        rows = frame[frame["layer"].isin(layers)]
        pairs = set(zip(rows["operation"], rows["saved"], strict=True))
        assert {pair for pair in pairs if not purpose(variant, *pair)} == set()
        found |= pairs
    assert found == set(PURPOSES[variant])
    others = frame[~frame["layer"].str.endswith("BN")]
    assert set(zip(others["operation"], others["saved"], strict=True)) == set(COMMON_PURPOSES)
    assert purpose(variant, "ExpBackward0", "result") is None


@pytest.mark.parametrize("variant", ["composite", "note", "fused", "builtin"])
@pytest.mark.parametrize("shape", [(8, 3), (8, 3, 4, 5)], ids=str)
def test_the_purposes_say_what_the_tensors_are(variant, shape):
    """Each sentence begins with a quantity: the tensor must be that quantity."""
    layer = VARIANTS[variant].factory(3, len(shape), eps=1e-5, momentum=0.1)
    gamma = next(layer.parameters())
    with torch.no_grad():
        gamma.copy_(torch.tensor([0.5, 2, 3]).view_as(gamma))
    x = (3 * torch.randn(shape) + 2).requires_grad_()
    dims = [d for d in range(x.dim()) if d != 1]
    mean = x.detach().mean(dims, keepdim=True)
    std = (x.detach().var(dims, correction=0, keepdim=True) + 1e-5).sqrt()
    running = [getattr(layer, name).clone() for name in ("running_mean", "running_var")]
    expected = {
        "x, the": x, "x − m": x - mean, "x̂, t": (x - mean) / std, "γ, t": gamma, "1/√": 1 / std,
        "The b": mean, "The s": std, "The layer's running m": running[0],
        "The layer's running v": running[1],
    }  # fmt: skip
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: kept.append(t.detach().clone()) or t.detach(), lambda t: t
    ):
        y = layer(x)
    frame = saved_for_backward(layer, x)
    assert len(kept) == len(frame) and y.grad_fn is not None
    for value, row in zip(kept, frame.itertuples(), strict=True):
        sentence = purpose(variant, row.operation, row.saved)
        [quantity] = [q for start, q in expected.items() if sentence.startswith(start)]
        if "running" not in sentence:  # those are moved by the very pass
            torch.testing.assert_close(value.flatten(), quantity.detach().flatten())


# ---- a step --------------------------------------------------------------------------------------


def measured(variant, batch, optimizer=torch.optim.Adam):
    model = LeNet(variant)
    return peak_of_a_step(model, optimizer(model.parameters(), lr=0.01), *batch)


@pytest.mark.parametrize(
    ("variant", "end"), [("note", 128), ("composite", 0), ("fused", 0), ("builtin", 0), ("none", 0)]
)
def test_a_step_gives_back_all_but_what_the_note_s_graph_keeps(variant, end, batch_of):
    step = measured(variant, batch_of(16))
    assert step.end == end == step.curve["bytes"].iloc[-1]
    assert step.curve["bytes"].iloc[0] == 0


def test_written_out_operations_raise_the_peak_and_the_closed_form_does_not(batch_of):
    peaks = {v: measured(v, batch_of(64)).peak for v in ("composite", "fused", "builtin")}
    assert peaks["composite"] > 1.4 * peaks["builtin"]
    assert peaks["fused"] == pytest.approx(peaks["builtin"], rel=0.01)


@pytest.mark.parametrize("variant", ["composite", "builtin"])
def test_the_peak_is_at_least_what_the_forward_pass_keeps(variant, batch_of):
    images, labels = batch_of(16)
    frame = saved_for_backward(LeNet(variant), images, labels)
    made = frame["bytes"][frame["kind"] == "made"].sum()
    step = measured(variant, (images, labels))
    at_backward = step.curve["bytes"][step.curve["at"] < 1].iloc[-1]
    assert 0 <= at_backward - made <= 4 + 226 * 4 * 4  # the loss and new statistics
    assert step.peak >= at_backward


def test_the_peak_is_in_bn_only_where_it_is_written_out(batch_of):
    """Next to nn.BatchNorm it is a convolution that needs most, as in a network without BN.

    How much a convolution needs beside its tensors is the choice of its kernel, so of the CPU.
    """
    steps = {v: measured(v, batch_of(64)) for v in ("composite", "builtin", "none")}
    assert steps["composite"].peak_operation in {op for op, _saved in PURPOSES["composite"]}
    assert steps["builtin"].peak_operation == steps["none"].peak_operation == "ConvolutionBackward0"
    extra = {v: steps[v].peak - steps["none"].peak for v in ("composite", "builtin")}
    assert 0 <= extra["builtin"] < extra["composite"] / 4


def test_the_peak_of_a_linear_layer_by_hand():
    """A linear layer without bias: log-probabilities, logits and so on are known one by one."""
    model = nn.Linear(1000, 10, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    step = peak_of_a_step(model, optimizer, torch.rand(4, 1000), torch.tensor([0, 1, 2, 3]))
    gradient = 10 * 1000 * 4
    assert gradient <= step.peak < 2 * gradient  # its gradient is the one large thing
    assert step.peak_phase in ("backward", "update")
    assert step.end == 0


def test_the_curve_is_thin_and_has_the_peak_and_ordered_phases(batch_of):
    step = measured("note", batch_of(16))
    assert len(step.curve) <= CURVE_POINTS
    assert step.curve["bytes"].max() == step.peak
    assert step.curve["at"].is_monotonic_increasing and step.curve["ms"].is_monotonic_increasing
    assert (step.curve["at"].iloc[0], step.curve["at"].iloc[-1] <= 3) == (0, True)
    assert step.peak_phase == "backward"


def test_other_threads_do_not_count(batch_of):
    """A run that trains beside it allocates all the time."""
    batch, over = batch_of(16), threading.Event()
    alone = measured("builtin", batch).peak

    def busy():
        while not over.is_set():
            torch.zeros(3_000_000)

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        assert measured("builtin", batch).peak == alone
    finally:
        over.set()
        thread.join()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda_the_peak_is_the_allocator_s(batch_of):
    images, labels = (tensor.cuda() for tensor in batch_of(64))
    model = LeNet("composite").cuda()
    step = peak_of_a_step(model, torch.optim.Adam(model.parameters()), images, labels)
    assert step.peak == pytest.approx(step.curve["bytes"].max(), rel=0.05)
