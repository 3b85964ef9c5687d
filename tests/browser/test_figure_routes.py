"""The addresses that the browser asks by itself, on the real server: what they say, whom they refuse."""

import json
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
from onscreen import drawn, run_id, start_run, stop, ticks, visit

from bnviz import figures
from bnviz.charts.registry import FIGURES

figures.load()
CURVES = "figures/training/curves"
CORS = ("Access-Control-Allow-Origin", "Access-Control-Allow-Credentials")


def get(url, method="GET", **headers):
    """Status, headers and body of an answer, also of a refusal."""
    request = Request(
        url, method=method, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )
    try:
        with urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers, answer.read()
    except HTTPError as refused:
        return refused.code, refused.headers, refused.read()


def test_the_list_names_every_figure_with_its_title_and_what_it_needs(server):
    status, _headers, body = get(f"{server.url}/figures")
    assert status == 200
    listed = {entry["name"]: entry for entry in json.loads(body)}
    assert set(listed) == set(FIGURES)
    for name, entry in listed.items():
        assert set(entry) == {"name", "title", "needs"}
        assert entry["needs"] == ["run", *FIGURES[name].needs]


def test_a_figure_of_the_recorded_run_is_final_and_known_by_its_etag(server):
    status, headers, body = get(f"{server.url}/{CURVES}?run=recorded")
    document = json.loads(body)
    assert (status, document["state"], document["again"]) == (200, "ready", None)
    assert document["card"]["title"] and document["card"]["figure"]["data"]
    assert "X-Again" not in headers
    status, headers, body = get(
        f"{server.url}/{CURVES}?run=recorded", If_None_Match=headers["ETag"]
    )
    assert (status, body) == (304, b"")


def test_no_other_origin_can_read_an_answer_and_what_the_socket_refuses_is_refused(server):
    for path in ("figures", f"{CURVES}?run=recorded", "states?run=recorded"):
        own = server.url
        status, headers, _body = get(f"{own}/{path}", Origin=own)
        assert status == 200
        assert not any(name in headers for name in CORS)
        status, headers, body = get(f"{own}/{path}", Origin="https://example.org")
        assert status == 403
        assert not any(name in headers for name in CORS)
        assert json.loads(body) == {"error": "This address is not allowed here."}


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("figures/training/none", "figure: got 'training/none'"),
        (f"{CURVES}?run=nope", "run: there is no run 'nope' here"),
        (f"{CURVES}?{urlencode({'run': '../../etc/passwd'})}", "run: there is no run"),
        (f"{CURVES}?run=", "run: there is no run ''"),
        (f"{CURVES}?run=.", "run: there is no run '.'"),
        (f"{CURVES}?colour=red", "colour: no such parameter; allowed: run."),
        ("figures/activations/stages?layer=conv9", "layer: got 'conv9'; allowed: conv1"),
        ("figures/activations/stages?step=x", "step: got 'x'; allowed: a whole number"),
        ("states?task=nobody", "task: got 'nobody'"),
        ("states?line=nothing", "line: got 'nothing'"),
    ],
)
def test_nonsense_is_one_sentence_and_never_a_trace(server, path, said):
    status, _headers, body = get(f"{server.url}/{path}")
    assert status == 400
    error = json.loads(body)["error"]
    assert error.startswith(said)
    assert "Traceback" not in error and "\n" not in error


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_they_only_read(server, method):
    for path in ("figures", CURVES, "states"):
        assert get(f"{server.url}/{path}", method)[0] == 405


def test_every_figure_answers_of_the_recorded_run(server):
    for name, entry in FIGURES.items():
        query = {"run": "recorded"} | ({"layer": "fc1"} if "layer" in entry.needs else {})
        status, _headers, body = get(f"{server.url}/figures/{name}?{urlencode(query)}")
        document = json.loads(body)
        assert status == 200, name
        assert document["state"] in ("ready", "asked"), (name, document["text"])
        assert (document["card"] is not None) == (document["state"] == "ready")


def test_a_page_at_rest_asks_for_nothing(page):
    asked = []
    visit(page, "/train")
    drawn(page, "curves", "stages")
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url))
    page.wait_for_timeout(3_000)  # three times as long as the browser waits anywhere
    assert asked == []


def test_while_a_run_trains_no_script_runs_and_figures_ask_when_they_are_told_to(page, server):
    start_run(page)
    run, frames, asked = run_id(page), [], []
    page.reload()
    drawn(page, "curves")
    status, headers, body = get(f"{server.url}/{CURVES}?run={run}")
    assert status == 200
    assert float(headers["X-Again"]) == pytest.approx(json.loads(body)["again"], abs=1e-3)
    app = page.get_by_test_id("stApp")
    page.on("request", lambda request: asked.append(request.url))
    app.evaluate(
        """app => { window.runs = 0;
          new MutationObserver(() => { window.runs += 1; }).observe(
            app, { attributeFilter: ["data-test-script-state"] }); }"""
    )
    ticks(page, 4)
    frames.append(page.evaluate("window.runs"))
    assert frames == [0]
    assert any("figures/training/curves" in url for url in asked)
    stop(page)
