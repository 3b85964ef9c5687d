"""Every page in light and dark, wide and narrow, and for readers who do not see it."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from onscreen import chart, drawn, visit
from playwright.sync_api import expect

PAGES = {"/": ("before_after",), "/train": ("curves", "memory"), "/train-vs-eval": ("truth",)}
# Streamlit's own, by rule and selector, with the reason. Everything else is ours to mend.
ALLOWED = (
    ("color-contrast", "stCaptionContainer", "Streamlit draws captions at 60 % of the text colour"),
    ("color-contrast", "stSliderThumbValue", "the value over a slider takes the primary colour"),
)
COLOUR = "plot => getComputedStyle(plot.querySelector('.xtick text')).fill"


def complaints(page):
    """Serious findings of axe that no entry of ALLOWED covers, one line each."""
    return [
        f"{finding['id']}: {node['target']} {node['html'][:160]} {node.get('failureSummary', '')[:200]}"
        for finding in Axe().run(page).response["violations"]
        if finding["impact"] in ("serious", "critical")
        for node in finding["nodes"]
        if not any(
            finding["id"] == rule and selector in str(node["target"]) + node["html"]
            for rule, selector, _reason in ALLOWED
        )
    ]


@pytest.mark.parametrize("path", PAGES)
def test_light_and_dark_are_readable(page, path):
    colours = {}
    found = {}
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        visit(page, path)
        drawn(page, *PAGES[path])
        colours[scheme] = chart(page, PAGES[path][0]).evaluate(COLOUR)
        found[scheme] = complaints(page)
    assert colours["light"] != colours["dark"]
    assert found == {"light": [], "dark": []}


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
