"""A page is left while it ticks: what it says last must not call the reader back."""

import re

from onscreen import drawn, start_run, stop
from playwright.sync_api import expect
from streamlit.proto.BackMsg_pb2 import BackMsg


def test_a_tick_that_comes_behind_a_click_on_another_page_does_not_undo_it(page):
    """The browser ticks on until the server has answered; here a tick follows at once, each time."""
    ticks, sent_behind = [], []

    def between(socket):
        server = socket.connect_to_server()

        def heard(message):
            server.send(message)
            said = BackMsg.FromString(message).rerun_script
            if said.is_auto_rerun:
                ticks.append(message)
            elif ticks and not said.fragment_id:
                server.send(ticks[-1])
                sent_behind.append(said.page_script_hash)

        socket.on_message(heard)

    page.route_web_socket(re.compile("_stcore/stream"), between)
    start_run(page, variants="builtin")
    for title, figure in (("Memory", "leak"), ("Activations", "stages"), ("Train", "curves")) * 2:
        page.get_by_role("link", name=title, exact=True).click()
        drawn(page, figure)
        expect(page.get_by_role("heading", name=title, level=1)).to_be_visible()
    assert len(sent_behind) == 6
    stop(page)
