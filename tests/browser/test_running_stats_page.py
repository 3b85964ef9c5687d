"""Running statistics: the demo answers, the replays follow the slider, the race is run once."""

import re

import pytest
from onscreen import (
    button,
    chart,
    drawn,
    messages,
    press,
    sentence,
    series,
    slider,
    start_run,
    stop,
    ticks,
    visit,
    wait_for_series_other_than,
    widget,
)
from playwright.sync_api import expect

PATH = "/running-stats"


def in_sight(page, name):
    """Scroll to a chart: what is out of sight is not drawn anew."""
    drawn(page, name)
    chart(page, name).scroll_into_view_if_needed()


def named(page, name, label):
    """The series of a chart whose name has `label` in it."""
    return [each for each in series(page, name) if label in (each["name"] or "")]


def test_the_demo_starts_with_the_note_s_numbers_and_answers_to_its_weight(page):
    visit(page, PATH)
    drawn(page, "demo", "memory_of_average", "estimates")
    expect(sentence(page, "demo")).to_contain_text("It does not settle")
    before = series(page, "demo")
    press(page, "demo_weight", "Home")
    wait_for_series_other_than(page, "demo", before)
    expect(sentence(page, "demo")).to_contain_text("the moving average is 5.000")


def test_what_is_typed_wrong_is_named_and_the_run_below_stays(page):
    visit(page, PATH)
    typed = widget(page, "demo_means").get_by_role("textbox")
    typed.fill("1, two, 3")
    typed.press("Enter")
    expect(messages(page).filter(has_text="got 'two'; allowed: finite numbers")).to_be_visible()
    drawn(page, "estimates")
    typed.fill("2, 2, 2")
    typed.press("Enter")
    expect(sentence(page, "demo")).to_contain_text("the plain mean 2.000")


def test_the_momentum_slider_replays_one_channel_at_once(page):
    visit(page, PATH)
    in_sight(page, "estimates")
    plain = named(page, "estimates", "plain mean")
    before = series(page, "estimates")
    press(page, "momentum", "Home")
    wait_for_series_other_than(page, "estimates", before)
    assert named(page, "estimates", "EMA at m = 0.001")
    assert named(page, "estimates", "plain mean") == plain


def test_the_race_is_measured_in_the_same_weights_and_names_the_best(page):
    visit(page, PATH)
    button(page, "measure").click()
    drawn(page, "race", "errors")
    in_sight(page, "estimates")
    expect(page.locator("[data-card=race] h3")).to_have_text(
        re.compile(r"The same weights, other running statistics: m = [\d.]+ is best here")
    )
    page.wait_for_function(
        "plot => plot.data.find(({ name }) => name.startsWith('population')).x.length >= 3",
        arg=chart(page, "estimates").element_handle(),
    )
    curve, chosen = named(page, "race", "EMA")[0], named(page, "race", "the slider")[0]
    assert chosen["x"] == pytest.approx([0.1])
    assert chosen["y"][0] == curve["y"][curve["x"].index(chosen["x"][0])]
    press(page, "momentum", "ArrowRight")
    expect(sentence(page, "race")).to_contain_text("m = 0.2")
    page.reload()
    drawn(page, "race", "errors")
    expect(slider(page, "momentum")).to_have_attribute("aria-valuetext", "0.2")


def test_a_run_that_trains_moves_the_page_along(page):
    start_run(page, variants="builtin")
    page.get_by_role("link", name="Running statistics", exact=True).click()
    in_sight(page, "estimates")
    before = series(page, "estimates")
    wait_for_series_other_than(page, "estimates", before)
    chart(page, "estimates").evaluate("plot => { plot.marked = true; }")
    press(page, "momentum", "ArrowLeft")
    expect(
        chart(page, "estimates").locator(".legendtext", has_text="EMA at m = 0.05")
    ).to_be_visible()
    assert chart(page, "estimates").evaluate("plot => plot.marked")
    page.get_by_role("link", name="Train", exact=True).click()
    drawn(page, "curves")
    ticks(page, 1)
    stop(page)
