"""Train vs eval: which control moves which side."""

import re

from onscreen import (
    button,
    chart,
    drawn,
    messages,
    press,
    sentence,
    series,
    slider,
    visit,
    wait_for_series_other_than,
    widget,
)
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
    visit(page, "/train-vs-eval", variant="note", eval_source="replayed")
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
    press(page, "mode_batch", "Home")
    expect(metric(page, 0)).not_to_have_text(train)
    expect(slider(page, "mode_batch")).to_have_attribute("aria-valuetext", "2")
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


PATH = "/train-vs-eval"


def radio(page, key, name):
    """An option of the control of that key."""
    return widget(page, key).get_by_role("radio", name=name, exact=True)


def test_a_switch_of_one_layer_moves_the_eval_side_and_is_in_the_link(page):
    visit(page, PATH)
    train, evaluated = metric(page, 0).inner_text(), metric(page, 1).inner_text()
    widget(page, "by_batch").get_by_text("conv2", exact=True).click()
    expect(metric(page, 1)).not_to_have_text(evaluated)
    expect(metric(page, 0)).to_have_text(train)
    switched = metric(page, 1).inner_text()
    page.reload()
    drawn(page, "truth")
    expect(metric(page, 1)).to_have_text(switched)
    for layer in ("conv1", "fc1", "fc2"):
        widget(page, "by_batch").get_by_text(layer, exact=True).click()
    expect(metric(page, 2)).to_have_text("0 of 1,000")


def test_a_click_on_a_bar_of_the_chain_shows_the_channels_of_that_layer(page):
    visit(page, PATH, view="layers")
    drawn(page, "chain", "channels_apart", "statistics_apart")
    before = series(page, "channels_apart")
    chart(page, "chain").locator(".barlayer .point").nth(2).click(force=True)
    wait_for_series_other_than(page, "channels_apart", before)
    expect(page.locator("[data-card=channels_apart] h3")).to_have_text(
        "Which channels of fc1 differ most"
    )
    expect(radio(page, "layer", "fc1")).to_be_checked()


def test_other_neighbours_make_another_answer_of_the_same_image(page):
    visit(page, PATH, view="context")
    drawn(page, "context_logits", "context_predictions", "by_batch")
    expect(page.get_by_text("Batches that change the prediction")).to_be_visible()
    before = series(page, "context_logits")
    radio(page, "context_kind", "black images").click()
    wait_for_series_other_than(page, "context_logits", before)
    expect(sentence(page, "context_predictions")).to_contain_text("All batches agree")
    before = series(page, "context_logits")
    press(page, "context_batch", "Home")
    wait_for_series_other_than(page, "context_logits", before)


def test_the_note_s_test_passes_are_events_on_the_time_line(page):
    visit(page, PATH, view="checkpoints", variant="note", eval_source="replayed")
    drawn(page, "modes_over_run", "pairs_over_run")
    tests = [s for s in series(page, "modes_over_run") if s["name"] == "test pass in train mode"]
    assert tests[0]["x"] == [100, 200, 300, 400]
    before = series(page, "modes_over_run")
    press(page, "momentum", "Home")
    wait_for_series_other_than(page, "modes_over_run", before)


def test_eval_mode_is_recalibrated_and_the_recalibration_undone(page):
    visit(page, PATH)
    before = metric(page, 1).inner_text()
    radio(page, "view", "Recalibrate").click()
    button(page, "measure_recalibrate").click()
    drawn(page, "recalibrated")
    expect(sentence(page, "recalibrated")).to_contain_text("Recalibrated on 60 batches of 16")
    button(page, "recalibration_keep").click()
    expect(messages(page).filter(has_text="belongs to the package")).to_be_visible()
    with page.expect_download() as download:
        button(page, "recalibration_download").click()
    assert download.value.suggested_filename == "400-builtin-recalibrated.safetensors"
    radio(page, "view", "Predictions").click()
    drawn(page, "truth")
    expect(metric(page, 1)).not_to_have_text(before)
    radio(page, "view", "Recalibrate").click()
    button(page, "recalibration_undo").click()
    expect(page.get_by_text("Nothing is recalibrated yet")).to_be_visible()
    radio(page, "view", "Predictions").click()
    expect(metric(page, 1)).to_have_text(before)


def test_three_questions_find_the_row_of_the_reader_s_own_code(page):
    page.goto(f"{PATH}?view=table")
    expect(page.get_by_text("It normalizes by the batch")).to_be_visible()
    radio(page, "rules_mode", "model.eval()").click()
    expect(page.get_by_text("It normalizes by the running statistics")).to_be_visible()


def test_passes_in_train_mode_are_measured_for_other_images(page):
    visit(page, PATH, view="effects")
    drawn(page, "side_effects")
    before = series(page, "side_effects")
    radio(page, "rules_images", "training images of one class").click()
    wait_for_series_other_than(page, "side_effects", before)


def test_another_change_of_the_images_is_measured(page):
    visit(page, PATH, view="corruptions")
    drawn(page, "shift_strength", "shift_kinds")
    expect(page.locator("[data-card=shift_strength] h3")).to_contain_text("Train mode wins")
    before = series(page, "shift_strength")
    radio(page, "shift_kind", "noise").click()
    wait_for_series_other_than(page, "shift_strength", before)
    press(page, "shift_strength", "End")
    expect(slider(page, "shift_strength")).to_have_attribute("aria-valuetext", "1.00")
