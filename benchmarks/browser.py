"""Chromium for the benchmarks, and what they ask of a chart in the page."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, sync_playwright

VIEWPORT = {"width": 1440, "height": 1250}  # all four views of the Train page are in sight
# Defined in each page: the plotly node of a chart, also inside a shadow root, and its revision.
HELPERS = """
window.bench = {
  chart(key) {
    if (this[key]?.isConnected) return this[key];
    const find = (root) => {
      const found = root.querySelector(key ? `[data-chart=${key}]` : "[data-chart]");
      if (found) return found;
      for (const node of root.querySelectorAll("*")) {
        const deeper = node.shadowRoot && find(node.shadowRoot);
        if (deeper) return deeper;
      }
      return null;
    };
    return (this[key] = find(document));
  },
  drawn(key) {
    const plot = this.chart(key);
    return Boolean(plot?.querySelector(".main-svg") && plot.data.some((t) => (t.x ?? t.y)?.length));
  },
  revision(key) { return this.chart(key)?.layout?.uirevision; },
  steps() {
    const text = document.querySelector("[data-testid=state-line]")?.innerText ?? "";
    return Number((/[\\d,]+/.exec(text)?.[0] ?? "0").replaceAll(",", ""));
  },
};
"""

# Given a chart's key and how series are named that an arrow key changes: milliseconds from each key
# to the first frame in which they are others, in `bench.latencies`.
LISTEN = """([key, text]) => {
  bench.latencies = [];
  const shown = () => JSON.stringify(bench.chart(key)?.data
    ?.filter((t) => t.name?.startsWith(text)).map((t) => [t.name, ...Array.from(t.x ?? []), ...Array.from(t.y ?? [])]));
  bench.listener && document.removeEventListener("keydown", bench.listener, { capture: true });
  bench.listener = (event) => {
    if (!event.key.startsWith("Arrow")) return;
    const before = shown();
    const look = () => {
      if (shown() === before) return requestAnimationFrame(look);
      bench.latencies.push(performance.now() - event.timeStamp);
    };
    requestAnimationFrame(look);
  };
  document.addEventListener("keydown", bench.listener, { capture: true });
}"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium, else playwright's own."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--disable-background-networking", "--no-first-run"]
        )
        try:
            yield browser
        finally:
            browser.close()


def new_page(browser: Browser) -> Page:
    """A page in a context of its own, with nothing cached."""
    page = browser.new_context(viewport=VIEWPORT).new_page()
    page.set_default_timeout(60_000)
    page.add_init_script(HELPERS)
    return page


def view(page: Page, words: str) -> None:
    """Choose a view of the page by its words."""
    page.locator(".st-key-view").get_by_role("radio", name=words, exact=True).click()


def button(page: Page, key: str) -> None:
    """Click the button of that key."""
    page.locator(f".st-key-{key}").get_by_role("button").click()
