"""Anatomy: a cell is typed, sliders move, the backward pass answers, other axes, scaled weights."""

import re
import time

import pytest
from onscreen import (
    button,
    chart,
    drawn,
    look_at,
    messages,
    press,
    quiet,
    sentence,
    visit,
    widget,
)
from playwright.sync_api import expect

PATH = "/anatomy"
HEADER_PX = ROW_PX = 35
INDEX_PX = 75
"""Of Streamlit's table: heights of its lines, and a width within its first column of names."""
_CELLS = """(plot) => plot.data.flatMap(({ z, x, y, name }) => z.flatMap((row, j) =>
  row.map((value, i) => [`${y[j]}, ${x[i]}`, value]).filter(([, value]) => value !== null)))"""


def cells(page, name, panel=0):
    """The numbers of a chart of cells by row and column; panels come one after the other."""
    chart(page, name).scroll_into_view_if_needed()  # out of sight it is not drawn
    drawn(page, name)
    found = chart(page, name).evaluate(_CELLS)
    size = len({place for place, _value in found})
    return dict(found[panel * size : (panel + 1) * size])


def expect_cells(page, name, wanted, panel=0):
    """Wait until a chart of cells shows these numbers."""
    until = time.monotonic() + 20
    while (found := cells(page, name, panel)) != pytest.approx(wanted, abs=1e-5):
        assert time.monotonic() < until, f"{name}: {found}, not {wanted}"
        page.wait_for_timeout(100)  # polling a page


def type_into(page, key, text, row=0):
    """Write into the first cell of a row of a table, as a keyboard does."""
    table = page.locator(f"[class*=st-key-{key}_cells_]").get_by_test_id("stDataFrame")
    table.scroll_into_view_if_needed()
    table.click(position={"x": INDEX_PX + 20, "y": HEADER_PX + (row + 0.5) * ROW_PX})
    if not text:
        page.keyboard.press("Delete")
        return
    page.keyboard.press("Enter")
    field = page.locator(".gdg-input")
    expect(field).to_be_visible()
    field.fill(text)
    field.press("Enter")
    expect(field).to_have_count(0)


def choose(page, key, name):
    """Press one of the choices of that key."""
    widget(page, key).get_by_text(name, exact=True).click()


def test_a_typed_cell_goes_through_every_step_and_can_be_undone(page):
    visit(page, PATH, anat_x_example="the note's 1 to 5")
    drawn(page, "cells", "step_y")
    mean = sentence(page, "step_centred").inner_text()
    before = cells(page, "cells")
    assert before["sample 0, feature 0"] == 1
    type_into(page, "anat_x", "9")
    expect(sentence(page, "step_centred")).not_to_have_text(mean)
    expect_cells(page, "cells", before | {"sample 0, feature 0": 9})
    means = [sum([1, 5, 4, 3]), sum([2, 1, 5, 4]), sum([3, 2, 1, 5]), sum([4, 3, 2, 1])]
    means[0] += 9 - 1
    expect_cells(page, "step_mean", {f"μ, feature {c}": s / 4 for c, s in enumerate(means)})
    button(page, "anat_x_undo").click()
    expect(sentence(page, "step_centred")).to_have_text(mean)
    expect(button(page, "anat_x_undo")).to_be_disabled()


@pytest.mark.parametrize(("typed", "said"), [("two", "'two'"), ("inf", "'inf'"), ("", "nothing")])
def test_a_cell_that_is_no_number_is_one_message_and_undo_takes_it_back(page, typed, said):
    visit(page, PATH)
    drawn(page, "step_y")
    type_into(page, "anat_x", typed)
    box = messages(page).filter(has_text=f"Cell sample 0, feature 0: got {said}; allowed")
    expect(box).to_be_visible()
    expect(messages(page)).to_have_count(1)
    expect(chart(page, "step_y")).to_have_count(0)
    button(page, "anat_x_undo").click()
    drawn(page, "step_y")
    expect(box).to_have_count(0)


def test_gamma_beta_and_eps_act_on_the_steps_that_they_stand_in(page):
    visit(page, PATH)
    drawn(page, "step_y")
    x_hat, y = cells(page, "step_x_hat"), cells(page, "step_y")
    said = sentence(page, "step_y").inner_text()
    press(page, "anat_gamma0", "End")
    expect(sentence(page, "step_y")).not_to_have_text(said)
    expect(sentence(page, "step_y")).to_contain_text("standard deviation 3")
    expect_cells(page, "step_x_hat", x_hat)
    times = {place: 3 if place.endswith("feature 0") else 1 for place in y}
    expect_cells(page, "step_y", {place: times[place] * value for place, value in y.items()})
    said = sentence(page, "step_var").inner_text()
    press(page, "eps", "End")
    expect(sentence(page, "step_var")).not_to_have_text(said)
    expect(widget(page, "anat_gamma0").get_by_role("slider")).to_have_attribute(
        "aria-valuetext", "3.0"
    )


