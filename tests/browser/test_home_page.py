"""Home: one figure that answers to a slider, one button that starts to train."""

import json
import re

from onscreen import (
    chart,
    drawn,
    go_to,
    press,
    sentence,
    series,
    step,
    stop,
    visit,
    wait_for_series_other_than,
    wait_for_step_after,
)
from playwright.sync_api import expect


def test_the_step_slider_changes_figure_and_sentence_in_place(page):
    visit(page, "/")
    before, words = series(page, "before_after"), sentence(page, "before_after").inner_text()
    chart(page, "before_after").evaluate("plot => { plot.marked = true; }")
    press(page, "home_step", "Home")
    wait_for_series_other_than(page, "before_after", before)
    expect(sentence(page, "before_after")).not_to_have_text(words)
    assert chart(page, "before_after").evaluate("plot => plot.marked")


def test_the_layer_buttons_change_the_figure(page):
    visit(page, "/")
    before = series(page, "before_after")
    page.get_by_role("radio", name="conv1").click()
    wait_for_series_other_than(page, "before_after", before)
    expect(page.locator("[data-card=before_after] h3")).to_contain_text("conv1")


def test_train_it_live_trains_on_the_real_images(page, server):
    visit(page, "/")
    before = set(server.runs.glob("*"))
    page.locator(".st-key-train_live").get_by_role("button").click()
    page.wait_for_url("**/train?*run=*")
    drawn(page, "curves", "stages", "running", "kept")
    wait_for_step_after(page, 0)
    [run] = set(server.runs.glob("*")) - before
    config = json.loads((run / "config.json").read_text())
    assert config.get("dataset", "fashion-mnist") == "fashion-mnist"
    expect(page.get_by_test_id("state-line")).to_contain_text(f"{60_000 // 16:,}")
    stop(page)
    assert step(page) > 0
    go_to(page, "Home", "before_after")


def test_each_page_tells_the_browser_at_once_what_it_will_draw_with(page, server):
    header = page.request.get(f"{server.url}/train").headers["link"]
    address = re.fullmatch(r"<(.*)>; rel=preload; as=script", header)[1]
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    visit(page, "/")
    assert [url for url in asked if "plotly" in url] == [f"{server.url}/{address}"]


def test_a_chart_can_be_taken_along_as_a_page_that_needs_no_network(page, new_context, tmp_path):
    visit(page, "/")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the chart as an interactive page").click()
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    shown, alone = series(page, "before_after"), new_context(offline=True).new_page()
    alone.goto(file.as_uri())
    expect(alone.locator("#plot .main-svg").first).to_be_visible()
    expect(alone.get_by_role("heading")).to_have_text(
        page.locator("[data-card=before_after] h3").inner_text()
    )
    taken = alone.locator("#plot").evaluate(
        "plot => plot.data.map(({ name, x, y }) => ({ name, x: [...x], y: [...y] }))"
    )
    assert taken == shown
