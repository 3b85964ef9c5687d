"""Activations: one step slider and one button move all figures of the page together."""

from onscreen import (
    button,
    chart,
    drawn,
    expect_state,
    messages,
    press,
    series,
    slider,
    start_run,
    stop,
    visit,
    widget,
)
from onscreen import wait_for_series_other_than as wait_for_other
from playwright.sync_api import expect

PATH = "/activations"


def marked_step(page, name):
    """The step that a heatmap marks."""
    return chart(page, name).evaluate("plot => plot.layout.shapes[0].x0")


def newest(all_series):
    return max(step for each in all_series for step in each["x"])


def shown_step(page):
    return int(slider(page, "step").get_attribute("aria-valuetext"))


def test_the_step_slider_scrubs_all_figures_together(page):
    visit(page, PATH)
    drawn(page, "over_time_input", "over_time_scaled", "stages")
    before = series(page, "stages")
    assert marked_step(page, "over_time_input") == marked_step(page, "over_time_scaled") == 400
    press(page, "step", "Home")
    wait_for_other(page, "stages", before)
    page.wait_for_function(
        "plot => plot.layout.shapes[0].x0 === 1",
        arg=chart(page, "over_time_scaled").element_handle(),
    )
    assert marked_step(page, "over_time_input") == 1
    expect(page.locator("[data-card=stages] figcaption")).to_contain_text("At step 1 ")


def test_play_walks_through_the_steps_and_stop_holds_it(page):
    visit(page, PATH)
    drawn(page, "over_time_input")
    button(page, "probe_play").click()
    expect(slider(page, "step")).to_have_attribute("aria-valuetext", "1")
    page.wait_for_function(
        "slider => Number(slider.getAttribute('aria-valuetext')) >= 20",
        arg=slider(page, "step").element_handle(),
    )
    button(page, "probe_play").click()
    expect(button(page, "probe_play")).to_contain_text("Play")
    held = shown_step(page)
    assert 20 <= held < 400
    page.reload()
    drawn(page, "over_time_input")
    assert shown_step(page) == held


def test_layer_and_stages_choose_the_figures_and_stay_in_the_link(page):
    visit(page, PATH)
    page.get_by_role("radio", name="fc1").click()
    expect(page.locator("[data-card=shift] h3")).to_contain_text("fc1")
    page.get_by_text("normalized: x̂", exact=True).first.click()
    drawn(page, "over_time_normalized")
    page.reload()
    drawn(page, "over_time_normalized")
    expect(page.locator("[data-card=over_time_normalized] h3")).to_contain_text("fc1")


def test_heatmaps_grow_while_a_run_trains(page):
    start_run(page, variants=["builtin", "none"])
    page.get_by_role("link", name="Activations", exact=True).click()
    drawn(page, "over_time_input")
    before = series(page, "over_time_input")
    wait_for_other(page, "over_time_input", before)
    assert newest(series(page, "over_time_input")) > newest(before)
    names = {each["name"] for each in before}
    assert {"nn.BatchNorm", "No BN"} <= names, "the network without BN has a panel too"
    page.get_by_role("link", name="Train", exact=True).click()
    drawn(page, "curves")
    stop(page)


def followed(page):
    """What the control says that all figures follow."""
    return widget(page, "channels").locator("[data-tag]")


def click_panel(page, name, panel, down=0.5):
    """Click into a panel, as plotly numbers it: half way across, and so far down."""
    box = chart(page, name).locator(f".nsewdrag[data-subplot={panel}]").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + down * box["height"])


def test_a_click_on_a_channel_lets_all_figures_follow_it(page):
    visit(page, PATH, view="channels")
    drawn(page, "channels", "affine")
    click_panel(page, "channels", "x6y6")
    expect(followed(page)).to_have_text("5")
    expect(chart(page, "channels").get_by_text("5 ◂")).to_be_visible()
    page.get_by_role("radio", name="Over the steps").click()
    drawn(page, "over_time_input", "stages")
    expect(chart(page, "stages").get_by_text("channel 5, nn.BatchNorm")).to_be_visible()
    page.reload()
    drawn(page, "over_time_input", "stages")
    expect(followed(page)).to_have_text("5")
    assert "the chosen channel" in {each["name"] for each in series(page, "over_time_input")}


