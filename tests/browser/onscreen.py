"""What a reader sees and does: the few moves that every browser test is made of."""

import re
import time
from urllib.parse import parse_qs, urlencode, urlsplit

from playwright.sync_api import Locator, Page, expect

VIEWS = ("curves", "stages", "running", "kept")
ENDLESS = 500_000
"""Steps of a run that a test ends itself."""

_STEP = """() => {
  const text = document.querySelector("[data-testid=state-line]")?.innerText ?? "";
  return Number((/[\\d,]+/.exec(text)?.[0] ?? "-1").replaceAll(",", ""));
}"""
_SERIES = """(plot) => plot.data.map(({ name, x, y }) =>
  ({ name, x: Array.from(x ?? []), y: Array.from(y ?? []) }))"""


def visit(page: Page, path: str = "/train", **query) -> None:
    """Open a page by its link and wait for its first figure."""
    page.goto(path + "?" * bool(query) + urlencode(query, doseq=True))
    drawn(page)
    quiet(page)


def go_to(page: Page, title: str, figure: str) -> None:
    """Change the page by its entry in the navigation, and wait for a figure that only it has."""
    page.get_by_role("link", name=title, exact=True).click()
    drawn(page, figure)


def drawn(page: Page, *charts: str) -> None:
    """Wait until these charts (else the first on the page) are drawn."""
    for selector in [f"[data-chart={name}]" for name in charts] or ["[data-chart]"]:
        expect(page.locator(f"{selector} .main-svg").first).to_be_visible(timeout=20_000)


def quiet(page: Page) -> None:
    """Wait until the script of a page that does not tick has come to its end."""
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")


def widget(page: Page, key: str) -> Locator:
    """What Streamlit shows for the widget of that key."""
    return page.locator(f".st-key-{key}")


def button(page: Page, key: str) -> Locator:
    """The button of that key; the copy without a help text that Streamlit hides is left out."""
    return widget(page, key).get_by_role("button")


def slider(page: Page, key: str) -> Locator:
    """The handle of the slider of that key."""
    return widget(page, key).get_by_role("slider")


def press(page: Page, key: str, *keys: str) -> None:
    """Move a slider as a keyboard does."""
    for name in keys:
        slider(page, key).press(name)


def look_at(page: Page, view: str, *charts: str) -> None:
    """Choose a view of the page by its words, and wait for its figures."""
    widget(page, "view").get_by_role("radio", name=view, exact=True).click()
    drawn(page, *charts)


def chart(page: Page, name: str) -> Locator:
    """The plotly node of a chart."""
    return page.locator(f"[data-chart={name}]")


def sentence(page: Page, name: str) -> Locator:
    """What a chart's card says in words."""
    return page.locator(f"[data-card={name}] figcaption")


def series(page: Page, name: str) -> list[dict]:
    """The series of a chart as they are drawn: name, x, y."""
    return chart(page, name).evaluate(_SERIES)


def wait_for_series_other_than(page: Page, name: str, before: list[dict]) -> None:
    """Wait until a chart, whichever node it is by then, shows other numbers than `before`."""
    until = time.monotonic() + 30
    while series(page, name) == before:
        assert time.monotonic() < until, f"{name} stayed as it was"
        page.wait_for_timeout(100)  # polling a page


def step(page: Page) -> int:
    """The step number on screen, -1 where there is none."""
    return page.evaluate(_STEP)


def wait_for_step_after(page: Page, before: int, timeout: float = 30_000) -> int:
    """Wait for a larger step number; returns it."""
    return page.wait_for_function(
        f"(before) => {{ const now = ({_STEP})(); return now > before && now; }}",
        arg=before,
        timeout=timeout,
    ).json_value()


def ticks(page: Page, count: int) -> None:
    """Wait until a live page has moved on so many times."""
    for _ in range(count):
        wait_for_step_after(page, step(page))


def run_id(page: Page) -> str:
    """The chosen run, as the link says it."""
    return parse_qs(urlsplit(page.url).query).get("run", ["recorded"])[0]


def expect_state(page: Page, name: str, timeout: float = 20_000) -> None:
    """Wait for the badge beside the controls."""
    badge = widget(page, "controls").locator(".stMarkdownBadge")
    expect(badge).to_have_text(re.compile(rf"\b{name}$"), timeout=timeout)


def start(page: Page) -> str:
    """Press Start and wait for the first steps; returns the run's id."""
    before = page.url
    button(page, "start").click()
    page.wait_for_url(lambda url: "run=" in url and url != before)
    wait_for_step_after(page, 0)
    return run_id(page)


def start_run(page: Page, steps: int = ENDLESS, **settings) -> str:
    """Open Train with a link that sets up a run on the small data set, and start it."""
    visit(page, "/train", steps=steps, dataset="fashion-mnist-sample", **settings)
    return start(page)


def stop(page: Page) -> None:
    """Press Stop and wait until the page has settled."""
    button(page, "stop").click()
    expect_state(page, "stopped")
    expect(button(page, "stop")).to_be_disabled()


def messages(page: Page) -> Locator:
    """The boxes with errors, warnings and notes."""
    return page.get_by_test_id("stAlert")
