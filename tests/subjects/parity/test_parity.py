"""Own layers agree with torch's in every case, and wrong ones are told apart by their cause."""

import pandas as pd
import pytest
import torch
from torch import nn

from bnviz.errors import ConfigError
from bnviz.nn import BatchNorm1d, BatchNorm2d, FusedBatchNorm1d, FusedBatchNorm2d, NoteBatchNorm
from bnviz.subjects.parity import causes as reasons
from bnviz.subjects.parity import comparison, layer_adapter, parity, parity_report
from bnviz.subjects.parity.causes import causes, examine
from bnviz.subjects.parity.cost import saved_bytes, time_ratio
from bnviz.subjects.parity.find_class import find_class
from bnviz.subjects.parity.fingerprint import PROPERTIES, WORDS, fingerprint, in_words
from bnviz.subjects.parity.layer_adapter import Subject
from bnviz.subjects.parity.parity_cases import cases
from tests.subjects.parity.wrong_layers import (
    WRONG,
    Identity,
    MomentumTurned,
    NormalizesUnbiased,
    Right,
)

OWN = {BatchNorm1d: (2, 3), BatchNorm2d: (4,), FusedBatchNorm1d: (2, 3), FusedBatchNorm2d: (4,)}
SUBJECTS = {cls: Subject(cls) for cls in OWN}
EVERY_CASE = [(cls, case) for cls, dims in OWN.items() for case in cases(dims)]


@pytest.mark.parametrize(
    ("cls", "case"), EVERY_CASE, ids=[f"{cls.__name__}: {case.name}" for cls, case in EVERY_CASE]
)
def test_own_layer_agrees_with_torch(cls, case):
    found = parity.run_case(case, SUBJECTS[cls])
    assert found.agrees is True, found.detail
    assert found.of_tolerance <= 1 or case.check != "numbers"


def test_there_are_two_hundred_cases_and_each_has_its_name():
    names = [case.name for case in cases()]
    assert len(set(names)) == len(names) >= 200
    assert {case.dtype for case in cases()} == {"float16", "bfloat16", "float32", "float64"}
    assert {case.dims for case in cases()} == {2, 3, 4}
    assert {case.group for case in cases()} == {
        "shapes", "half precision", "options", "edge cases"
    }  # fmt: skip


def codes(cls, reference=None):
    return [cause.code for cause in causes(cls, reference)]


def test_a_right_layer_from_scratch_passes_though_it_lacks_options():
    found = examine(Right)
    assert found.causes == []
    assert found.passed
    left = found.frame[found.frame["agrees"].isna()]
    assert set(left["group"]) == {"options"}
    assert left["detail"].str.contains("does not take|is not taken").all()
    options = left["name"].str.extract(r"(affine|bias|track_running_stats|momentum=None)")[0]
    assert set(options) == {"affine", "bias", "track_running_stats", "momentum=None"}


@pytest.mark.parametrize("cls", WRONG, ids=lambda c: c.__name__)
def test_each_wrong_layer_is_named_by_its_one_cause(cls):
    found = examine(cls)
    assert [cause.code for cause in found.causes] == [WRONG[cls]]
    assert not found.passed
    assert (found.frame["agrees"] == False).any()  # noqa: E712 (three values)
    [cause] = found.causes
    assert cause.sentence.endswith(".") and "{" not in cause.sentence


def test_two_faults_are_two_causes():
    class Both(MomentumTurned, NormalizesUnbiased):
        pass

    assert codes(Both) == ["normalizes_by_unbiased", "momentum_weighs_old"]


def test_a_layer_that_does_nothing_is_named_so():
    assert "does_not_normalize" in codes(Identity)
    assert codes(nn.InstanceNorm2d) == [
        "wrong_axes", "affine_missing", "statistics_missing", "eval_uses_batch"
    ]  # fmt: skip


def test_what_no_experiment_tells_apart_is_unexplained():
    class Bent(Right):
        def narrow(self, y, x):
            return (y + y**3).to(x.dtype)

    found = causes(Bent)
    assert found[-1].code == "unexplained"
    assert "output" in found[-1].sentence


NOTE = [
    "shift_start",
    "statistics_not_buffers",
    "starts_at_zero",
    "variance_kept_biased",
    "momentum_default",
    "graph_kept",
    "single_value_taken",
    "state_dict_differs",
    "half_in_half",
    "half_output",
]


def test_the_note_s_quirks_are_named_exactly():
    found = {cause.code: cause.sentence for cause in causes(NoteBatchNorm)}
    assert list(found) == NOTE
    assert "(N, C, H, W) only" in found["shift_start"]
    assert "only" not in found["graph_kept"]
    assert "0.9" in found["momentum_default"] and "0.1" in found["momentum_default"]


