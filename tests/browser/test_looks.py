"""Every page in light and dark, wide and narrow, and for readers who do not see it."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from onscreen import chart, drawn, visit
from playwright.sync_api import expect

PAGES = {
    "/": ("before_after",),
    "/train": ("curves", "kept"),
    "/activations": ("over_time_input", "shift"),
    "/running-stats": ("estimates",),
    "/train-vs-eval": ("truth",),
    "/memory": ("experiment",),
    "/anatomy": ("cells", "step_y"),
    "/note": ("question_memory", "question_modes"),
}
# What is left to Streamlit: rule, the element that it concerns, why. All else is ours to fix.
ALLOWED = (
    (
        "color-contrast",
        "[data-testid=stCaptionContainer]",
        "Streamlit draws captions at 60 % of the text colour",
    ),
    (
        "color-contrast",
        "[data-testid=stSliderThumbValue], [data-selected=true], [data-tag], "
        "[data-testid=stBaseButton-primary]",
        "no primary colour reaches 4.5 both as text on the dark page and under white text",
    ),
)
COLOUR = "plot => getComputedStyle(plot.querySelector('[class^=x][class$=tick] text')).fill"

# Of every drawn card: whether its chart's tool bar shares a place with a line of its title or with
# a download. The bar is there, unseen, also while no pointer is.
COVERED = """cards => cards.filter((card) => card.querySelector(".modebar")).map((card) => {
  const bar = card.querySelector(".modebar").getBoundingClientRect();
  const title = document.createRange();
  title.selectNodeContents(card.querySelector("h3"));
  const places = [...title.getClientRects()];
  for (const button of card.querySelectorAll("header button")) {
    places.push(button.getBoundingClientRect());
  }
  const meet = places.some((place) => place.right > bar.left && place.left < bar.right
    && place.bottom > bar.top && place.top < bar.bottom);
  return { card: card.dataset.card, bar: bar.width > 0, meet };
})"""


def complaints(page):
    """Serious findings of axe that no entry of ALLOWED covers, one line each."""
    return [
        f"{finding['id']} {node['target']}: {node['html'][:120]} {node['failureSummary']}"
        for finding in Axe().run(page).response["violations"]
        if finding["impact"] in ("serious", "critical")
        for node in finding["nodes"]
        if not any(finding["id"] == rule and within(page, node, of) for rule, of, _ in ALLOWED)
    ]


def within(page, node, selector):
    """Whether what axe found lies inside such an element; in a shadow root it does not."""
    [target, *inner] = node["target"]
    return (
        not inner
        and isinstance(target, str)
        and page.evaluate(
            "([target, selector]) => !!document.querySelector(target)?.closest(selector)",
            [target, selector],
        )
    )


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_readable_in_light_and_dark(page, path):
    page.emulate_media(color_scheme="light")
    visit(page, path)
    drawn(page, *PAGES[path])
    plot = chart(page, PAGES[path][0])
    light = plot.evaluate(COLOUR)
    assert not complaints(page)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(
        f"([plot, light]) => ({COLOUR})(plot) !== light", arg=[plot.element_handle(), light]
    )
    assert not complaints(page)


@pytest.mark.parametrize("path", PAGES)
def test_a_phone_need_not_scroll_sideways(page, path):
    page.set_viewport_size({"width": 420, "height": 900})
    visit(page, path)
    drawn(page, PAGES[path][0])
    expect(chart(page, PAGES[path][0])).to_be_visible()
    wide = page.evaluate(
        "() => document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth"
    )
    assert wide <= 0


@pytest.mark.parametrize("width", [420, 1440])
@pytest.mark.parametrize("path", ["/train", "/note"])
def test_a_chart_s_tools_cover_neither_its_title_nor_its_downloads(page, path, width):
    page.set_viewport_size({"width": width, "height": 1250})
    visit(page, path)
    drawn(page, *PAGES[path])
    covered = page.locator(".card").evaluate_all(COVERED)
    assert len(covered) >= 2
    assert all(one["bar"] and not one["meet"] for one in covered), covered
