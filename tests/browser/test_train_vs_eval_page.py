"""Train vs eval: which control moves which side."""

import re

from onscreen import drawn, press, series, slider, visit, wait_for_series_other_than
from playwright.sync_api import expect


def metric(page, number):
    """The value of a metric in the row: 0 train mode, 1 eval mode, 2 and 3 the differences."""
    return page.get_by_test_id("stMetricValue").nth(number)


def expect_rows(page, count):
    """The table shows `count` images; it is drawn on a canvas, with its rows for readers inside."""
    table = page.get_by_test_id("stDataFrame")
    table.scroll_into_view_if_needed()
    expect(table.locator("table[role=grid]")).to_have_attribute("aria-rowcount", str(count + 1))


def test_metrics_figures_and_table_are_there_before_any_run(page):
    visit(page, "/train-vs-eval")
    drawn(page, "truth", "by_class")
    for number in range(4):
        expect(metric(page, number)).to_be_visible()
    expect_rows(page, 60)


def test_momentum_moves_the_eval_side_only(page):
    visit(page, "/train-vs-eval", twin_variant="Note's BN")
    train, evaluated = metric(page, 0).inner_text(), metric(page, 1).inner_text()
    press(page, "momentum", "Home")
    expect(metric(page, 1)).not_to_have_text(evaluated)
    expect(metric(page, 0)).to_have_text(train)
    before = series(page, "truth")
    press(page, "eps", "End")
    wait_for_series_other_than(page, "truth", before)
    expect(metric(page, 0)).to_have_text(train)


def test_batch_size_and_neighbours_move_the_train_side_only(page):
    visit(page, "/train-vs-eval")
    train, evaluated = metric(page, 0).inner_text(), metric(page, 1).inner_text()
    press(page, "twin_batch", "Home")
    expect(metric(page, 0)).not_to_have_text(train)
    expect(slider(page, "twin_batch")).to_have_attribute("aria-valuetext", "2")
    small = metric(page, 0).inner_text()
    page.get_by_role("radio", name="same class").click()
    expect(metric(page, 0)).not_to_have_text(small)
    expect(metric(page, 1)).to_have_text(evaluated)


def test_the_filter_chooses_the_rows(page):
    visit(page, "/train-vs-eval")
    train_only, eval_only = map(int, re.findall(r"\d+", metric(page, 3).inner_text()))
    for name, count in (("only train right", train_only), ("only eval right", eval_only)):
        page.get_by_role("radio", name=name).click()
        expect_rows(page, min(60, count))