@pytest.mark.parametrize(
    ("switch", "value", "cause"),
    [
        ("keep_graph", False, "graph_kept"),
        ("zero_running_var", False, "starts_at_zero"),
        ("conv_shift_one", False, "shift_start"),
        ("plain_attributes", False, "statistics_not_buffers"),
        ("biased_running_var", False, "variance_kept_biased"),
        ("momentum", 0.1, "momentum_default"),
    ],
)
def test_a_quirk_that_is_switched_off_is_no_longer_named(switch, value, cause):
    class Fixed(NoteBatchNorm):
        def __init__(self, num_features, num_dims, **options):
            super().__init__(num_features, num_dims, **{switch: value, **options})

    assert set(NOTE) - set(codes(Fixed)) == {cause}


@pytest.mark.parametrize("cls", [*OWN, nn.BatchNorm1d, nn.BatchNorm2d], ids=lambda c: c.__name__)
def test_right_layers_have_torchs_fingerprint_and_no_causes(cls):
    for dims, (own, torchs) in examine(cls).fingerprints.items():
        assert own == torchs == fingerprint(cls, dims)
        assert list(own) == list(PROPERTIES)
        assert "unknown" not in own.values()
        assert all(in_words(name, value) for name, value in own.items())


def test_the_fingerprint_of_torchs_layer_is_what_its_page_says():
    found = fingerprint(nn.BatchNorm2d)
    expected = {
        "axes": "N,H,W", "normalizes_by": "biased", "eps_place": "inside", "eps": "1e-05",
        "gradient": "all", "affine": "scale_then_shift", "scale_start": "1", "shift_start": "0",
        "statistics": "buffers", "mean_start": "0", "var_start": "1", "variance_kept": "unbiased",
        "momentum": "new", "new_weight": "0.1", "plain_average": "average", "eval_uses": "running",
        "moves_in_eval": "no", "graph": "cut", "single_value": "ValueError", "counts": "yes",
        "half": "float32", "half_output": "bfloat16", "far": "holds",
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected


def test_words_and_causes_speak_of_properties_that_there_are():
    assert {name for name, _value in WORDS} <= set(PROPERTIES)
    assert {known.property for known in reasons.CAUSES} == set(PROPERTIES)
    for known in reasons.CAUSES:
        assert known.explains <= set(comparison.PARTS)
        known.sentence.format(own="one", reference="other")


def test_a_reference_of_ones_own():
    assert codes(NormalizesUnbiased, NormalizesUnbiased) == []
    assert codes(Right, NormalizesUnbiased) == ["normalizes_by_biased"]
    assert codes(Right, nn.BatchNorm2d) == []


def test_the_report_is_one_row_a_case():
    told = []
    frame = parity.report(NoteBatchNorm, progress=lambda done, parts: told.append((done, parts)))
    wanted = [case.name for case in cases((2, 4))]
    assert list(frame["name"]) == wanted
    assert told == [(done, len(wanted)) for done in range(len(wanted))]
    assert list(frame.columns) == [
        "name", "group", "dtype", "mode", "agrees", "output_difference", "gradient_difference",
        "buffer_difference", "of_tolerance", "differs_in", "detail",
    ]  # fmt: skip
    assert frame["agrees"].dtype == pd.BooleanDtype()
    row = frame.set_index("name").loc["fc 1x3, float32, one value per channel, train"]
    assert not row["agrees"] and row["differs_in"] == ["refusal"]
    assert "takes it" in row["detail"] and "ValueError" in row["detail"]
    for _number, row in frame[frame["agrees"] == False].iterrows():  # noqa: E712
        assert row["differs_in"] and row["detail"]


@pytest.mark.parametrize("dtype", comparison.TOLERANCE, ids=str)
def test_tolerances_are_those_of_assert_close(dtype):
    rtol, atol = comparison.TOLERANCE[dtype]
    one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    for value, allowed in ((one, rtol + atol), (zero, atol)):
        # check_dtype=False takes the larger tolerance of both dtypes
        near, far = ((value + factor * allowed) for factor in (0.9, 1.1))
        low = torch.zeros(1, dtype=dtype) + value.to(dtype)
        torch.testing.assert_close(near, low, check_dtype=False)
        with pytest.raises(AssertionError):
            torch.testing.assert_close(far, low, check_dtype=False)
        assert comparison.distance(near, low)[1] < 1 < comparison.distance(far, low)[1]


def test_a_nan_on_one_side_is_an_infinite_difference_and_on_both_none():
    nan, one = torch.tensor([float("nan")]), torch.tensor([1.0])
    assert comparison.distance(nan, one) == (float("inf"), float("inf"))
    assert comparison.distance(nan, nan) == (0, 0)


class Draws(Right):
    def forward(self, x):
        return super().forward(x) + 0 * torch.rand(())


def test_random_state_flags_and_the_class_stay_as_they_are():
    torch.manual_seed(3)
    before, attributes = torch.random.get_rng_state(), dict(vars(Draws))
    with torch.no_grad():
        examine(Draws)
        saved_bytes(Draws)
        time_ratio(Draws, rounds=2)
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert dict(vars(Draws)) == attributes


def test_saved_bytes_are_those_of_the_tensors_kept():
    x, vector = 4 * 32 * 16 * 28 * 28, 4 * 16
    assert saved_bytes(FusedBatchNorm2d) == x + 3 * vector
    assert saved_bytes(BatchNorm2d) > 2 * x
    assert saved_bytes(nn.LeakyReLU, 4) == x


def test_time_ratio_is_own_over_reference():
    timing = time_ratio(BatchNorm2d, FusedBatchNorm2d, rounds=3)
    assert timing.own_ms > 0 and timing.reference_ms > 0
    assert timing.ratio == pytest.approx(timing.own_ms / timing.reference_ms)


def test_a_proof_has_all_classes_of_a_variant():
    assert parity_report.classes_of("fused") == [FusedBatchNorm1d, FusedBatchNorm2d]
    assert parity_report.classes_of("note") == [NoteBatchNorm]
    told = []
    found = parity_report.prove("composite", lambda done, parts: told.append((done, parts)))
    assert found.passed and found.causes == []
    assert len(found.frame) == len(cases())
    assert set(found.frame["layer"]) == {"BatchNorm1d", "BatchNorm2d"}
    assert [done for done, _parts in told] == list(range(len(cases()) + 1))
    assert found.own_bytes > found.reference_bytes > 0


class TwoArguments(nn.Module):
    def __init__(self, width, height):
        super().__init__()
        self.width = width + height.upper()


class AnotherShape(nn.Module):
    def __init__(self, num_features):
        super().__init__()

    def forward(self, x):
        return x.mean()


@pytest.mark.parametrize(
    ("cls", "words"),
    [
        (TwoArguments, ["TwoArguments(num_features)", "(num_features, num_dims)", "height"]),
        (AnotherShape, ["AnotherShape(num_features)", "another shape"]),
        (nn.Linear, ["Linear(num_features, num_dims)"]),
    ],
    ids=lambda v: getattr(v, "__name__", None),
)
def test_a_class_that_does_not_fit_is_refused_with_what_was_tried(cls, words):
    for call in (parity.report, causes, fingerprint, saved_bytes, time_ratio):
        with pytest.raises(ConfigError) as error:
            call(cls)
        assert "\n" not in str(error.value)
        for word in words:
            assert word in str(error.value)


def test_a_reference_for_other_inputs_is_refused():
    with pytest.raises(ConfigError, match=r"reference: BatchNorm1d takes inputs of 2, 3 .* 4"):
        parity.report(Right, nn.BatchNorm1d)


def test_a_class_is_found_by_its_name():
    for name in ("torch.nn:BatchNorm2d", "torch.nn.BatchNorm2d"):
        assert find_class(name) is nn.BatchNorm2d


def test_statistics_are_found_under_other_names():
    class Other(nn.Module):
        def __init__(self):
            super().__init__()
            self.batch_mean = torch.zeros(3)
            self.register_buffer("ema_mean", torch.zeros(3))
            self.register_buffer("ema_var", torch.ones(3))

    assert layer_adapter.statistics_names(Other()) == ("ema_mean", "ema_var")
    assert layer_adapter.statistics_names(nn.ReLU()) is None


class WithoutNames(Right):
    """Its statistics are called by names that say nothing."""

    def keep(self, name, value):
        self.register_buffer({"running_mean": "first", "running_var": "second"}[name], value)

    @property
    def running_mean(self):
        return self.first

    @running_mean.setter
    def running_mean(self, value):
        self.first = value

    @property
    def running_var(self):
        return self.second

    @running_var.setter
    def running_var(self, value):
        self.second = value


def test_statistics_are_found_by_what_a_step_moves_where_names_say_nothing():
    found = fingerprint(WithoutNames)
    assert (found["statistics"], found["mean_start"], found["var_start"]) == ("buffers", "0", "1")
    assert found["eval_uses"] == "running"
    assert found["variance_kept"] == "unbiased"
    assert codes(WithoutNames) == ["state_dict_differs"]
