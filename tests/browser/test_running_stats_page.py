"""Running statistics: the demo answers, the replays follow the slider, the estimators are compared once."""

import re

import pytest
from onscreen import (
    button,
    chart,
    drawn,
    expect_state,
    look_at,
    messages,
    press,
    run_id,
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
    """Scroll to a chart: what is out of sight is not drawn again."""
    drawn(page, name)
    chart(page, name).scroll_into_view_if_needed()


def named(page, name, label):
    """The series of a chart whose name has `label` in it."""
    return [each for each in series(page, name) if label in (each["name"] or "")]


def measure(page, kind, key=None):
    """Press the button that measures, and wait for the end however busy the machine is."""
    pressed = button(page, key or f"measure_{kind}")
    pressed.click(timeout=60_000)
    expect(pressed).to_have_count(0)
    expect(button(page, f"cancel_{kind}")).to_have_count(0, timeout=120_000)


def test_the_demo_starts_with_the_note_s_numbers_and_answers_to_its_weight(page):
    visit(page, PATH, view="demo")
    drawn(page, "demo", "memory_of_average")
    expect(sentence(page, "demo")).to_contain_text("keeps oscillating")
    before = series(page, "demo")
    press(page, "demo_weight", "Home")
    wait_for_series_other_than(page, "demo", before)
    expect(sentence(page, "demo")).to_contain_text("the moving average is 5.000")


def test_what_is_typed_wrong_is_named_and_can_be_typed_again(page):
    visit(page, PATH, view="demo")
    typed = widget(page, "demo_means").get_by_role("textbox")
    typed.fill("1, two, 3")
    typed.press("Enter")
    expect(messages(page).filter(has_text="got 'two'; allowed: finite numbers")).to_be_visible()
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


def test_the_curves_follow_the_slider_before_python_has_answered(page):
    held = []

    def between(ws):
        server = ws.connect_to_server()
        ws.on_message(lambda message: held.append(message) if held else server.send(message))

    page.route_web_socket(re.compile(r"/_stcore/stream"), between)
    visit(page, PATH)
    in_sight(page, "estimates")
    before, words = named(page, "estimates", "EMA at m"), sentence(page, "estimates").inner_text()
    held.append(b"")  # from here on Python hears of nothing
    press(page, "momentum", "ArrowRight")
    expect(
        chart(page, "estimates").locator(".legendtext", has_text="EMA at m = 0.2")
    ).to_be_visible()
    after = named(page, "estimates", "EMA at m")
    assert [each["y"] for each in after] != [each["y"] for each in before]
    expect(sentence(page, "estimates")).not_to_have_text(words)
    expect(sentence(page, "estimates")).to_contain_text("by the EMA at m = 0.2")
    assert len(held) > 1


def test_the_estimators_are_compared_in_the_same_weights_and_names_the_best(page):
    page.goto(f"{PATH}?view=momentum")
    measure(page, "estimators")
    drawn(page, "estimators", "errors")
    expect(page.locator("[data-card=estimators] h3")).to_have_text(
        re.compile(r"The same weights, other running statistics: best of those tried, m = [\d., ]+")
    )
    curve, chosen = named(page, "estimators", "EMA")[0], named(page, "estimators", "the slider")[0]
    assert chosen["x"] == pytest.approx([0.1])
    assert chosen["y"][0] == curve["y"][curve["x"].index(chosen["x"][0])]
    press(page, "momentum", "ArrowRight")
    expect(sentence(page, "estimators")).to_contain_text("m = 0.2")
    page.reload()
    drawn(page, "estimators", "errors")
    expect(slider(page, "momentum")).to_have_attribute("aria-valuetext", "0.2")
    look_at(page, "On this run", "estimates")
    page.wait_for_function(
        "plot => plot.data.find(({ name }) => name.startsWith('population')).x.length >= 3",
        arg=chart(page, "estimates").element_handle(),
    )


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


def test_channels_and_the_biased_variance_answer_at_once_and_are_in_the_link(page):
    visit(page, PATH, layer="fc1", channels=[3, 40], variance="biased")
    in_sight(page, "estimates")
    expect(page.locator("[data-card=estimates] h3")).to_contain_text("fc1, channel 3, 40")
    before = named(page, "estimates", "each batch")
    assert len(before) == 4  # two channels, mean and variance
    everything = series(page, "estimates")
    widget(page, "variance").get_by_text("unbiased").click()
    wait_for_series_other_than(page, "estimates", everything)
    after = named(page, "estimates", "each batch")
    assert [s["y"] for s in after[:2]] == [s["y"] for s in before[:2]]
    ratio = after[2]["y"][-1] / before[2]["y"][-1]
    assert ratio == pytest.approx(16 / 15, rel=1e-4)
    page.reload()
    in_sight(page, "estimates")
    expect(page.locator("[data-card=estimates] h3")).to_contain_text("fc1, channel 3, 40")


def test_the_comparison_can_be_run_again_once_a_run_has_newer_weights(page):
    start_run(page, variants="builtin", checkpoint_every=100)
    page.get_by_role("link", name="Running statistics", exact=True).click()
    drawn(page, "estimates")
    look_at(page, "Which momentum?")
    measure(page, "estimators")
    drawn(page, "estimators", "errors")
    said = re.search(r"at step ([\d,]+)", sentence(page, "estimators").inner_text())[1]
    measure(page, "estimators", "measure_again_estimators")
    expect(sentence(page, "estimators")).not_to_contain_text(f"at step {said},")
    expect(sentence(page, "estimators")).to_contain_text("measured layer by layer")
    page.get_by_role("link", name="Train", exact=True).click()
    drawn(page, "curves")
    stop(page)


@pytest.fixture
def finished_run(page):
    """The id of a run of 25 steps on the small data set, over before a step could be seen."""
    visit(page, "/train", steps=25, dataset="fashion-mnist-sample", variants="builtin")
    button(page, "start").click()
    page.wait_for_url(lambda url: "run=" in url)
    expect_state(page, "done", timeout=60_000)
    return run_id(page)


def test_how_many_images_are_enough_is_measured_on_a_button(page, finished_run):
    page.goto(f"{PATH}?run={finished_run}&view=images")
    measure(page, "images")
    drawn(page, "images")
    expect(sentence(page, "images")).to_contain_text("of all 6,000")
    by_layer = named(page, "images", "layer by layer")[0]
    assert sorted(set(by_layer["x"])) == [10, 100, 1000]
    assert len(by_layer["x"]) == 9


def test_a_cancelled_map_keeps_what_is_done_and_outlives_a_reload(page, finished_run):
    page.goto(f"{PATH}?run={finished_run}&view=map&images=1%2C600")
    button(page, "measure_map").click()
    # The first batch size is there while the others are made.
    expect(chart(page, "map")).to_be_visible(timeout=60_000)
    button(page, "cancel_map").click()
    expect(button(page, "measure_map")).to_contain_text("Go on with batch size")
    expect(button(page, "cancel_map")).to_have_count(0)
    page.reload()
    drawn(page, "map")
    assert 1 <= len(series(page, "map")[0]["y"]) < 4
    measure(page, "map")
    in_sight(page, "map")
    expect(sentence(page, "map")).to_contain_text("at batch 256")
    page.wait_for_function(  # the sentence comes before the frame that draws
        "plot => plot.data[0].y.join() === '4,16,64,256'", arg=chart(page, "map").element_handle()
    )
