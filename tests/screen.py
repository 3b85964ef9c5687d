"""What AppTest shows of a page: its cards, whichever board they stand on."""

import json
from typing import Any

from streamlit.testing.v1 import AppTest

from tests.paths import ROOT


def new_app(timeout: float = 60, **query: str) -> AppTest:
    """The app as a visitor opens it, by a link with these parameters."""
    app = AppTest.from_file(ROOT / "app.py", default_timeout=timeout)
    for name, value in query.items():
        app.query_params[name] = value
    return app


def go(app: AppTest, page: str, view: str | None = None) -> AppTest:
    """Open a page, and a view of it."""
    app.run()
    app.switch_page(f"pages/{page}.py").run()
    return look_at(app, view) if view is not None else app


def look_at(app: AppTest, view: str) -> AppTest:
    """Choose a view of the page."""
    app.segmented_control(key="view").set_value(view)
    return app.run()


def cards(app: AppTest) -> dict[str, dict[str, Any]]:
    """Key to card as the browser gets it."""
    data = [json.loads(element.proto.json) for element in app.get("bidi_component")]
    return {card["key"]: card for each in data for card in each.get("cards", ())}
