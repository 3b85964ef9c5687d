"""Photograph every page before, during and after a real run, light and dark, wide and narrow.

Writes ``screenshots/<page>-<when>-<theme>-<width>.png`` (``make screenshots``).
"""

import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from scripts.serving import ROOT, serving

OUT = ROOT / "screenshots"
PAGES = {
    "home": "/",
    "train": "/train",
    "activations": "/activations",
    "running-stats": "/running-stats",
    "train-vs-eval": "/train-vs-eval",
    "memory": "/memory",
    "anatomy": "/anatomy",
    "note": "/note",
}
WIDTHS = (1440, 420)
SETTINGS = "dataset=fashion-mnist-sample&steps=1500&eval_every=100"
TIMEOUT_MS = 60_000
# Streamlit scrolls inside the page, so a picture of the whole of it needs a window as high.
HEIGHT = """() => Math.ceil(Math.max(900, ...Array.from(
  document.querySelectorAll("[data-testid=stMainBlockContainer], [data-testid=stSidebarContent]"),
  (node) => node.getBoundingClientRect().left < 0 ? 0 : node.scrollHeight)))"""
FITS = """(plot) => {
  const box = plot.querySelector(".main-svg")?.getBoundingClientRect();
  return box && Math.abs(box.width - plot.offsetWidth) < 2;
}"""


def photograph(page: Page, name: str, when: str) -> None:
    """The current page, in all themes and widths."""
    page.mouse.move(0, 0)
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            settle(page)
            page.set_viewport_size({"width": width, "height": page.evaluate(HEIGHT)})
            settle(page)
            page.screenshot(path=OUT / f"{name}-{when}-{theme}-{width}.png")
    page.set_viewport_size({"width": WIDTHS[0], "height": 1900})


def settle(page: Page) -> None:
    """Wait until every chart in sight is drawn and has the width of its card."""
    expect(page.locator("[data-chart] .main-svg").first).to_be_visible(timeout=TIMEOUT_MS)
    for plot in page.locator("[data-chart]").all():
        plot.scroll_into_view_if_needed()
        page.wait_for_function(FITS, arg=plot.element_handle())
    page.locator("h1").first.scroll_into_view_if_needed()


def all_pages(page: Page, when: str, query: str = "") -> None:
    """Every page with the run of `query`."""
    for name, path in PAGES.items():
        page.goto(path + query)
        photograph(page, name, when)


def state(page: Page, name: str) -> None:
    """Wait until the badge beside the controls says so."""
    page.locator(".stMarkdownBadge", has_text=name).wait_for(timeout=10 * TIMEOUT_MS)


def press(page: Page, key: str) -> None:
    """Press the button of that key."""
    page.locator(f".st-key-{key}").get_by_role("button").click()


def cut_a_chain(page: Page) -> None:
    """The memory experiment with its chain alive, and after two cuts."""
    page.goto("/memory?mem_steps=200&mem_share=50")
    settle(page)
    press(page, "mem_run")
    page.get_by_text("All 200 steps are done").wait_for()
    photograph(page, "memory", "alive")
    for cut in ("del", "detach"):
        press(page, f"mem_cut_{cut}")
        page.locator("p", has_text=cut).filter(has_text="at step 200 freed").wait_for()
    photograph(page, "memory", "cut")
    press(page, "mem_end")
    page.get_by_text("It was ended by hand").wait_for()


def main() -> None:
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    known = ("chromium", "chromium-browser", "google-chrome")
    chromium = next(filter(None, map(shutil.which, known)), None)
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder)) as server,
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=chromium) as browser,
    ):
        page = browser.new_page(base_url=server.url, viewport={"width": WIDTHS[0], "height": 1900})
        page.set_default_timeout(TIMEOUT_MS)
        all_pages(page, "before")
        page.goto(f"/train?{SETTINGS}")
        settle(page)
        press(page, "start")
        state(page, "running")
        page.wait_for_url("**run=**")
        query = f"?run={page.url.split('run=')[1].split('&')[0]}"
        photograph(page, "train", "during")
        press(page, "pause")
        state(page, "paused")
        for name in ("home", "activations", "running-stats", "train-vs-eval", "anatomy", "note"):
            page.goto(PAGES[name] + query)
            photograph(page, name, "during")
        cut_a_chain(page)
        page.goto(PAGES["train"] + query)
        settle(page)
        press(page, "pause")
        state(page, "done")
        all_pages(page, "after", query)
    print(f"{len(list(OUT.glob('*.png')))} pictures in {OUT}")


if __name__ == "__main__":
    main()
