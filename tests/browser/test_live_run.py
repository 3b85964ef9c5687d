"""Train: the four views before a run, while it trains, and after it was stopped."""

import re

from onscreen import (
    VIEWS,
    button,
    chart,
    drawn,
    expect_state,
    messages,
    run_id,
    sentence,
    series,
    slider,
    start,
    start_run,
    step,
    stop,
    ticks,
    visit,
    wait_for_series_other_than,
    wait_for_step_after,
    widget,
)
from playwright.sync_api import expect

from bnviz.records.store import open_run

CLICKS = 40


def test_before_any_run_the_recorded_one_is_shown_and_called_so(page):
    visit(page)
    drawn(page, *VIEWS)
    assert run_id(page) == "recorded"
    expect(page.get_by_text(re.compile("^Recorded run, shipped"))).to_be_visible()
    for view in VIEWS:
        card = page.locator(f"[data-card={view}]")
        expect(card.get_by_role("heading")).not_to_be_empty()
        expect(card.locator("figcaption")).not_to_be_empty()
        for axis in "xy":
            expect(card.locator(f"text[class^={axis}][class$=title]").first).to_have_text(
                re.compile(r"\w")
            )


def test_all_four_views_change_while_the_run_trains(page):
    start_run(page)
    drawn(page, *VIEWS)
    before = {view: series(page, view) for view in VIEWS}
    words = {view: sentence(page, view).inner_text() for view in VIEWS}
    for view in VIEWS:
        wait_for_series_other_than(page, view, before[view])
    expect(sentence(page, "stages")).not_to_have_text(words["stages"])
    for view in ("curves", "running", "kept"):
        newest = max((step for each in before[view] for step in each["x"]), default=0)
        page.wait_for_function(
            "([plot, newest]) => plot.data.some(({ x }) => Math.max(...x) > newest)",
            arg=[chart(page, view).element_handle(), newest],
        )
    stop(page)


def hide_first_series(page, plot):
    """Click the first entry of the legend."""
    plot.locator(".legendtoggle").first.click()
    page.wait_for_function(
        "plot => plot._fullData.some((trace) => trace.visible === 'legendonly')",
        arg=plot.element_handle(),
        timeout=4_000,
    )


def test_zoom_and_a_hidden_series_survive_the_ticks(page):
    start_run(page)
    curves = chart(page, "curves")
    curves.evaluate("plot => { plot.marked = true; }")
    hide_first_series(page, curves)
    curves.locator(".nsewdrag").first.scroll_into_view_if_needed()
    # The whole drag is a part of one upper panel, whose box the mouse must not leave.
    box = curves.locator(".nsewdrag").first.bounding_box()
    across, down = box["width"], box["height"]
    page.mouse.move(box["x"] + 0.1 * across, box["y"] + 0.2 * down)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * across, box["y"] + 0.8 * down, steps=5)
    page.mouse.up()
    # Series may come meanwhile, as the network is evaluated, so what is hidden is told by group.
    look = """plot => ({
      x: plot.layout.xaxis.range,
      y: plot.layout.yaxis.range,
      groups: Object.fromEntries(
        plot._fullData.map(({ legendgroup, visible }) => [legendgroup, visible])),
      alike: plot._fullData.every(({ legendgroup, visible }) =>
        plot._fullData.every((other) =>
          other.legendgroup !== legendgroup || other.visible === visible)),
      marked: plot.marked,
    })"""
    page.wait_for_function(
        "plot => plot.layout.xaxis.autorange === false && plot.layout.yaxis.autorange === false",
        arg=curves.element_handle(),
    )
    before, shown = curves.evaluate(look), series(page, "curves")
    ticks(page, 3)
    wait_for_series_other_than(page, "curves", shown)
    after = curves.evaluate(look)
    assert after["marked"]
    assert set(before["groups"].values()) == {True, "legendonly"}
    assert after == before | {"alike": True}
    stop(page)