def test_a_convolution_has_positions_that_share_the_mean_of_their_channel(page):
    visit(page, PATH)
    choose(page, "anat_kind", "convolutional")
    expect(sentence(page, "cells")).to_contain_text("over 16 cells: batch × height × width")
    assert "n3 h1, c3 w1" in cells(page, "cells")
    widget(page, "anat_w").get_by_role("spinbutton").fill("4")
    widget(page, "anat_w").get_by_role("spinbutton").press("Enter")
    expect(sentence(page, "cells")).to_contain_text("over 32 cells")
    page.wait_for_url("**anat_w=4**")
    page.reload()
    drawn(page, "cells")
    expect(sentence(page, "cells")).to_contain_text("over 32 cells")


def test_one_value_per_channel_is_explained_with_torch_s_words(page):
    visit(page, PATH)
    widget(page, "anat_n").get_by_role("spinbutton").fill("1")
    widget(page, "anat_n").get_by_role("spinbutton").press("Enter")
    box = messages(page).filter(has_text="Expected more than 1 value per channel when training")
    expect(box).to_be_visible()
    expect(chart(page, "step_y")).to_have_count(0)
    look_at(page, "Other axes", "scheme_sample")


def test_the_gradient_that_comes_in_takes_three_ways_and_is_autograd_s(page):
    visit(page, PATH, view="backward")
    drawn(page, "back_closed")
    closed, theirs = (cells(page, "back_closed", panel) for panel in (1, 2))
    assert closed == pytest.approx(theirs, abs=1e-6)
    assert sum(value != 0 for value in theirs.values()) == 4, "one cell moves all of its column"
    said = sentence(page, "back_paths").inner_text()
    type_into(page, "anat_dy", "2")
    expect(sentence(page, "back_paths")).not_to_have_text(said)
    expect_cells(page, "back_closed", {k: 2 * v for k, v in theirs.items()}, panel=2)
    choose(page, "anat_dy_example", "1 in every cell")
    expect(sentence(page, "back_closed")).to_contain_text("0% of the direct path is left")


def test_other_axes_change_the_numbers_and_can_be_chosen(page):
    visit(page, PATH, anat_kind="convolutional")
    x_hat = cells(page, "step_x_hat")
    look_at(page, "Other axes", "scheme_batch", "scheme_all", "scheme_group")
    right, wrong = cells(page, "scheme_batch"), cells(page, "scheme_all")
    assert right == pytest.approx(x_hat, abs=1e-6)
    channel = [value for place, value in wrong.items() if ", c3" in place]
    assert sum(channel) / len(channel) > 0.5, "channel 3 keeps its large numbers"
    said = sentence(page, "scheme_group").inner_text()
    choose(page, "anat_groups", "1")
    expect(sentence(page, "scheme_group")).not_to_have_text(said)
    expect_cells(page, "scheme_group", cells(page, "scheme_sample"))
    choose(page, "anat_schemes", "over all")
    expect(chart(page, "scheme_all")).to_have_count(0)
    drawn(page, "scheme_batch")


def test_scaled_weights_leave_the_output_of_bn_until_eps_counts(page):
    visit(page, PATH, view="cancels")
    drawn(page, "rescaled", "bias_gradient")

    def change():
        text = page.get_by_test_id("stMetricValue").nth(2).inner_text()
        return float(re.match(r"[\d.e+-]+", text)[0])

    assert change() < 1e-3
    said = sentence(page, "rescaled").inner_text()
    press(page, "anat_scale", "Home")
    expect(sentence(page, "rescaled")).to_contain_text("weights times 0.001")
    expect(sentence(page, "rescaled")).not_to_have_text(said)
    quiet(page)
    assert change() > 0.1
    expect(sentence(page, "bias_gradient")).to_contain_text("rounding")


def test_a_chart_of_cells_is_a_table_of_its_cells_and_a_page(page):
    visit(page, PATH)
    drawn(page, "cells")
    card = page.locator("[data-card=cells]")
    with page.expect_download() as csv:
        card.get_by_role("button", name=re.compile("as CSV")).click()
    lines = csv.value.path().read_text().splitlines()
    assert lines[0] == "panel,series,variant,quantity,unit,x,y,z"
    assert len(lines) == 1 + 16
    assert any(line.endswith(",feature 0,sample 0,0.13") for line in lines)
    with page.expect_download() as html:
        card.get_by_role("button", name=re.compile("interactive page")).click()
    assert "Cells of one colour share one mean" in html.value.path().read_text()
