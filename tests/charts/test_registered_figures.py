"""Every registered figure, over the recorded run and runs that make trouble: what a reader sees has
title, units, a sentence and few points."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest

from bnviz import figures
from bnviz.charts import theme
from bnviz.charts.encoding import encode_figure, frame_of
from bnviz.charts.registry import FIGURES, NotReady, figure_named
from bnviz.config import RunConfig
from bnviz.records.history import History
from bnviz.records.schema import STAGES, schemas
from bnviz.records.store import RECORDED_ID, StoredRun, recorded_run
from bnviz.selection import Selection
from bnviz.subjects.activations import channels_section, distribution_figures, feature_maps_section
from bnviz.subjects.training import controls_section
from bnviz.training.run_view import RunView

NOWHERE = Path("nowhere")  # no checkpoints
figures.load()
MEASURED_LATER = {"running_stats/estimators", "running_stats/errors", "running_stats/images"}
OF_THE_PROCESS = {"memory/experiment", "memory/chain", "memory/chain_batches"}
ALWAYS = sorted(set(FIGURES) - MEASURED_LATER - OF_THE_PROCESS)
WAYS = (
    {"layer": "conv1", "momentum": 0.9, "channels": (0, 3)},
    {"layer": "fc1", "momentum": 0.01, "channels": (3, 7), "unbiased": False},
    *({"shown_as": s, "step": 100, "channels": (3,)} for s in ("heatmap", "bands", "ridges")),
    *({"stage": stage, "step": 100} for stage in STAGES),
)


def drawn(run, name, **fields):
    """A registered figure of a run."""
    return figure_named(name).draw(run, Selection.parse(run=run.id, variant="builtin", **fields))


def all_cards(run):
    """Every figure that applies, in every way that changes it."""
    for name in ALWAYS:
        entry, seen = figure_named(name), set()
        if entry.applies(run):
            continue
        for way in WAYS:
            chosen = Selection.parse(run=run.id, variant="builtin", **way)
            if (key := tuple(chosen.to_query(entry.needs).values())) not in seen:
                seen.add(key)
                with suppress(NotReady):
                    yield entry.draw(run, chosen)


@pytest.fixture
def recorded():
    return RunView(RECORDED_ID, recorded_run())


def inside_cards(run):
    chosen = feature_maps_section.ImageChoice(0, "random", 16, 0)
    return [
        *channels_section.channel_cards(run, "builtin", "conv2", 100, 3),
        *channels_section.channel_cards(run, "note", "fc1", None, None),
        *(
            card
            for layer in ("conv1", "fc2")
            for card in feature_maps_section.cards(run, "builtin", layer, None, 3, chosen)
        ),
    ]


def checked(card):
    """The figure after plotly's own checks of every property."""
    return go.Figure(card.figure)


def axes(card):
    layout = checked(card).to_plotly_json()["layout"]
    return {name: axis for name, axis in layout.items() if name.startswith(("xaxis", "yaxis"))}


def test_every_card_has_title_sentence_alternative_and_named_axes(recorded):
    cards = [*all_cards(recorded), *inside_cards(recorded)]
    for card in cards:
        assert card.title and card.sentence and card.alt
        titles = [a["title"]["text"] for a in axes(card).values() if a.get("title")]
        if card.key.startswith("maps"):  # pixels have no unit, their colour has
            titles = [t.colorbar.title.text for t in checked(card).data if t.showscale]
        else:
            assert len(titles) >= 2, card.key
        known = {q.axis() for q in theme.QUANTITIES.values()}
        assert set(titles) <= known, "axis titles come from the one table"


def test_every_series_is_named_and_says_units_on_hover(recorded):
    for card in [*all_cards(recorded), *inside_cards(recorded)]:
        for trace in checked(card).data:
            assert trace.hoverinfo == "skip" or (trace.name and trace.hovertemplate), card.key


