"""One real server for all browser tests, and ears for what goes wrong silently."""

import re
import time
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import TimeoutError

from scripts.serving import serving

HERE = Path(__file__).parent
# Streamlit looks for its own addresses below the page's path first when a subpage is opened.
PROBES = re.compile(
    r"/(train|activations|running-stats|train-vs-eval|memory|anatomy|note)/"
    r"_stcore/(health|host-config)$"
)
# Ctrl+C ends the server in good order, and streamlit's command line then says 1 for it. A thread
# left inside torch would make it -6.
INTERRUPTED = 1


@pytest.hookimpl(trylast=True)  # after pytest has sorted by the scope of fixtures
def pytest_collection_modifyitems(items):
    """Browser tests come last: playwright's event loop stays open from its first test on."""
    items.sort(key=lambda item: HERE in item.path.parents)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The app. Nothing that it does may raise, and it must end at once when it is asked to."""
    with serving(tmp_path_factory.mktemp("served")) as app:
        yield app
        status = app.end()
    log = app.log.read_text()
    assert status == INTERRUPTED, log
    assert "Uncaught" not in log, log


@pytest.fixture(scope="session")
def base_url(server):
    return server.url


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args, chromium):
    return {
        **browser_type_launch_args,
        **({"executable_path": chromium} if chromium else {}),
        "args": ["--disable-background-networking", "--no-first-run"],
    }


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args):
    return {**browser_context_args, "viewport": {"width": 1440, "height": 1250}}


@pytest.fixture
def new_context(new_context):
    """Browser contexts in which an error in the console or an exception box fails the test."""
    errors, contexts = [], []

    def hear(message):
        if message.type == "error" and not PROBES.search(message.location["url"]):
            errors.append(f"{message.text} ({message.location['url']})")

    def make(**settings):
        context = new_context(**settings)
        context.set_default_timeout(20_000)
        context.on("console", hear)
        context.on("weberror", lambda raised: errors.append(str(raised.error)))
        contexts.append(context)
        return context

    yield make
    for page in (page for context in contexts for page in context.pages):
        errors += page.get_by_test_id("stException").all_inner_texts()
    assert not errors


@pytest.fixture(autouse=True)
def one_run_at_a_time(server, new_context):
    """A run that a test leaves behind would keep the next one in the queue."""
    yield
    until = time.monotonic() + 90
    while left := unfinished(server.runs):
        assert time.monotonic() < until, f"{left} went on"
        page = new_context().new_page()
        page.goto(f"/train?run={left[0]}")
        with suppress(TimeoutError):  # it may end by itself before the click
            page.locator(".st-key-stop").get_by_role("button").click(timeout=10_000)
        page.wait_for_timeout(500)  # polling the run's folder
        page.context.close()


def unfinished(folder):
    """Ids of the stored runs that have not come to their end."""
    runs = (run.parent for run in folder.glob("*/config.json"))
    return [run.name for run in runs if not (run / "summary.json").exists()]
