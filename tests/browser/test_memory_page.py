"""Memory: predict, run, cut, leave and return."""

import re

import pytest
from onscreen import (
    button,
    chart,
    drawn,
    go_to,
    look_at,
    messages,
    press,
    quiet,
    sentence,
    series,
    visit,
    wait_for_series_other_than,
    widget,
)
from playwright.sync_api import expect

from tests.waiting import until

PATH = "/memory"
ENDLESS = 900_000
MIB = 2**20


def metric(page, label):
    """The value of the metric of that label."""
    box = page.get_by_test_id("stMetric").filter(has_text=label)
    return box.get_by_test_id("stMetricValue")


def done(page):
    """So many steps does the progress bar say; -1 without one."""
    bar = page.get_by_test_id("state-line").filter(has_text="Step")
    return int(re.search(r"Step ([\d,]+)", bar.inner_text())[1].replace(",", ""))


def wait_for_more_steps(page):
    before = done(page)
    page.wait_for_function(
        """(before) => { const said = /Step ([\\d,]+)/.exec(document.body.innerText);
                         return said && Number(said[1].replaceAll(",", "")) > before; }""",
        arg=before,
    )  # fmt: skip


@pytest.fixture
def running(page):
    """The page with an experiment that goes on and on; ended afterwards."""
    visit(page, PATH, mem_steps=ENDLESS, mem_share=50)
    button(page, "mem_run").click()
    expect(button(page, "mem_end")).to_be_enabled()
    wait_for_more_steps(page)
    yield page
    look_at(page, "Experiment", "experiment")
    if button(page, "mem_end").is_enabled():
        button(page, "mem_end").click()
    expect(button(page, "mem_run")).to_be_enabled()


def test_the_prediction_follows_the_switches_before_anything_runs(page):
    visit(page, PATH)
    drawn(page, "experiment")
    expect(metric(page, "Kept by a test batch")).to_have_text("1.38 MiB")
    before = series(page, "experiment")
    press(page, "mem_batch", "ArrowRight")
    expect(metric(page, "Kept by a test batch")).to_have_text("2.76 MiB")
    wait_for_series_other_than(page, "experiment", before)
    widget(page, "mem_mode").get_by_role("radio", name="eval mode").click()
    expect(metric(page, "Kept by a test batch")).to_have_text("0 bytes")
    quiet(page)
    page.reload()
    expect(metric(page, "Kept by a test batch")).to_have_text("0 bytes")


def test_the_measured_line_grows_on_the_predicted_one_in_a_chart_that_stays(running):
    page = running
    drawn(page, "experiment")
    chart(page, "experiment").evaluate("plot => { plot.marked = true; }")
    for _ in range(3):
        wait_for_more_steps(page)
    assert chart(page, "experiment").evaluate("plot => plot.marked === true")
    expect(sentence(page, "experiment")).to_contain_text("(+0 bytes, 0.00%)")
    lines = {line["name"]: line for line in series(page, "experiment")}
    kept = lines["Note's BN"]["y"]
    assert kept[-1] > kept[0] >= 0
    assert max(lines["nn.BatchNorm"]["y"]) == 0


def test_cuts_free_what_they_say_and_undo_leaks_again(running):
    page = running
    button(page, "mem_pause").click()
    expect(page.get_by_text("paused. The chain is alive")).to_be_visible()
    button(page, "mem_cut_del").click()
    expect(page.get_by_text(re.compile(r"^del at step"))).to_contain_text("freed 0 bytes of")
    button(page, "mem_cut_detach").click()
    said = page.get_by_text(re.compile(r"^detach\(\) at step"))
    freed, before = re.search(r"freed (\S+ \w+) of (\S+ \w+)", said.inner_text()).groups()
    assert freed == before != "0 bytes"
    drawn(page, "cuts")
    button(page, "mem_pause").click()
    wait_for_more_steps(page)
    button(page, "mem_cut_undo").click()
    expect(page.get_by_text(re.compile(r"^as before from step"))).to_be_visible()
    wait_for_more_steps(page)
    look_at(page, "What holds it", "chain", "chain_batches")
    expect(sentence(page, "chain_batches")).to_contain_text("with their activations")


def test_leaving_and_returning_and_another_tab_find_it_going_on(running, new_context):
    page = running
    go_to(page, "Home", "before_after")
    go_to(page, "Memory", "experiment")
    expect(button(page, "mem_run")).to_be_disabled()
    wait_for_more_steps(page)
    other = new_context().new_page()
    visit(other, PATH)
    expect(button(other, "mem_run")).to_be_disabled()
    wait_for_more_steps(other)


def test_a_closed_tab_ends_the_experiment_and_frees_what_it_held(new_context, server):
    context = new_context()
    page = context.new_page()
    visit(page, PATH, mem_batch=512, mem_share=100, mem_steps=10, mem_budget=2048)
    button(page, "mem_run").click()
    expect(page.get_by_text("The chain is alive until you end it")).to_be_visible()
    held = server.memory()
    context.close()
    until(lambda: held - server.memory() > 300 * MIB, seconds=30, every=0.1)
    again = new_context().new_page()
    visit(again, PATH)
    expect(again.get_by_text("Ended after 10 steps. Its page was closed")).to_be_visible()


def test_a_click_on_a_batch_opens_its_graph(running):
    page = running
    wait_for_more_steps(page)
    button(page, "mem_pause").click()
    expect(page.get_by_text("paused. The chain is alive")).to_be_visible()
    look_at(page, "What holds it", "chain", "chain_batches")
    chart(page, "chain_batches").scroll_into_view_if_needed()
    alive = re.compile(rf"^{done(page):,} batches are alive")
    expect(sentence(page, "chain_batches")).to_have_text(alive, timeout=20_000)
    plot = chart(page, "chain_batches")
    shown = min(done(page), 120)
    bars = "([plot, shown]) => plot.querySelectorAll('.point path').length === shown"
    page.wait_for_function(bars, arg=[plot.element_handle(), shown])
    x, y, batch = plot.evaluate(
        """(plot) => {
          const tested = plot.data[0].y.findIndex((kept) => kept > 1);  // others have no height
          const box = plot.querySelectorAll(".point path")[tested].getBoundingClientRect();
          return [box.x + box.width / 2, box.y + box.height / 2, plot.data[0].x[tested]]; }"""
    )
    page.mouse.click(x, y)
    expect(sentence(page, "chain")).to_contain_text(f"batch {batch} of the chain")


def test_a_budget_that_is_not_there_is_refused_in_one_line(page):
    visit(page, PATH, mem_budget=900_000)
    button(page, "mem_run").click()
    expect(messages(page).first).to_contain_text("budget_mib: got 900,000 MiB")
    expect(button(page, "mem_run")).to_be_enabled()


def test_every_saved_tensor_is_named_with_what_it_is_for(page):
    visit(page, PATH, saved_batch=16, view="saved")
    chart(page, "saved_kept").scroll_into_view_if_needed()
    drawn(page, "saved_kept")
    table = page.get_by_test_id("stDataFrame").last
    table.scroll_into_view_if_needed()
    expect(table.locator("table[role=grid]")).to_have_attribute("aria-rowcount", re.compile(r"\d+"))
