"""The addresses that the browser asks by itself: figures, and what goes on in the background.

::

    GET figures                      all figures: name, title, the parameters that they need
    GET figures/<subject>/<name>     one figure of a run and a selection, see `figure_answers`
    GET states                       runs and tasks: state, progress, words; see `states`

They only read. Whom Streamlit would refuse its socket is refused here too, no other origin may read
the answers, and a bad parameter is answered by 400 and one sentence.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from streamlit.web.server.starlette.starlette_websocket import _is_origin_allowed

from bnviz.app.figure_answers import Answer, figure_answers
from bnviz.app.states import states
from bnviz.charts.registry import FIGURES
from bnviz.errors import BnvizError
from bnviz.i18n import _, in_language

LANGUAGE = "lang"
Handler = Callable[[Request], Awaitable[Response]]


def routes() -> list[BaseRoute]:
    """The routes for `st.App`; `base` is whatever prefix the app is served under."""
    return [
        Route("/{base:path}figures", _guarded(_list)),
        Route("/{base:path}figures/{subject}/{figure}", _guarded(_figure)),
        Route("/{base:path}states", _guarded(_states)),
    ]


def _guarded(handler: Handler) -> Handler:
    """Refuse strangers, and say in one sentence what is wrong with a request."""

    async def guarded(request: Request) -> Response:
        if not _is_origin_allowed(request.headers.get("origin"), request.headers.get("host")):
            return JSONResponse({"error": _("This address is not allowed here.")}, 403)
        try:
            return await handler(request)
        except BnvizError as error:
            return JSONResponse({"error": str(error)}, 400)

    return guarded


async def _list(_request: Request) -> Response:
    return JSONResponse(
        [
            {"name": entry.name, "title": _(entry.title), "needs": ["run", *entry.needs]}
            for _name, entry in sorted(FIGURES.items())
        ]
    )


async def _figure(request: Request) -> Response:
    query, language = _parameters(request)
    name = "{subject}/{figure}".format(**request.path_params)
    answer = await run_in_threadpool(figure_answers().answer, name, query, language)
    return _of(answer, request)


async def _states(request: Request) -> Response:
    query, language = _parameters(request)
    with in_language(language):
        found = states(
            query.get("run"),
            request.query_params.getlist("task"),
            request.query_params.getlist("line"),
        )
    return Response(json.dumps(found), media_type="application/json", headers=_NEVER_KEPT)


_NEVER_KEPT = {"Cache-Control": "no-cache"}


def _parameters(request: Request) -> tuple[Mapping[str, str], str]:
    """The parameters of an address without the language, and the language."""
    query: dict[str, Any] = dict(request.query_params)
    return query, query.pop(LANGUAGE, "en")


def _of(answer: Answer, request: Request) -> Response:
    """The answer as it is, compressed, or as 304 where the browser has it."""
    headers = {**_NEVER_KEPT, "ETag": answer.etag, "Vary": "Accept-Encoding"}
    if answer.again is not None:
        headers["X-Again"] = f"{answer.again:.3f}"
    if request.headers.get("if-none-match") == answer.etag:
        return Response(status_code=304, headers=headers)
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(answer.body, media_type="application/json", headers=headers)
    headers["Content-Encoding"] = "gzip"
    return Response(answer.gzipped, media_type="application/json", headers=headers)
