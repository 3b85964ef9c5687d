"""Cards over the recorded run: what a reader sees has title, units, a sentence and few points."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
from bnviz.subjects.activations.stages_section import stages_card
from bnviz.subjects.running_stats.running_section import running_card

from bnviz.charts import theme
from bnviz.charts.encoding import encode, encode_figure
from bnviz.config import RunConfig
from bnviz.records.history import History
from bnviz.records.schema import STAGES, schemas
from bnviz.records.store import RECORDED_ID, StoredRun, recorded_run
from bnviz.subjects.activations import (
    channels_section,
    feature_maps_section,
    gradients_section,
    over_time_section,
)
from bnviz.subjects.home import sections
from bnviz.subjects.note.questions_section import memory_card
from bnviz.subjects.running_stats import estimates_section, start_and_eps_section
from bnviz.subjects.training import views_section
from bnviz.training.run_view import RunView

NOWHERE = Path("nowhere")  # no checkpoints
FC1 = estimates_section.Choice("builtin", "fc1", (3, 7), 0.01, 1e-5)


@pytest.fixture
def recorded():
    return RunView(RECORDED_ID, recorded_run())


def all_cards(run):
    return [
        views_section.curves_card(run),
        stages_card(run, "conv1", None),
        running_card(run, "conv1", [0, 3], 0.9),
        memory_card(run),
        *(
            card
            for shown_as in ("heatmap", "bands", "ridges")
            for card in over_time_section.cards(
                run,
                over_time_section.Choice(
                    "conv2", STAGES, 100, shown_as, variant="builtin", channel=3
                ),
                channels_section.try_probe(run, "builtin", 100, "conv2"),
            )
        ),
        estimates_section.estimates_card(run, FC1, None),
        *start_and_eps_section.start_and_eps_cards(run, FC1),
        *gradients_section.cards(run, "conv2", 100),
    ]


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
    cards = [*all_cards(recorded), *inside_cards(recorded), sections.card(recorded, "fc1", 400)]
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
    for card in all_cards(run):
        assert card.sentence
        encode_figure(card.figure)


def test_a_run_without_bn_says_so():
    config = RunConfig(variants="none")
    run = RunView("none", StoredRun("none", NOWHERE, config, History(schemas(("none",))), None))
    assert "no BN" in running_card(run, "conv1", [0], 0.1).sentence


def test_the_difference_of_right_layers_is_explained_where_it_shows():
    assert "rounding" in views_section.difference_note(RunConfig(variants="composite,builtin"))
    assert views_section.difference_note(RunConfig(variants="note,builtin")) == ""
    assert views_section.difference_note(RunConfig(dtype="float64")) == ""


def test_a_change_in_mid_run_is_a_mark_in_every_curve(recorded):
    config = recorded.config
    history = History(schemas(config.variants))
    history.tables = recorded.history.tables
    history.events = [{"step": 50, "kind": "set", "name": "momentum", "old": 0.1, "new": 0.9}]
    run = RunView("marked", StoredRun("marked", NOWHERE, config, history, recorded.summary))
    for card in (views_section.curves_card(run), running_card(run, "conv1", [0], 0.1),
                 memory_card(run)):  # fmt: skip
        [marks] = checked(card).layout.shapes
        assert (marks.path, marks.xref, marks.yref) == ("M50,0V1", "x", "paper")
        assert "momentum 0.1 → 0.9" in [a.text for a in checked(card).layout.annotations]


def test_the_figure_of_home_answers_to_its_step(recorded):
    early, late = (sections.card(recorded, "fc1", step) for step in (10, 400))
    assert early.sentence != late.sentence
    assert not np.array_equal(checked(early).data[1].y, checked(late).data[1].y)


def over_time(run, **choice):
    chosen = over_time_section.Choice("conv2", ("input",), 100, variant="builtin", **choice)
    probe = channels_section.try_probe(run, "builtin", 100, "conv2")
    return {card.key: card for card in over_time_section.cards(run, chosen, probe)}


def test_a_followed_channel_is_in_every_figure_over_the_steps(recorded):
    steps = recorded.history["steps-builtin"]
    channel = 6 + 3  # the third of conv2 in a row of all layers
    for shown_as in ("heatmap", "bands"):
        plain = over_time(recorded, shown_as=shown_as)["heat_input"]
        found = over_time(recorded, shown_as=shown_as, channel=3)["heat_input"]
        drawn = checked(found).data[len(checked(plain).data) :]
        names = [trace.name for trace in checked(found).data]
        middle = checked(found).data[names.index("the channel that is followed")]
        assert len(drawn) == 3
        means = dict(zip(steps.column("step"), steps.column("batch_mean")[:, channel], strict=True))
        assert [float(v) for v in middle.y] == pytest.approx([means[int(s)] for s in middle.x])
    with_it = checked(over_time(recorded, channel=3)["stages"])
    assert {"channel 3, nn.BatchNorm"} <= {trace.name for trace in with_it.data}


def test_before_and_after_share_their_axis_when_asked_to(recorded):
    chosen = over_time_section.Choice("fc1", ("input", "scaled"), 100, variant="builtin")
    for one_axis in (True, False):
        cards = over_time_section.cards(recorded, replace(chosen, one_axis=one_axis), None)
        ranges = {tuple(checked(card).layout.yaxis.range) for card in cards[:2]}
        assert len(ranges) == (1 if one_axis else 2)
        stages = checked(cards[2]).layout
        assert (stages.xaxis.range == stages.xaxis3.range) == one_axis


def test_ridges_hold_the_chosen_step_and_mark_it(recorded):
    card = over_time(recorded, shown_as="ridges")["heat_input"]
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
    verdict = over_time_section._shift_verdict
    assert "0.5 times" in verdict(run, {"builtin": 0.1, "none": 0.2})
    assert "stiller" in verdict(run, {"builtin": 0.1, "none": 0.2})
    assert "does not hold them still" in verdict(run, {"builtin": 0.3, "none": 0.2})
    assert "about as much" in verdict(run, {"builtin": 0.2, "none": 0.2})
    assert verdict(run, {"builtin": 0.2}) == ""


@pytest.mark.parametrize("channels", [(3,), (3, 7)])
def test_a_preview_is_what_the_slider_would_get_from_python(recorded, channels):
    def card(momentum):
        chosen = estimates_section.Choice("builtin", "fc1", channels, momentum, 1e-5)
        return estimates_section.estimates_card(recorded, chosen, None)

    shown = card(0.1)
    assert {"0.05", "0.1", "0.2"} <= shown.previews.keys()
    for words, preview in shown.previews.items():
        wanted = card(float(words))
        assert preview.sentence == wanted.sentence
        for number, (now, new) in enumerate(
            zip(shown.figure["data"], wanted.figure["data"], strict=True)
        ):
            previewed = now | preview.traces.get(number, {})
            assert encode(previewed) == encode(new)
