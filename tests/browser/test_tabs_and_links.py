"""Runs and settings outlive pages, reloads and tabs; a wrong link does no harm."""

import re

from onscreen import (
    ENDLESS,
    VIEWS,
    button,
    chart,
    drawn,
    expect_state,
    go_to,
    messages,
    press,
    quiet,
    run_id,
    series,
    slider,
    start_run,
    step,
    stop,
    ticks,
    visit,
    wait_for_step_after,
    widget,
)
from playwright.sync_api import expect
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

QUICK = {"variants": "builtin"}


def settings(page):
    return {
        "run": run_id(page),
        "momentum": slider(page, "momentum").get_attribute("aria-valuetext"),
        "eps": slider(page, "eps").get_attribute("aria-valuetext"),
    }


def layer_is(page, name):
    expect(page.get_by_role("radio", name=name)).to_be_checked()


def test_run_sliders_and_layer_survive_a_change_of_page_and_a_reload(page):
    start_run(page, **QUICK)
    page.get_by_role("radio", name="fc1").click()
    expect(page.locator("[data-card=stages] h3")).to_contain_text("fc1")
    press(page, "momentum", "ArrowRight", "ArrowRight")
    press(page, "eps", "ArrowRight")
    before = settings(page)
    assert before["momentum"] == "0.3"
    for name in ("momentum", "eps"):  # the server has heard of both
        page.wait_for_url(lambda url, name=name: f"{name}={before[name]}" in url)
    go_to(page, "Train vs eval", "truth")
    page.get_by_role("radio", name="replayed at m and eps").click()
    expect(slider(page, "momentum")).to_be_visible()
    assert settings(page) == before
    go_to(page, "Train", "curves")
    assert settings(page) == before
    layer_is(page, "fc1")
    at = step(page)
    page.reload()
    drawn(page, *VIEWS)
    assert settings(page) == before
    layer_is(page, "fc1")
    wait_for_step_after(page, at)
    stop(page)


def test_a_second_visitor_sees_nothing_of_a_run_in_the_first_tab(page, new_context):
    other = new_context().new_page()
    visit(other)
    drawn(other, *VIEWS)
    before = {view: series(other, view) for view in VIEWS}
    start_run(page, momentum=0.5, **QUICK)
    ticks(page, 3)
    assert {view: series(other, view) for view in VIEWS} == before
    assert settings(other) == {"run": "recorded", "momentum": "0.1", "eps": "1e-05"}
    press(other, "momentum", "ArrowRight")
    expect(chart(other, "running").locator(".legendtext", has_text="0.2")).to_be_visible()
    assert settings(page)["momentum"] == "0.5"
    stop(page)


def test_a_second_run_waits_in_the_queue_and_begins_by_itself(page, new_context):
    start_run(page, **QUICK)
    other = new_context().new_page()
    visit(other, steps=ENDLESS, dataset="fashion-mnist-sample", **QUICK)
    button(other, "start").click()
    expect_state(other, "queued")
    expect(messages(other)).to_have_text(re.compile("Waiting: 1 in the queue"))
    stop(page)
    expect_state(other, "running")
    expect(messages(other)).to_have_count(0)
    wait_for_step_after(other, 0)
    stop(other)


def test_closing_the_tab_does_not_end_the_run(page, new_context):
    run = start_run(page, **QUICK)
    at = step(page)
    page.close()
    back = new_context().new_page()
    visit(back, run=run)
    assert run_id(back) == run
    assert wait_for_step_after(back, at) > at
    expect_state(back, "running")
    stop(back)


def test_a_link_that_is_wrong_opens_a_page_that_works_and_says_what_it_did_not_take(page):
    visit(page, momentum=7, batch_size="x", run="nope")
    drawn(page, *VIEWS)
    for name in ("momentum", "batch_size", "run"):
        warning = messages(page).filter(has_text=re.compile(rf"\b{name}: "))
        expect(warning).to_have_count(1)
    expect(messages(page)).to_have_count(3)
    assert settings(page)["momentum"] == "0.1"
    expect(widget(page, "batch_size").get_by_role("spinbutton")).to_have_value("16")
    assert run_id(page) == "recorded"


def test_settings_changed_by_hand_stand_in_the_link_and_are_taken_from_it(page):
    visit(page, momentum=0.3, batch_size=32)
    widget(page, "variants").get_by_label("Remove nn.BatchNorm").click()
    page.wait_for_url("**variants=**")
    page.reload()
    drawn(page)
    quiet(page)
    assert settings(page)["momentum"] == "0.3"
    expect(widget(page, "batch_size").get_by_role("spinbutton")).to_have_value("32")
    expect(widget(page, "variants").locator("[data-tag]")).to_have_count(1)
    expect(messages(page)).to_have_count(0)


def kind(frame):
    return ForwardMsg.FromString(frame).WhichOneof("type")


def test_a_page_writes_its_address_only_when_its_own_part_changes(page):
    """What it writes is the whole address as its script began, without what was typed since."""
    frames, sockets = [], []

    def hear(socket):
        sockets.append(socket)
        socket.on("framereceived", lambda frame: frames.append(frame))

    page.on("websocket", hear)
    visit(page, variants="note,builtin", layer="fc1")
    page.get_by_text("More settings").click()
    quiet(page)
    writes = []
    for act in (
        lambda: type_number(page, "seed", 1),
        lambda: type_number(page, "seed", 2),
        lambda: page.get_by_role("radio", name="fc2").click(),
    ):
        frames.clear()
        with sockets[-1].expect_event(
            "framereceived", lambda frame: kind(frame) == "script_finished"
        ):
            act()
        writes.append([kind(frame) for frame in frames].count("page_info_changed"))
    assert writes == [0, 0, 1]
    expect(page).to_have_url(re.compile(r"\blayer=fc2\b.*\bseed=2\b|\bseed=2\b.*\blayer=fc2\b"))


def type_number(page, key, value):
    field = widget(page, key).get_by_role("spinbutton")
    field.fill(str(value))
    field.press("Enter")


def test_a_run_that_goes_on_is_seen_on_home_and_shown_by_a_plain_train_page(page, new_context):
    """It was once invisible to whoever came without its link."""
    run = start_run(page, **QUICK)
    other = new_context().new_page()
    visit(other, "/")
    expect(widget(other, "going_on").get_by_text(re.compile(r"^step [\d,]+ of"))).to_be_visible()
    other.get_by_role("link", name="A run is training now: watch it").click()
    drawn(other, *VIEWS)
    assert run_id(other) == run
    third = new_context().new_page()
    visit(third)
    assert run_id(third) == run
    stop(page)


def test_a_run_that_is_stopped_in_the_queue_leaves_the_recorded_one(page, new_context):
    start_run(page, **QUICK)
    other = new_context().new_page()
    visit(other, steps=ENDLESS, dataset="fashion-mnist-sample", **QUICK)
    button(other, "start").click()
    expect_state(other, "queued")
    button(other, "stop").click()
    expect(other.get_by_text(re.compile("^Recorded run, shipped"))).to_be_visible()
    assert run_id(other) == "recorded"
    stop(page)
