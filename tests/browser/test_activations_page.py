"""Activations: one step slider and one button move all figures of the page together."""

from onscreen import button, chart, drawn, press, series, slider, start_run, stop, visit
from onscreen import wait_for_series_other_than as wait_for_other
from playwright.sync_api import expect

PATH = "/activations"


def marked_step(page, name):
    """The step that a heatmap marks."""
    return chart(page, name).evaluate("plot => plot.layout.shapes[0].x0")


def newest(all_series):
    return max(step for each in all_series for step in each["x"])


def shown_step(page):
    return int(slider(page, "probe_step").get_attribute("aria-valuetext"))


def test_the_step_slider_scrubs_all_figures_together(page):
    visit(page, PATH)
    drawn(page, "heat_input", "heat_scaled", "stages")
    before = series(page, "stages")
    assert marked_step(page, "heat_input") == marked_step(page, "heat_scaled") == 400
    press(page, "probe_step", "Home")
    wait_for_other(page, "stages", before)
    page.wait_for_function(
        "plot => plot.layout.shapes[0].x0 === 1", arg=chart(page, "heat_scaled").element_handle()
    )
    assert marked_step(page, "heat_input") == 1
    expect(page.locator("[data-card=stages] figcaption")).to_contain_text("At step 1 ")


def test_play_walks_through_the_steps_and_stop_holds_it(page):
    visit(page, PATH)
    drawn(page, "heat_input")
    button(page, "probe_play").click()
    expect(slider(page, "probe_step")).to_have_attribute("aria-valuetext", "1")
    page.wait_for_function(
        "slider => Number(slider.getAttribute('aria-valuetext')) >= 20",
        arg=slider(page, "probe_step").element_handle(),
    )
    button(page, "probe_play").click()
    expect(button(page, "probe_play")).to_contain_text("Play")
    held = shown_step(page)
    assert 20 <= held < 400
    page.reload()
    drawn(page, "heat_input")
    assert shown_step(page) == held


def test_layer_and_stages_choose_the_figures_and_stay_in_the_link(page):
    visit(page, PATH)
    page.get_by_role("radio", name="fc1").click()
    expect(page.locator("[data-card=drift] h3")).to_contain_text("fc1")
    page.get_by_text("normalized: x̂", exact=True).first.click()
    drawn(page, "heat_normalized")
    page.reload()
    drawn(page, "heat_normalized")
    expect(page.locator("[data-card=heat_normalized] h3")).to_contain_text("fc1")


def test_heatmaps_grow_while_a_run_trains(page):
    start_run(page, variants=["builtin", "none"])
    page.get_by_role("link", name="Activations", exact=True).click()
    drawn(page, "heat_input")
    before = series(page, "heat_input")
    wait_for_other(page, "heat_input", before)
    assert newest(series(page, "heat_input")) > newest(before)
    names = {each["name"] for each in before}
    assert {"nn.BatchNorm", "No BN"} <= names, "the network without BN has a panel too"
    page.get_by_role("link", name="Train", exact=True).click()
    drawn(page, "curves")
    stop(page)
