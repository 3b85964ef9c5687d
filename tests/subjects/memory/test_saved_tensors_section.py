"""Two sections of the memory page: what is kept for backward, and why the process grows more."""

import json

import pandas as pd
import plotly.graph_objects as go
import pytest
from streamlit.testing.v1 import AppTest

from bnviz.charts import theme
from bnviz.errors import BnvizError
from bnviz.nn.variants import VARIANTS
from bnviz.subjects.memory import process_growth_section, saved_tensors_section
from bnviz.subjects.memory.process_growth import recorded
from bnviz.subjects.memory.process_growth_figures import growth_over_batch_sizes
from bnviz.subjects.memory.saved_tensors_figures import BLOCKS, block_of
from bnviz.training.process import measurements
from tests.waiting import until

KNOWN_AXES = {quantity.axis() for quantity in theme.QUANTITIES.values()}


def saved_section():
    from bnviz.subjects.memory.saved_tensors_section import section

    section()


def growth_section():
    from bnviz.subjects.memory.process_growth_section import section

    section()


def cards_of(app):
    return [
        card
        for element in app.get("bidi_component")
        for card in json.loads(element.proto.json)["cards"]
    ]


@pytest.fixture(scope="module")
def tensors():
    return saved_tensors_section.saved_tensors(16)


@pytest.fixture(scope="module")
def steps():
    return saved_tensors_section.steps_of(16)


# ---- without any leak ----------------------------------------------------------------------------


def test_the_section_speaks_of_the_chosen_batch_size():
    app = AppTest.from_function(saved_section, default_timeout=60)
    app.session_state["saved_batch"] = 16
    app.run()
    assert not app.exception
    values = {metric.label: metric.value for metric in app.metric}
    assert list(values) == [variant.label for variant in VARIANTS.values()]
    assert values["nn.BatchNorm"] == "797.89 KiB"  # 817,044 bytes
    assert values["Hand-written BN"] == "1.35 MiB, 1.73 ×"  # 1,415,692 bytes
    kept, step = cards_of(app)
    assert "at batch 16, the hand-written layer 1.73 times" in kept["sentence"]
    assert "MiB, in ConvolutionBackward0. After" in step["sentence"]
    assert (
        "128 bytes stay with the note's layer, a link of its chain, and 0 with nn.BatchNorm"
        in step["sentence"]
    )


def test_the_table_lists_what_the_chosen_layer_saves():
    app = AppTest.from_function(saved_section, default_timeout=60)
    app.session_state["saved_batch"] = 16
    app.run()
    table = app.dataframe[0].value
    assert list(table["operation"].iloc[:2]) == ["PowBackward0", "SqrtBackward0"]
    assert (table["purpose"].str.len() > 10).all()
    app.segmented_control(key="saved_variant").set_value("builtin").run()
    app.run()
    assert set(app.dataframe[0].value["operation"]) == {"NativeBatchNormBackward0"}
    app.segmented_control(key="saved_variant").set_value("none").run()
    app.run()
    assert not app.exception and not app.dataframe
    assert any("there is no such layer" in i.value for i in app.info)


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_every_saved_tensor_is_explained(variant, tensors):
    table = saved_tensors_section.shown(tensors[tensors["variant"] == variant], variant)
    assert (table["purpose"] != "").all() and (table["counts"] != "").all()


def test_bars_stand_as_high_as_what_is_kept(tensors):
    card = saved_tensors_section.kept_card(tensors, 16)
    *bars, totals = go.Figure(card.figure).data
    assert [bar.name for bar in bars] == list(BLOCKS)
    made = tensors[tensors["kind"] == "made"].groupby("variant")["bytes"].sum()
    for k, variant in enumerate(VARIANTS):
        assert sum(bar.y[k] for bar in bars) * 2**20 == pytest.approx(made[variant], rel=1e-6)
        assert totals.y[k] * 2**20 == pytest.approx(made[variant], rel=1e-6)
    for bar in bars[:3]:  # the title's grey part: alike in all variants
        assert len(set(bar.y)) == 1


def test_written_out_it_keeps_three_tensors_where_one_is_enough(tensors):
    """The title of the figure."""
    count = {}
    for variant in ("note", "composite", "fused", "builtin"):
        rows = tensors[(tensors["variant"] == variant) & (tensors["layer"] == "conv2 BN")]
        count[variant] = int(((rows["kind"] == "made") & (rows["bytes"] == 16 * 16 * 64 * 4)).sum())
    assert count == {"note": 3, "composite": 3, "fused": 1, "builtin": 1}


def test_every_layer_has_its_place_in_the_bars(tensors):
    assert {block_of(layer) for layer in tensors["layer"]} == set(BLOCKS)
    assert block_of("fc2 BN") == "fc BN" and block_of("conv1 pooling") == "conv1"


