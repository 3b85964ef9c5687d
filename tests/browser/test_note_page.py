"""The page The note in a browser: measure, leave, come back; part two sides; flip switches."""

import re

from onscreen import button, chart, drawn, go_to, look_at, press, sentence, series, visit, widget
from playwright.sync_api import expect

MEASURED = re.compile(r"^Measured here: 100 steps")


def into_sight(page, name):
    chart(page, name).scroll_into_view_if_needed()
    drawn(page, name)


def test_a_bench_goes_on_while_its_reader_is_away(page):
    visit(page, "/note", view="ablation", bench_seeds="7", bench_steps="100")
    into_sight(page, "bench_effect")
    button(page, "measure_bench").click()
    progress = page.get_by_test_id("state-line")
    expect(progress).to_contain_text(re.compile(r"\d+ of 16"), timeout=60_000)
    go_to(page, "Anatomy", "cells")
    go_to(page, "The note", "question_memory")
    look_at(page, "Ablation", "bench_effect")
    expect(progress).to_contain_text(
        re.compile(r"[1-9]\d* of 16, about [\d min]+s? left"), timeout=60_000
    )
    expect(page.get_by_text(MEASURED)).to_be_visible(timeout=240_000)
    expect(progress).to_have_count(0)
    into_sight(page, "bench_effect")
    expect(sentence(page, "bench_effect")).to_contain_text("15 settings")


def test_a_cancelled_bench_leaves_the_recorded_one(page):
    visit(page, "/note", view="ablation", bench_seeds="8", bench_steps="2000")
    into_sight(page, "bench_effect")
    button(page, "measure_bench").click()
    button(page, "cancel_bench").click()
    expect(button(page, "measure_bench")).to_be_visible(timeout=60_000)
    expect(page.get_by_text(re.compile("^Recorded: 600 steps"))).to_be_visible()


def test_two_sides_are_compared_and_the_tolerance_answers_at_once(page):
    page.goto("/note?view=divergence&lock_steps=20&lock_matters=false")
    button(page, "measure_parting").scroll_into_view_if_needed()
    button(page, "measure_parting").click()
    expect(chart(page, "parting")).to_be_attached(timeout=60_000)
    into_sight(page, "parting")
    expect(page.get_by_text("at step 1: parameter").first).to_be_visible()
    names = [line["name"] for line in series(page, "parting")]
    assert names == ["forward", "gradient", "parameter", "running statistic", "tolerance"]
    before = series(page, "parting")[-1]["y"][0]
    press(page, "lock_tolerance", "ArrowRight")
    page.wait_for_function(
        "([plot, before]) => plot.data.at(-1).y[0] > 5 * before",
        arg=[chart(page, "parting").element_handle(), before],
    )
    assert "lock_tolerance" in page.url


def test_switches_make_a_setting_and_undo_takes_it_back(page):
    page.goto("/note?view=code")
    widget(page, "quirk_keep_graph").locator("label").first.click()
    expect(page.get_by_text("With these switches: all quirks but graph kept")).to_be_visible(
        timeout=20_000
    )
    page.wait_for_url("**quirk_keep_graph=false**")
    page.reload()
    expect(page.get_by_text("With these switches: all quirks but graph kept")).to_be_visible(
        timeout=20_000
    )
    button(page, "quirks_none").click()
    expect(page.get_by_text("With these switches: no quirk.")).to_be_visible(timeout=20_000)
    button(page, "quirks_undo").click()
    expect(page.get_by_text("With these switches: all quirks but graph kept")).to_be_visible(
        timeout=20_000
    )


def test_the_first_question_answers_to_its_batch(page):
    visit(page, "/note")
    [before] = series(page, "question_memory")
    press(page, "question_batch", "ArrowRight")
    expect(sentence(page, "question_memory")).to_contain_text("a test batch of 32", timeout=20_000)
    [after] = series(page, "question_memory")
    assert sum(value > 0 for value in after["x"]) == 1
    assert 1.9 < max(after["x"]) / max(before["x"]) < 2.1