def test_a_row_of_the_table_is_a_channel_too(page):
    visit(page, PATH, view="channels", layer="fc1")
    drawn(page, "affine")
    table = widget(page, "channel_table")
    table.scroll_into_view_if_needed()
    box = table.locator("canvas").first.bounding_box()
    page.mouse.click(box["x"] + 18, box["y"] + 36 + 35 * 2 + 15)  # header, two rows, half a row
    expect(followed(page)).to_have_text("2")


def test_an_image_in_both_modes_and_other_neighbours(page):
    visit(page, PATH, view="image", layer="conv1", act_image=3)
    drawn(page, "maps_train", "maps_eval")
    maps = "plot => Array.from(plot.data[1].z, row => Array.from(row))"
    train, evaluation = (chart(page, f"maps_{mode}").evaluate(maps) for mode in ("train", "eval"))
    expect(
        page.get_by_text("In train mode it is normalized together with 15 others")
    ).to_be_visible()
    page.get_by_role("radio", name="same class").click()
    page.wait_for_function(
        f"([plot, before]) => JSON.stringify(({maps})(plot)) !== JSON.stringify(before)",
        arg=[chart(page, "maps_train").element_handle(), train],
    )
    assert chart(page, "maps_eval").evaluate(maps) == evaluation, (
        "eval mode does not depend on the batch"
    )
    click_panel(page, "maps_train", "xy", down=0.75)
    expect(followed(page)).to_have_text("4")  # in the middle of the second row of three


def test_overlaid_and_ridges_are_other_looks_at_the_same_stage(page):
    visit(page, PATH)
    drawn(page, "over_time_input")
    page.get_by_role("radio", name="overlaid").click()
    page.wait_for_function(
        "plot => plot.data.every(trace => trace.type === 'scatter')",
        arg=chart(page, "over_time_input").element_handle(),
    )
    page.get_by_role("radio", name="ridges").click()
    page.wait_for_function(
        "plot => plot.data.some(trace => trace.name === 'step 1')",
        arg=chart(page, "over_time_input").element_handle(),
    )
    assert {"step 1", "step 400"} <= {each["name"] for each in series(page, "over_time_input")}


def test_a_run_without_the_comparison_offers_it(page):
    run = start_run(page, steps=30, variants=["builtin"])
    expect_state(page, "done", timeout=60_000)
    page.get_by_role("link", name="Activations", exact=True).click()
    button(page, "again_none").click()
    page.wait_for_url(lambda url: "run=" in url and run not in url)
    expect(chart(page, "over_time_input").get_by_text("No BN")).to_be_visible(timeout=60_000)


def test_the_way_back_is_recorded_when_it_is_asked_for(page):
    run = start_run(page, steps=30, variants=["builtin"])
    expect_state(page, "done", timeout=60_000)
    page.get_by_role("link", name="Activations", exact=True).click()
    page.get_by_role("radio", name="Backward").click()
    expect(messages(page)).to_contain_text("did not record its gradients")
    button(page, "record_gradients").click()
    page.wait_for_url(lambda url: "run=" in url and run not in url)
    expect(page.get_by_text("Recording gradients took")).to_be_visible(timeout=60_000)
    drawn(page, "gradient_values", "gradient_depth", "gradient_curves")
    chart(page, "gradient_curves").scroll_into_view_if_needed()
    page.wait_for_function(
        "plot => ['nn.BatchNorm', 'No BN'].every(name => plot.data.some(t => t.name === name))",
        arg=chart(page, "gradient_curves").element_handle(),
    )
