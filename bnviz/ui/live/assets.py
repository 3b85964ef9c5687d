"""The one file the browser needs besides the page: plotly.js of the installed plotly package.

It is 4.8 MB, so it is a route with a version in its address, fetched once and kept by the
browser, and never part of a message. Nothing is copied and nothing comes from a CDN.
"""

import gzip
from functools import cache
from pathlib import Path

import plotly
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

_FILE = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
_NAME = "assets/plotly.min.js"

# Relative to the page, which is always one level below the app's root, so it holds under
# `server.baseUrlPath` and behind a proxy with a prefix of its own.
PLOTLY_URL = f"{_NAME}?v={plotly.__version__}"


def routes() -> list[BaseRoute]:
    """Return the routes for `st.App`; `base` is whatever prefix the app is served under."""
    return [Route(f"/{{base:path}}{_NAME}", _plotly_js)]


def _plotly_js(request: Request) -> Response:
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return FileResponse(_FILE, media_type="text/javascript", headers=headers)
    headers["Content-Encoding"] = "gzip"
    return Response(_compressed(), media_type="text/javascript", headers=headers)


@cache
def _compressed() -> bytes:
    return gzip.compress(_FILE.read_bytes(), compresslevel=6)
