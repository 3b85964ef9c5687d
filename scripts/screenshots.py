"""Photograph every page and view before, during and after a real run, light and dark, wide and narrow.

Writes ``screenshots/<page>-<view>-<when>-<theme>-<width>.png`` (``make screenshots``);
``--pages home,train`` and ``--out FOLDER`` do part of it elsewhere.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from bnviz.app.router import PAGES
from scripts.page_heights import HELPERS, settle
from scripts.reference import address, views
from scripts.serving import ROOT, serving

WIDTHS = (1440, 420)
SETTINGS = "dataset=fashion-mnist-sample&steps=1500&eval_every=100"
TIMEOUT_MS = 60_000
# Streamlit scrolls inside the page, so a picture of the whole of it needs a window as high.
HEIGHT = """() => Math.ceil(Math.max(900, ...Array.from(
  document.querySelectorAll("[data-testid=stMainBlockContainer], [data-testid=stSidebarContent]"),
  (node) => node.getBoundingClientRect().left < 0 ? 0 : node.scrollHeight)))"""


class Photographer:
    """Takes pictures of `page` into the folder `out`."""

    def __init__(self, page: Page, out: Path, pages: list[str]):
        self.page, self.out, self.pages = page, out, pages

    def photograph(self, name: str, when: str) -> None:
        """The current page, in all themes and widths."""
        self.page.mouse.move(0, 0)
        for theme in ("light", "dark"):
            self.page.emulate_media(color_scheme=theme)
            for width in WIDTHS:
                self.page.set_viewport_size({"width": width, "height": 900})
                settle(self.page)
                self.page.set_viewport_size({"width": width, "height": self.page.evaluate(HEIGHT)})
                settle(self.page)
                self.page.screenshot(path=self.out / f"{name}-{when}-{theme}-{width}.png")
        self.page.set_viewport_size({"width": WIDTHS[0], "height": 1900})

    def every_view(self, when: str, **query: str) -> None:
        """Every view of the chosen pages, with the run of `query`."""
        for file in self.pages:
            names, _default = views(file)
            for view in names or [""]:
                self.open(file, **({"view": view} if view else {}), **query)
                self.photograph(f"{file}-{view}" if view else file, when)

    def open(self, file: str, **query: str) -> None:
        """A page by its file, with the parameters of its address."""
        self.page.goto(f"{address(file)}?{'&'.join(f'{k}={v}' for k, v in query.items())}")
        settle(self.page)


def state(page: Page, name: str) -> None:
    """Wait until the badge beside the controls says so."""
    page.locator(".stMarkdownBadge", has_text=name).wait_for(timeout=10 * TIMEOUT_MS)


def press(page: Page, key: str) -> None:
    """Press the button of that key."""
    page.locator(f".st-key-{key}").get_by_role("button").click()


def cut_a_chain(camera: Photographer) -> None:
    """The memory experiment with its chain alive, and after two cuts."""
    page = camera.page
    camera.open("memory", mem_steps="200", mem_share="50")
    press(page, "mem_run")
    page.get_by_text("All 200 steps are done").wait_for()
    camera.photograph("memory-experiment", "alive")
    for cut in ("del", "detach"):
        press(page, f"mem_cut_{cut}")
        page.locator("p", has_text=cut).filter(has_text="at step 200 freed").wait_for()
    camera.photograph("memory-experiment", "cut")
    press(page, "mem_end")
    page.get_by_text("It was ended by hand").wait_for()


def a_run(camera: Photographer) -> str:
    """Train one, with pictures while it trains and while it is paused; its id once it has ended."""
    page = camera.page
    page.goto(f"/train?{SETTINGS}")
    settle(page)
    press(page, "start")
    state(page, "running")
    page.wait_for_url("**run=**")
    run = page.url.split("run=")[1].split("&")[0]
    camera.photograph("train", "running")
    press(page, "pause")
    state(page, "paused")
    camera.every_view("during", run=run)
    camera.open("train", run=run)
    press(page, "pause")
    state(page, "done")
    return run


def main(arguments: list[str] | None = None) -> None:
    every = [file for file, *_rest in PAGES]
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--pages", default=",".join(every))
    options.add_argument("--out", type=Path, default=ROOT / "screenshots")
    options.add_argument("--when", choices=("before", "all"), default="all")
    given = options.parse_args(arguments)
    shutil.rmtree(given.out, ignore_errors=True)
    given.out.mkdir(parents=True)
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
        page.add_init_script(HELPERS)
        camera = Photographer(page, given.out, given.pages.split(","))
        camera.every_view("before")
        if given.when == "all":
            camera.every_view("after", run=a_run(camera))
            cut_a_chain(camera)
    print(f"{len(list(given.out.glob('*.png')))} pictures in {given.out}")


if __name__ == "__main__":
    main()
