"""Between a click on another page and the server's answer, what the page before still says.

A fragment with `run_every` asks for its tick by the page that the browser shows. If one comes right
behind the click, Streamlit 1.67 makes one request of both, takes the page of the later one, and the
reader stays where he was. Such ticks are dropped here, before Streamlit hears of them: their
page was left.
"""

from google.protobuf.message import DecodeError
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit.proto.BackMsg_pb2 import BackMsg


class DropLateTicks:
    """ASGI middleware: each connection of a browser without the ticks of pages that were left."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        pages = Pages()

        async def in_time() -> Message:
            while True:
                message = await receive()
                if not pages.late(message.get("bytes") or b""):
                    return message

        await self._app(scope, in_time, send)


class Pages:
    """The page that a browser has asked for, and those that it has just left, as its messages say."""

    def __init__(self) -> None:
        self._page, self._left = "", set[str]()

    def late(self, message: bytes) -> bool:
        """Whether `message`, a serialized BackMsg, is a tick of a page that was left."""
        try:
            said = BackMsg.FromString(message).rerun_script
        except DecodeError:  # Streamlit says so itself, and goes on
            return False
        page, of_fragment = said.page_script_hash, bool(said.fragment_id)
        if of_fragment and page in self._left:
            return said.is_auto_rerun
        if page:
            if of_fragment or page == self._page:
                self._left.clear()  # the browser shows it by now
            else:
                self._left = (self._left | {self._page}) - {page}
            self._page = page
        return False
