"""Anatomy without a browser: what is typed, what is said about it, odd cells and odd runs."""

import re

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnviz.app.code_snippets import lines_of
from bnviz.charts import theme
from bnviz.charts.encoding import encode_figure
from bnviz.config import RunConfig
from bnviz.errors import ConfigError
from bnviz.nn import batchnorm
from bnviz.records.store import RunWriter, runs_folder
from bnviz.subjects.anatomy import (
    backward_section,
    forward_section,
    invariance_section,
    norm_axes_section,
)
from bnviz.subjects.anatomy import batchnorm_steps as numbers
from bnviz.subjects.anatomy.cells_figures import bands, height_of, number, shared_means, table
from bnviz.subjects.anatomy.table_editor_section import UNDOABLE, Edited, parse, to_frame
from bnviz.training.process import jobs
from tests.paths import ROOT
from tests.screen import cards, look_at, new_app

SHAPES = [(4, 4), (2, 1), (3, 4, 2, 2), (4, 4, 4, 4), (1, 3, 4, 1)]
SIZES = st.integers(1, 4)
EXAMPLES = ("random", "note", "constant", "outlier")


def steps(shape, name="random", eps=1e-5):
    """All steps forward and back of an example."""
    done = numbers.forward(
        forward_section.example(name, shape), np.full(shape[1], 1.5), np.ones(shape[1]), eps
    )
    grad = np.random.default_rng(1).normal(size=shape)
    back = numbers.backward(done, grad)
    theirs = numbers.autograd_gradients(done.x, done.gamma, done.beta, eps, grad)
    return [
        *forward_section.forward_steps(done),
        *backward_section.backward_steps(done, grad, back, theirs),
    ]


@given(st.tuples(SIZES, SIZES) | st.tuples(SIZES, SIZES, SIZES, SIZES), st.integers(0, 99))
def test_a_table_holds_the_cells_and_gives_them_back(shape, seed):
    cells = np.random.default_rng(seed).normal(size=shape).round(3)
    np.testing.assert_array_equal(parse(to_frame(cells), shape), cells)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (None, "got nothing"),
        ("  ", "got nothing"),
        (np.nan, "got nothing"),
        ("two", "got 'two'"),
        ("1,5", "got '1,5'"),
        ("inf", "got 'inf'"),
        ("nan", "got 'nan'"),
        ("1e7", "got '1e7'"),
    ],
)
def test_a_cell_that_is_no_number_is_named_with_the_remedy(typed, said):
    frame = to_frame(np.zeros((2, 3)))
    frame.iloc[1, 2] = typed
    with pytest.raises(ConfigError) as raised:
        parse(frame, (2, 3))
    assert f"Cell sample 1, feature 2: {said}; allowed: a number from" in str(raised.value)


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_step_has_words_numbers_and_named_axes(shape, name):
    known = {q.axis() for q in theme.QUANTITIES.values()}
    for step in steps(shape, name):
        assert step.title and step.sentence and step.alt and step.formula
        assert not re.search(r"\b(nan|inf|None)\b", step.sentence), step.sentence
        figure = go.Figure(step.figure)
        encode_figure(step.figure)
        layout = figure.to_plotly_json()["layout"]
        axes = [v for k, v in layout.items() if k.startswith(("xaxis", "yaxis"))]
        titles = {axis["title"]["text"] for axis in axes} - {""}
        assert len(titles) == 2 and titles <= known
        for trace in figure.data:
            assert trace.name and trace.hovertemplate
            assert len(trace.x) <= 8, "a phone shows eight columns"


def test_the_code_beside_each_step_is_a_line_of_the_file():
    for step in steps((4, 4)):
        snippet = lines_of(step.module, *step.starts)
        path, line = snippet.place.split(":")
        source = (ROOT / path).read_text().splitlines()
        assert source[int(line) - 1].strip() == snippet.text.split("\n")[0]
    with pytest.raises(LookupError, match="no line that begins with 'x = 7'"):
        lines_of(batchnorm, "x = 7")


