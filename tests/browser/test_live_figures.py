"""Cards that come and go, as the component does it, without a page's script around them."""

import re
from importlib.resources import files

import pytest
from onscreen import chart, visit

CARD = {
    "title": "",
    "sentence": "",
    "alt": "",
    "height": 200,
    "asked": "",
    "pickable": False,
    "wide": False,
    "figure": {"data": [{"y": [1, 2, 3]}], "layout": {}},
}
MESSAGE = {
    "plotly": "assets/plotly.min.js",
    "revision": "",
    "palette": {"light": {}, "dark": {}},
    "texts": {"group": "", "csv": "", "csv_hint": "", "page": "", "page_hint": ""},
    "card_width": 300,
    "follows": {},
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


# Called again and again, as Streamlit does it; `told` is what the first call sets up.
_SHOW = """async ([script, message]) => {
  const { default: show } = await import(URL.createObjectURL(
    new Blob([script], { type: "text/javascript" })));
  await window.bnvizPlotly;
  const parentElement = document.createElement("div");
  parentElement.style.cssText = "position: fixed; inset: 0; z-index: 1000000; background: white";
  document.body.append(parentElement);
  window.tell = (data) => show({ data, parentElement, setTriggerValue: () => {} });
  window.tell(message);
}"""
_ARE_VISIBLE = """([plot, expected]) => {
  const found = Object.fromEntries(
    plot.data.map(({ name, visible }) => [name, visible ?? true]));
  return Object.keys(found).length === Object.keys(expected).length
    && Object.entries(expected).every(([name, visible]) => found[name] === visible);
}"""


def message(*keys, **card):
    return MESSAGE | {"cards": [CARD | {"key": key} | card for key in keys]}


def script():
    return files("bnviz.app.live").joinpath("live.js").read_text()


def lines(**groups):
    """A figure with a line for each name, which goes with the group that is told."""
    data = [{"name": n, "legendgroup": g, "y": [1, 2]} for n, g in groups.items()]
    return {"data": data, "layout": {"showlegend": True}}


def tell(page, message):
    """Send the next message, and wait until its figure is drawn."""
    page.evaluate("message => window.tell(message)", message)
    layout = message["cards"][0]["figure"]["layout"]
    drawn = """([plot, revision, height]) =>
      plot.layout.uirevision === revision && (plot.layout.height ?? null) === height"""
    plot = chart(page, "own").element_handle()
    page.wait_for_function(drawn, arg=[plot, message["revision"], layout.get("height")])


def expect_visible(plot, **expected):
    """Wait until exactly these series are there, each visible (True) or left to its legend entry."""
    page, node = plot.page, plot.element_handle()
    page.wait_for_function(_ARE_VISIBLE, arg=[node, expected], timeout=5_000)


def click_legend(plot, name):
    plot.locator(".traces", has_text=re.compile(f"^{name}$")).locator(".legendtoggle").click()


@pytest.mark.parametrize("then", [None, message("second")], ids=["the page", "the card"])
def test_a_chart_may_be_taken_away_while_plotly_draws_it(page, then):
    """Nothing that plotly has still to do with it fails for want of the chart (`page` hears it)."""
    visit(page, "/train")
    left = [page.evaluate(_LEAVE, [script(), message("first"), then, turns]) for turns in TURNS]
    assert not any(one["shown"] or one["held"] for one in left)
    assert {one["drawn"] for one in left} == {False, True}


def test_a_series_that_comes_later_goes_with_its_group(page):
    visit(page, "/train")
    page.evaluate(_SHOW, [script(), message("own", figure=lines(loss="a", other="b"))])
    plot = chart(page, "own")
    later = lines(loss="a", other="b", accuracy="a", others="b")
    taller = later | {"layout": {**later["layout"], "height": 300}}
    all_of_them = dict.fromkeys(("loss", "other", "accuracy", "others"), True)
    without_a = all_of_them | {"loss": "legendonly", "accuracy": "legendonly"}

    click_legend(plot, "loss")
    tell(page, message("own", figure=later))
    expect_visible(plot, **without_a)
    tell(page, message("own", figure=taller))
    expect_visible(plot, **without_a)

    click_legend(plot, "accuracy")
    expect_visible(plot, **all_of_them)
    tell(page, message("own", figure=later))
    expect_visible(plot, **all_of_them)

    click_legend(plot, "others")
    expect_visible(plot, **all_of_them | {"other": "legendonly", "others": "legendonly"})
    tell(page, message("own", figure=later) | {"revision": "another run"})
    expect_visible(plot, **all_of_them)