def test_figures_stay_small_whatever_the_length_of_the_run():
    config = RunConfig(variants="builtin", steps=20_000)
    history = History(schemas(config.variants))
    count, rng = 20_000, np.random.default_rng(0)
    values = rng.normal(size=(count, 226)).astype(np.float32)
    history["steps-builtin"].extend(
        step=np.arange(1, count + 1), loss=rng.random(count), ms=np.ones(count),
        batch_mean=values, batch_var=values**2, running_mean=values, running_var=values**2,
    )  # fmt: skip
    history["memory-builtin"].extend(
        step=np.arange(count), kept_bytes=np.zeros(count), graph_nodes=np.zeros(count)
    )
    run = RunView("long", StoredRun("long", NOWHERE, config, history, None))
    rows = 2_000
    values = rng.normal(size=(rows, 4, 2, 128)).astype(np.float32)
    history["gradients-builtin"].extend(
        step=np.arange(1, rows + 1) * 10, quantiles=np.sort(values, axis=-1),
        grad_norm=rng.random((rows, 5)), update_ratio=rng.random((rows, 5)),
    )  # fmt: skip
    for card in all_cards(run):
        for trace in checked(card).data:
            assert trace.x is None or len(trace.x) <= 600, card.key


def test_a_run_that_has_just_begun_has_sentences_instead_of_numbers():
    config = RunConfig(variants="builtin,none", steps=100)
    run = RunView("new", StoredRun("new", NOWHERE, config, History(schemas(config.variants)), None))
    for name in ALWAYS:
        if figure_named(name).applies(run):
            continue
        try:
            card = drawn(run, name)
        except NotReady as waiting:
            assert waiting.text
        else:
            assert card.sentence
            encode_figure(card.figure)


def test_a_run_without_bn_says_so():
    config = RunConfig(variants="none")
    run = RunView("none", StoredRun("none", NOWHERE, config, History(schemas(("none",))), None))
    for name in ALWAYS:
        if name.startswith("running_stats/"):
            assert "no BN" in figure_named(name).applies(run), name


def test_the_difference_of_right_layers_is_explained_where_it_shows():
    assert "rounding" in controls_section.difference_note(RunConfig(variants="composite,builtin"))
    assert controls_section.difference_note(RunConfig(variants="note,builtin")) == ""
    assert controls_section.difference_note(RunConfig(dtype="float64")) == ""


def test_a_change_in_mid_run_is_a_mark_in_every_curve(recorded):
    config = recorded.config
    history = History(schemas(config.variants))
    history.tables = recorded.history.tables
    history.events = [{"step": 50, "kind": "set", "name": "momentum", "old": 0.1, "new": 0.9}]
    run = RunView("marked", StoredRun("marked", NOWHERE, config, history, recorded.summary))
    for name in ("training/curves", "running_stats/running", "memory/kept"):
        card = drawn(run, name)
        [marks] = checked(card).layout.shapes
        assert (marks.path, marks.xref, marks.yref) == ("M50,0V1", "x", "paper")
        assert "momentum 0.1 → 0.9" in [a.text for a in checked(card).layout.annotations]


def test_the_figure_of_home_answers_to_its_step(recorded):
    early, late = (drawn(recorded, "home/before_after", layer="fc1", step=at) for at in (10, 400))
    assert early.sentence != late.sentence
    assert not np.array_equal(checked(early).data[1].y, checked(late).data[1].y)


def over_time(run, **fields):
    return drawn(run, "activations/over_time", **{"step": 100, **fields})


def test_a_followed_channel_is_in_every_figure_over_the_steps(recorded):
    steps = recorded.history["steps-builtin"]
    channel = 6 + 3  # the third of conv2 in a row of all layers
    for shown_as in ("heatmap", "bands"):
        plain = over_time(recorded, shown_as=shown_as)
        found = over_time(recorded, shown_as=shown_as, channels=(3,))
        added = checked(found).data[len(checked(plain).data) :]
        names = [trace.name for trace in checked(found).data]
        middle = checked(found).data[names.index("the chosen channel")]
        assert len(added) == 3
        means = dict(zip(steps.column("step"), steps.column("batch_mean")[:, channel], strict=True))
        assert [float(v) for v in middle.y] == pytest.approx([means[int(s)] for s in middle.x])
    with_it = checked(drawn(recorded, "activations/stages", step=100, channels=(3,)))
    assert {"channel 3, nn.BatchNorm"} <= {trace.name for trace in with_it.data}


