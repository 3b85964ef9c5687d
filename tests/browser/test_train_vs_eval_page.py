"""Train vs eval: which control moves which side."""

from onscreen import drawn, press, quiet, series, slider, visit, wait_for_series_other_than
from playwright.sync_api import expect


def metric(page, number):
    """The value of a metric in the row: 0 train mode, 1 eval mode, 2 and 3 the differences."""
    return page.get_by_test_id("stMetricValue").nth(number)


def rows(page):
    """How many images the table shows; the grid itself is a canvas with a table inside."""
    return int(
        page.get_by_test_id("stDataFrame").get_by_role("grid").get_attribute("aria-rowcount")
    )


def test_metrics_figures_and_table_are_there_before_any_run(page):
    visit(page, "/train-vs-eval")
    drawn(page, "truth", "by_class")
    for number in range(4):
        expect(metric(page, number)).to_be_visible()
    assert rows(page) > 1


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
    before = rows(page)
    page.get_by_role("radio", name="all", exact=True).click()
    page.wait_for_url("**twin_filter=all**")
    quiet(page)
    expect(page.get_by_test_id("stDataFrame").get_by_role("grid")).not_to_have_attribute(
        "aria-rowcount", str(before)
    )
