"""Which of a browser's messages are ticks of a page that it has left."""

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg

from bnviz.app.late_ticks import Pages


def tick(page):
    return {"page_script_hash": page, "fragment_id": "f", "is_auto_rerun": True}


def change(page):
    return {"page_script_hash": page, "fragment_id": "f"}


def click(page):
    return {"page_script_hash": page}


@pytest.mark.parametrize(
    ("said", "late"),
    [
        ([click(""), tick("a"), click("b"), tick("a"), tick("b"), tick("b")], [3]),
        ([change("a"), click("b"), tick("a"), tick("a"), click("c"), tick("b"), tick("c")], [2, 3, 5]),
        ([tick("a"), click("b"), tick("a"), tick("b"), click("a"), tick("b"), tick("a")], [2, 5]),
        ([tick("a"), click("b"), change("a"), tick("a"), tick("b")], [3]),
        ([tick("a"), click("b"), click("b"), tick("a")], []),  # by a button of b: the server sent on
        ([tick("a"), tick("b"), tick("a")], []),
        ([tick("a"), click("b"), click("c"), tick("a"), tick("b"), tick("c"), click("a"), tick("a")], [3, 4]),
    ],
    ids=["once", "twice", "there and back", "a change is kept", "sent on by the server", "no click", "two clicks"],
)  # fmt: skip
def test_ticks_of_the_page_that_was_left_are_late_until_the_other_speaks(said, late):
    pages = Pages()
    found = [pages.late(BackMsg(rerun_script=one).SerializeToString()) for one in said]
    assert [number for number, is_late in enumerate(found) if is_late] == late


def test_other_messages_are_never_late():
    pages = Pages()
    for message in (b"", b"no message", BackMsg(stop_script=True).SerializeToString()):
        assert not pages.late(message)
