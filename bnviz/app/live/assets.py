"""The one file the browser needs besides the page: plotly.js of the installed plotly package.

It is 4.8 MB, so it is a route with a version in its address, fetched once and kept by the
browser, and never part of a message. Nothing is copied and nothing comes from a CDN. Each page
names it in a header, so that the browser fetches it while Streamlit's own scripts start.
"""

import gzip
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import plotly
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_FILE = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
_NAME = "assets/plotly.min.js"

# Relative to the page, which is always one level below the app's root, so it holds under
# `server.baseUrlPath` and behind a proxy with a prefix of its own.
PLOTLY_URL = f"{_NAME}?v={plotly.__version__}"


def routes() -> list[BaseRoute]:
    """Return the routes for `st.App`; `base` is whatever prefix the app is served under."""
    return [Route(f"/{{base:path}}{_NAME}", _plotly_js)]


def middleware() -> list[Middleware]:
    """Return the middleware for `st.App`."""
    return [Middleware(_Preload)]


class _Preload:
    """Adds a header to each HTML page that names the drawing library."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_header(message: Message) -> None:
            if message["type"] == "http.response.start" and _is_html(message["headers"]):
                link = f"<{PLOTLY_URL}>; rel=preload; as=script"
                message["headers"] = [*message["headers"], (b"link", link.encode())]
            await send(message)

        await self._app(scope, receive, with_header)


def _is_html(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(k.lower() == b"content-type" and v.startswith(b"text/html") for k, v in headers)


def _plotly_js(request: Request) -> Response:
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return FileResponse(_FILE, media_type="text/javascript", headers=headers)
    headers["Content-Encoding"] = "gzip"
    return Response(_compressed(), media_type="text/javascript", headers=headers)


@cache
def _compressed() -> bytes:
    return gzip.compress(_FILE.read_bytes(), compresslevel=6)
