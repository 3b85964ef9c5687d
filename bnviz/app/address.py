"""The address of a page: a control writes only what changes."""

import streamlit as st


def put_in_address(key: str, ids: list[str]) -> None:
    """Write `ids` under `key`, take it out where there are none, and write nothing that stands there.

    Each write sends the whole address as this script began with it, which takes back what a bound
    widget has put there in the meantime.
    """
    if st.query_params.get_all(key) == ids:
        return
    if ids:
        st.query_params[key] = ids
    else:
        st.query_params.pop(key)