def test_the_note_s_numbers_are_one_to_five():
    assert forward_section.example("note", (3, 2)).tolist() == [[1, 2], [3, 4], [5, 1]]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_cell_is_in_the_figure_once_with_its_number(shape):
    cells = forward_section.example("random", shape)
    figure = shared_means(cells, numbers.groups(shape, "position"), "x")
    found = {}
    for trace in figure["data"]:
        for i, row in enumerate(trace["z"]):
            for j, value in enumerate(row):
                if value is not None:
                    place = (trace["y"][i], trace["x"][j])
                    assert place not in found
                    found[place] = value
                    assert trace["text"][i][j] == number(value)
    rows = to_frame(cells)
    assert found == {(r, c): float(rows.loc[r, c]) for r in rows.index for c in rows.columns}


def test_panels_hold_whole_channels_and_grow_with_the_cells():
    assert bands((4, 4, 4, 4)) == [slice(0, 8), slice(8, 16)]
    assert bands((4, 3, 1, 3)) == [slice(0, 6), slice(6, 9)]
    assert bands((4, 4)) == [slice(0, 4)]
    assert height_of((4, 4, 4, 4)) > height_of((4, 4, 2, 2)) > height_of((2, 4))
    assert table(np.arange(8).reshape(1, 2, 2, 2)).tolist() == [[0, 1, 4, 5], [2, 3, 6, 7]]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1e-17, "0"), (-0.125, "-0.12"), (3, "3"), (-19.96, "-20.0"), (104.2, "104"),
     (0.0341, "0.034"), (-2.3e-5, "-2e-5"), (123456, "1e5"), (0.5, "0.5")],
)  # fmt: skip
def test_a_number_fits_into_its_cell(value, text):
    assert number(value) == text


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_cards_of_the_schemes_say_what_changes(shape):
    x = forward_section.example("random", shape)
    for scheme in numbers.SCHEMES:
        card = norm_axes_section.scheme_card(x, scheme, 1, 1e-5)
        go.Figure(card.figure)
        assert card.title and card.sentence and card.alt
        assert ("difference" in card.sentence or "No cell" in card.sentence) == (scheme != "batch")
    facts = norm_axes_section.facts(x, 1, 1e-5).set_index("scheme")
    assert facts.loc["batch norm: per channel", "means"] == shape[1]
    assert facts.loc["batch norm: per channel", "off"] == 0
    assert (facts["means"] * facts["cells"] == x.size).all()


def test_over_the_wrong_axes_the_units_of_the_channels_stay():
    x = forward_section.example("random", (4, 4, 2, 2))
    right, wrong = (norm_axes_section.scheme_card(x, s, 2, 1e-5).sentence for s in ("batch", "all"))
    assert "have means 0 and" in right
    assert "have means -" in wrong


# ---- the page --------------------------------------------------------------------------------


@pytest.fixture
def app():
    tested = new_app()
    yield tested
    jobs().stop_all()
    jobs.cache_clear()


def go_there(app, view="forward", **link):
    for name, value in {"view": view, **link}.items():
        app.query_params[name] = value
    app.run()
    app.switch_page("pages/anatomy.py").run()
    assert not app.exception
    return app


def test_each_view_shows_its_steps_its_schemes_and_the_run(app):
    forward = [f"step_{name}" for name in ("mean", "centred", "var", "x_hat", "y")]
    back = [f"back_{name}" for name in ("parameters", "x_hat", "paths", "closed")]
    assert list(cards(go_there(app))) == ["cells", *forward]
    assert len(app.get("code")) == len(forward)
    assert len(app.latex) == len(forward) + 1, "one step has two lines"
    assert list(cards(look_at(app, "backward"))) == back
    assert len(app.get("code")) == len(back)
    assert len(app.latex) == len(back) + 2, "two steps have two lines"
    assert list(cards(look_at(app, "axes"))) == [f"scheme_{s}" for s in numbers.SCHEMES]
    assert list(cards(look_at(app, "cancels"))) == ["rescaled", "bias_gradient"]


def test_a_bad_cell_is_one_message(app):
    go_there(app)
    bad = app.session_state["edited_cells"]["anat_x"]
    frame = bad.past[-1].copy()
    frame.iloc[0, 0] = "two"
    bad.put(frame)
    app.run()
    [error] = app.error
    assert "Cell sample 0, feature 0: got 'two'" in error.value
    assert not cards(app)
    app.button(key="anat_x_undo").click().run()
    assert not app.error
    assert "step_y" in cards(app)