def test_a_slider_moved_while_it_trains_acts_on_the_run_and_is_marked(page):
    start_run(page)
    slider(page, "momentum").press("ArrowRight")
    marks = (
        "plot => (plot.layout.annotations ?? []).some((each) => /0\\.1 → 0\\.2/.test(each.text))"
    )
    page.wait_for_function(marks, arg=chart(page, "curves").element_handle())
    expect(chart(page, "running").locator(".legendtext").filter(has_text="0.2")).to_be_visible()
    expect(chart(page, "curves").get_by_text("momentum 0.1 → 0.2")).to_be_visible()
    ticks(page, 2)  # a slider runs its own fragment only, and the page must go on ticking
    page.get_by_role("button", name="PyTorch 0.1", exact=True).click()
    expect(slider(page, "momentum")).to_have_attribute("aria-valuetext", "0.1")
    ticks(page, 2)
    stop(page)


def pause(page):
    """Press Pause once, and wait until it is obeyed."""
    page.get_by_role("button", name="Pause", exact=True).click()
    expect_state(page, "paused")
    # The badge comes before the step count of the same tick; a paused one has no time left.
    expect(page.get_by_text(re.compile(r"^step [\d,]+ of [\d,]+ · recording"))).to_be_visible()


def test_pause_holds_a_step_count_makes_so_many_steps_and_resume_goes_on(page):
    start_run(page)
    pause(page)
    at = step(page)
    button(page, "step_25").click()
    expect(page.get_by_text(re.compile(rf"^step {at + 25:,} of"))).to_be_visible()
    expect_state(page, "paused")
    assert step(page) == at + 25
    button(page, "pause").click()
    expect_state(page, "running")
    wait_for_step_after(page, at + 25)
    stop(page)
    page.reload()
    drawn(page, *VIEWS)
    expect_state(page, "stopped")
    assert step(page) > at + 25


def test_a_variant_over_the_memory_limit_is_stopped_and_the_other_goes_on(page):
    """The note's layer keeps the graphs of its statistics: each evaluation makes it grow."""
    visit(page, memory_limit_mib=100, dataset="fashion-mnist-sample")
    widget(page, "preset").get_by_text("As the note wrote it").click()
    expect(widget(page, "variants").get_by_label("Note's BN", exact=True)).to_be_visible()
    page.get_by_text("More settings").click()
    for key, value in {"steps": "100", "eval_every": "20"}.items():
        field = widget(page, key).get_by_role("spinbutton")
        field.fill(value)
        field.press("Enter")
        expect(page).to_have_url(re.compile(rf"\b{key}={value}\b"))
    start(page)
    warning = messages(page).filter(has_text="MiB")
    expect(warning).to_be_visible(timeout=60_000)
    expect_state(page, "done", timeout=60_000)
    expect(warning).to_have_count(1)
    assert step(page) == 100


def test_a_batch_of_one_is_refused_with_one_message(page, server):
    before = list(server.runs.glob("*"))
    visit(page, batch_size=1)
    button(page, "start").click()
    expect(messages(page).filter(has_text="batch_size")).to_have_count(1)
    assert run_id(page) == "recorded"
    assert list(server.runs.glob("*")) == before


def test_a_click_on_a_named_value_causes_exactly_one_change(page, server):
    """One click once set the value, set it back, and set it again, and some were lost."""
    run = start_run(page)
    for turn in range(CLICKS):
        name = "the note 0.9" if turn % 2 == 0 else "TensorFlow 0.01"
        page.get_by_role("button", name=name, exact=True).click()
        page.wait_for_timeout(150 + 90 * (turn % 5))  # a reader's hand, at no fixed distance
    expect(slider(page, "momentum")).to_have_attribute("aria-valuetext", "0.01")
    stop(page)
    expect_state(page, "stopped")
    events = open_run(server.runs / run).history.events
    changes = [e["new"] for e in events if e["kind"] == "set" and e["name"] == "momentum"]
    assert changes == [0.9, 0.01] * (CLICKS // 2)
    assert not [e for e in events if e["kind"] == "set" and e["name"] != "momentum"]
