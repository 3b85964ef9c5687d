"""How high every page and view is, where its first chart stands, and how soon it is drawn.

Measured in a browser that is there: the test of the limits and ``benchmarks/pages.py`` both use it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from playwright.sync_api import Page

from bnviz.app.router import PAGES
from scripts.reference import address, views

SIZES = ({"width": 1440, "height": 1250}, {"width": 420, "height": 900})
HIGHEST = {1440: 2000, 420: 4000}
"""Pixels of the content by the width of the window."""
MOST_CHARTS = 6
FIRST_CHART_WITHIN = {1440: 620}
"""Pixels from the top of the page to the first chart."""
TIMEOUT_MS = 60_000

# Defined in each page: the charts, also those in shadow roots, and what is asked of them.
HELPERS = """
window.heights = {
  charts(root = document) {
    const found = Array.from(root.querySelectorAll("[data-chart]"));
    for (const node of root.querySelectorAll("*")) {
      if (node.shadowRoot) found.push(...this.charts(node.shadowRoot));
    }
    return found.filter((chart) => chart.offsetHeight);
  },
  drawn(chart) { return Boolean(chart.querySelector(".main-svg")); },
  running() {
    const app = document.querySelector("[data-testid=stApp]");
    return app?.getAttribute("data-test-script-state") !== "notRunning";
  },
  // From now on the reader's click counts, and charts that are there do not.
  listen() {
    const known = new Set(this.charts());
    this.first = null;
    document.addEventListener("click", ({ timeStamp }) => {
      const look = () => {
        if (this.charts().some((chart) => !known.has(chart) && this.drawn(chart))) {
          this.first = (performance.now() - timeStamp) / 1000;
        } else requestAnimationFrame(look);
      };
      look();
    }, { once: true, capture: true });
  },
  // The script has ended, every chart is drawn, and nothing has moved for half a second.
  settled() {
    const done = !this.running() && this.charts().every((chart) => this.drawn(chart));
    const now = JSON.stringify(this.measured());
    if (!done || now !== this.before) this.since = performance.now();
    this.before = now;
    return done && performance.now() - this.since > 500;
  },
  measured() {
    const content = document.querySelector("[data-testid=stMainBlockContainer]");
    if (!content) return null;
    const { top, height } = content.getBoundingClientRect();
    const tops = this.charts().map((chart) => Math.round(chart.getBoundingClientRect().top - top));
    return {
      height: Math.ceil(height),
      charts: tops.length,
      top: tops.length ? Math.min(...tops) : null,
      seconds: this.first ?? null,
    };
  },
};
"""


@dataclass(frozen=True)
class Look:
    """One view of one page in a window of one width."""

    page: str
    view: str
    """Empty where the page has no views."""
    width: int
    height: int
    """Pixels of the content, the sidebar left out."""
    charts: int
    top: int | None
    """Pixels from the top of the content to the first chart."""
    seconds: float | None
    """From the click on the view to the first chart drawn for it; None where there is none."""

    @property
    def name(self) -> str:
        """Page and view, as in the address."""
        return f"{self.page}?view={self.view}" if self.view else self.page

    def complaints(self) -> list[str]:
        """What exceeds a limit, in words."""
        found = []
        if self.height > HIGHEST[self.width]:
            found.append(f"{self.height} px high, at most {HIGHEST[self.width]}")
        if self.charts > MOST_CHARTS:
            found.append(f"{self.charts} charts, at most {MOST_CHARTS}")
        most = FIRST_CHART_WITHIN.get(self.width)
        if most is not None and self.top is not None and self.top > most:
            found.append(f"first chart at {self.top} px, at most {most}")
        return found


def page_files() -> list[str]:
    """The pages by their files."""
    return [file for file, *_rest in PAGES]


def looks(page: Page, url: str, file: str) -> Iterator[Look]:
    """Every view of a page in turn, chosen by a click; `HELPERS` is an init script of `page`."""
    names, _default = views(file)
    where = url + address(file)
    page.goto(f"{where}?view={list(names)[-1]}" if names else where)
    settle(page)
    if not names:
        yield _look(page, file, "")
    for name, words in names.items():
        page.evaluate("() => heights.listen()")
        choice = page.locator(".st-key-view").get_by_role("radio", name=words, exact=True)
        choice.click()
        page.wait_for_url(lambda link, name=name: f"view={name}" in link, timeout=TIMEOUT_MS)
        settle(page)
        yield _look(page, file, name)


def settle(page: Page) -> None:
    """Wait until the script has ended and every chart is drawn; `HELPERS` is an init script of `page`."""
    page.wait_for_selector("[data-testid=stMainBlockContainer] h1", timeout=TIMEOUT_MS)
    page.wait_for_function("() => heights.settled()", polling=100, timeout=TIMEOUT_MS)


def _look(page: Page, file: str, view: str) -> Look:
    assert page.viewport_size is not None
    measured = page.evaluate("() => heights.measured()")
    return Look(address(file), view, page.viewport_size["width"], **measured)