def test_a_bad_gradient_is_one_message(app):
    go_there(app, "backward")
    bad = app.session_state["edited_cells"]["anat_dy"]
    bad.put(bad.past[-1].assign(**{"feature 1": None}))
    app.run()
    [error] = app.error
    assert "Cell sample 0, feature 1: got nothing" in error.value
    assert "back_closed" not in cards(app)


@pytest.mark.parametrize("kind", ["fully connected", "convolutional"])
def test_one_value_per_channel_is_explained_and_layer_norm_still_works(app, kind):
    go_there(app, anat_kind=kind, anat_n="1", anat_h="1", anat_w="1")
    [error] = app.error
    assert "Only one value per channel" in error.value
    assert "torch says: “Expected more than 1 value per channel" in error.value
    assert "step_y" not in cards(app)
    shown = cards(look_at(app, "axes"))
    assert "is its own mean becomes 0" in shown["scheme_batch"]["sentence"]
    assert "is its own mean becomes 0" not in shown["scheme_sample"]["sentence"]


def test_a_constant_channel_is_explained(app):
    go_there(app, anat_x_example="constant channel")
    [info] = app.info
    assert "All cells of feature 0 are equal: its variance is 0 and only eps" in info.value
    assert "1/√eps = 316" in info.value


def test_sliders_and_sizes_are_in_the_link_and_nonsense_is_the_default(app):
    go_there(app, anat_kind="convolutional", anat_n="3", anat_c="9", anat_gamma0="2.0")
    assert app.number_input(key="anat_n").value == 3
    assert app.number_input(key="anat_c").value == 4
    assert app.slider(key="anat_gamma0").value == 2.0
    assert "In channel 0, y has mean 0 and standard deviation 2" in cards(app)["step_y"]["sentence"]


def test_no_scheme_at_all_is_a_hint(app):
    go_there(app, "axes")
    app.button_group(key="anat_schemes").set_value([]).run()
    assert any("Choose at least one" in i.value for i in app.info)


def test_edits_survive_a_visit_to_another_page(app):
    go_there(app)
    state = app.session_state["edited_cells"]["anat_x"]
    state.put(state.past[-1].replace("0.13", "99"))
    app.run()
    app.switch_page("pages/home.py").run()
    app.switch_page("pages/anatomy.py").run()
    assert 99 in np.ravel(cards(app)["cells"]["figure"]["data"][0]["z"])


def test_only_so_many_changes_can_be_undone():
    state = Edited((1, 1), "one")
    for k in range(UNDOABLE + 30):
        state.put(pd.DataFrame([[str(k)]]))
    assert len(state.past) == UNDOABLE
    state.undo()
    assert state.past[-1].iloc[0, 0] == str(UNDOABLE + 28)


def stored(variants):
    """A run of nothing but its settings."""
    config = RunConfig.parse(dataset="fashion-mnist-sample", steps=5, variants=variants)
    RunWriter(runs_folder(), f"only-{variants}", config)
    return f"only-{variants}"


def test_a_run_without_bn_offers_one_with_it(app):
    go_there(app, "cancels", run=stored("none"))
    assert any("no BN" in i.value for i in app.info)
    assert app.button(key="again_builtin")
    assert "rescaled" not in cards(app)
    assert "step_y" in cards(look_at(app, "forward"))


def test_a_run_without_weights_says_so(app):
    go_there(app, "cancels", run=stored("builtin"))
    assert any("No weights of builtin are stored" in i.value for i in app.info)
    assert "rescaled" not in cards(app)


def test_the_numbers_of_the_run_answer_to_its_sliders(app):
    go_there(app, "cancels")
    before = cards(app)["rescaled"]["sentence"]
    app.select_slider(key="anat_scale").set_value(0.001).run()
    after = cards(app)["rescaled"]["sentence"]
    assert "weights times 10" in before and "weights times 0.001" in after
    assert invariance_section.SCALES[0] == 0.001
