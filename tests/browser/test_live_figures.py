"""Cards that come and go, as the component does it, without a page's script around them."""

from importlib.resources import files

import pytest
from onscreen import visit

CARD = {
    "title": "",
    "sentence": "",
    "alt": "",
    "height": 200,
    "asked": "",
    "pickable": False,
    "wide": False,
    "figure": {"data": [{"y": [1, 2, 3]}], "layout": {}},
    "follows": "",
    "previews": {},
}
MESSAGE = {
    "plotly": "assets/plotly.min.js",
    "revision": "",
    "palette": {"light": {}, "dark": {}},
    "texts": {"group": "", "csv": "", "csv_hint": "", "page": "", "page_hint": ""},
    "card_width": 300,
}

# As many turns of the microtask queue as are told pass between the message and the leave. The
# last wait is long enough for plotly's delayed resize (100 ms) to find its chart gone.
_LEAVE = """async ([script, message, then, turns]) => {
  const { default: show } = await import(URL.createObjectURL(
    new Blob([script], { type: "text/javascript" })));
  await window.bnvizPlotly;
  const parentElement = document.createElement("div");
  document.body.append(parentElement);
  const told = { parentElement, setTriggerValue: () => {} };
  const gone = show({ data: message, ...told });
  const plot = parentElement.querySelector("[data-chart=first]");
  for (let turn = 0; turn < turns; turn++) await null;
  const drawn = Boolean(plot.querySelector(".main-svg"));
  if (then) show({ data: then, ...told });
  else gone();
  await new Promise((ready) => setTimeout(ready, 200));
  return { drawn, shown: plot.isConnected, held: Boolean(plot._fullLayout) };
}"""
# plotly has spoken its last word on a chart by then: it takes some turns, all before any timer.
TURNS = range(16)


def message(*keys):
    return MESSAGE | {"cards": [CARD | {"key": key} for key in keys]}


@pytest.mark.parametrize("then", [None, message("second")], ids=["the page", "the card"])
def test_a_chart_may_be_taken_away_while_plotly_draws_it(page, then):
    """Nothing that plotly has still to do with it fails for want of the chart (`page` hears it)."""
    visit(page, "/train")
    script = files("bnviz.ui.live").joinpath("live.js").read_text()
    left = [page.evaluate(_LEAVE, [script, message("first"), then, turns]) for turns in TURNS]
    assert not any(one["shown"] or one["held"] for one in left)
    assert {one["drawn"] for one in left} == {False, True}