def test_lines_of_a_step_have_their_peak_marked(steps):
    card = saved_tensors_section.step_card(steps, 16)
    figure = go.Figure(card.figure)
    lines, peaks = figure.data[: len(VARIANTS)], figure.data[len(VARIANTS) :]
    for line, peak, step in zip(lines, peaks, steps.values(), strict=True):
        assert line.legendgroup == peak.legendgroup
        assert max(line.y) == peak.y[0] == pytest.approx(step.peak / 2**20, rel=1e-6)
        assert line.line.shape == "hv" and len(line.x) <= 600
    assert len({line.line.dash for line in lines}) == len(VARIANTS)
    assert list(figure.layout.xaxis.ticktext) == ["forward", "backward", "update"]
    assert card.title == "Written out, BN raises the peak of a step {:.2f} times".format(
        steps["composite"].peak / steps["builtin"].peak
    )


def test_axes_have_names_and_units(tensors, steps):
    frame = recorded().frame
    for card in (
        saved_tensors_section.kept_card(tensors, 16), saved_tensors_section.step_card(steps, 16),
        *(process_growth_section.card(frame, kind) for kind in process_growth_section.KINDS),
    ):  # fmt: skip
        layout = go.Figure(card.figure).layout
        assert {layout.xaxis.title.text, layout.yaxis.title.text} <= KNOWN_AXES
        assert card.title and card.sentence and card.alt


# ---- why the process grows more ------------------------------------------------------------------


@pytest.fixture
def app():
    yield AppTest.from_function(growth_section, default_timeout=60)
    measurements().end_all()
    measurements.cache_clear()


def wait():
    until(lambda: not measurements().get(*process_growth_section.KEY).going_on, seconds=30)


def test_it_is_never_empty_and_says_that_it_is_recorded(app):
    app.run()
    assert not app.exception
    assert [card["key"] for card in cards_of(app)] == ["growth_train", "growth_test"]
    [caption] = [c.value for c in app.caption]
    assert caption.startswith("Recorded on 20") and "scripts.record_memory" in caption
    plain, apart = (code.value for code in app.code)
    assert apart == f"MALLOC_MMAP_THRESHOLD_=65536 {plain}"
    assert plain.startswith("python -m bnviz memory ")
    assert [b.key for b in app.button] == ["measure_process_growth"]


def test_what_is_measured_here_takes_the_place_of_the_recorded(app, monkeypatch):
    frame = recorded().frame.assign(process_bytes=777 * 1024.0)
    monkeypatch.setattr(process_growth_section, "process_growth", lambda progress: frame)
    app.run()
    app.button(key="measure_process_growth").click().run()
    wait()
    app.run()
    assert not app.exception
    assert all("grows by 777.00 KiB" in card["sentence"] for card in cards_of(app))
    assert app.caption[0].value.startswith("Measured on this machine")
    assert [b.key for b in app.button] == ["measure_again_process_growth"]


def test_a_failure_is_shown_and_the_recorded_stays(app, monkeypatch):
    def fails(progress):
        raise BnvizError("out of memory here")

    monkeypatch.setattr(process_growth_section, "process_growth", fails)
    app.run()
    app.button(key="measure_process_growth").click().run()
    wait()
    app.run()
    assert "out of memory here" in app.error[0].value
    assert len(cards_of(app)) == 2


def test_without_glibc_there_is_a_reason_and_no_button(app, monkeypatch):
    monkeypatch.setattr(process_growth_section, "does_not_apply", lambda: "The check needs glibc.")
    app.run()
    assert [i.value for i in app.info] == ["The check needs glibc."]
    assert not app.button and len(cards_of(app)) == 2


def test_the_lines_are_the_numbers_and_what_is_not_positive_is_left_out():
    frame = pd.DataFrame(
        {
            "batch_size": [4, 4, 16, 16],
            "threshold": [False, True] * 2,
            "tensor_bytes": [128.0] * 4,
            "process_bytes": [2048.0, -5.0, 4096.0, 1024.0],
        }
    )
    tensors, default, apart = go.Figure(growth_over_batch_sizes(frame)).data
    assert list(tensors.y) == [0.125, 0.125]
    assert list(default.y) == [2, 4]
    assert pd.isna(apart.y[0]) and apart.y[1] == 1


def test_the_title_says_how_far_the_process_is_beyond_its_tensors():
    frame = pd.DataFrame(
        {
            "kind": ["train"] * 2,
            "batch_size": [64] * 2,
            "threshold": [False, True],
            "nodes": [22.0] * 2,
            "tensor_bytes": [1000.0] * 2,
            "process_bytes": [2000.0, 1000.0],
        }
    )
    assert "about as much" in process_growth_section.card(frame, "train").title
    assert (
        "far more" in process_growth_section.card(frame.assign(process_bytes=5000.0), "train").title
    )