def test_before_and_after_share_their_axis_when_asked_to(recorded):
    for one_axis in (True, False):
        fields = {"layer": "fc1", "one_axis": one_axis}
        cards = [over_time(recorded, stage=stage, **fields) for stage in ("input", "scaled")]
        ranges = {tuple(checked(card).layout.yaxis.range) for card in cards}
        assert len(ranges) == (1 if one_axis else 2)
        stages = checked(drawn(recorded, "activations/stages", step=100, **fields)).layout
        assert (stages.xaxis.range == stages.xaxis3.range) == one_axis


def test_ridges_hold_the_chosen_step_and_mark_it(recorded):
    card = over_time(recorded, shown_as="ridges")
    steps = [trace.name for trace in checked(card).data]
    assert steps.count("step 100") == len(recorded.config.variants), "once a variant"
    marked = [t for t in checked(card).data if t.line.color == "var(--event)"]
    assert {trace.name for trace in marked} == {"step 100"}
    assert checked(card).layout.yaxis.ticktext[-1] == "1"


def test_a_panel_says_its_channel_and_so_does_every_pixel(recorded):
    multiples, affine, *_rest = inside_cards(recorded)
    assert {trace.meta for trace in checked(multiples).data} == set(range(16))
    assert multiples.pickable and affine.pickable
    maps = next(c for c in inside_cards(recorded) if c.key == "maps_train")
    owners = np.asarray(checked(maps).data[0].customdata)
    assert set(np.unique(owners)) == {-1, *range(6)}


def test_modes_of_one_image_share_one_scale_of_colour(recorded):
    maps = [c for c in inside_cards(recorded) if c.key.startswith("maps")][:2]
    assert len({(t.zmin, t.zmax) for card in maps for t in checked(card).data}) == 1


def test_the_verdict_on_the_shift_follows_the_numbers(recorded):
    config = RunConfig(variants="builtin,none")
    run = RunView("two", StoredRun("two", NOWHERE, config, History(schemas(config.variants)), None))
    verdict = distribution_figures._shift_verdict
    assert "0.5 times" in verdict(run, {"builtin": 0.1, "none": 0.2})
    assert "makes the inputs move less" in verdict(run, {"builtin": 0.1, "none": 0.2})
    assert "does not make the inputs move less" in verdict(run, {"builtin": 0.3, "none": 0.2})
    assert "about the same" in verdict(run, {"builtin": 0.2, "none": 0.2})
    assert verdict(run, {"builtin": 0.2}) == ""


def test_what_was_not_measured_says_so(recorded):
    for name in MEASURED_LATER:
        with pytest.raises(NotReady, match="Not measured yet") as waiting:
            drawn(recorded, name)
        assert waiting.value.state == "asked"


@pytest.mark.parametrize("channels", [(3,), (0, 3)])
def test_the_table_of_a_figure_can_be_read_back(recorded, channels):
    """Panels, variants and edges of bands once fell into one series."""
    card = drawn(recorded, "running_stats/running", layer="fc1", channels=channels)
    groups = frame_of(card.figure).groupby(["panel", "series", "variant"], sort=False)
    traces = checked(card).data
    assert len(groups) == len(traces)
    for (_place, rows), trace in zip(groups, traces, strict=True):
        np.testing.assert_array_equal(rows["x"].astype(float), np.asarray(trace.x, float))
        np.testing.assert_array_equal(rows["y"].astype(float), np.asarray(trace.y, float))
    heat = drawn(recorded, "activations/over_time", shown_as="heatmap")
    assert frame_of(heat.figure)["z"].notna().any()


def test_no_two_traces_of_a_figure_share_a_place_in_its_table(recorded):
    for card in all_cards(recorded):
        frame = frame_of(card.figure)
        places = frame.groupby(["panel", "series", "variant", "quantity", "unit"]).ngroups
        drawn_ones = [t for t in checked(card).data if len(t.y if t.x is None else t.x)]
        assert places == len(drawn_ones), card.key


def test_every_figure_is_named_by_its_subject_and_says_what_it_needs():
    for name, entry in FIGURES.items():
        subject, key = name.split("/")
        assert entry.draw.__module__.startswith(f"bnviz.subjects.{subject}.")
        assert set(entry.needs) <= set(Selection.model_fields) - {"run"}, name
        assert entry.title and key.isidentifier()
