"""Places that lean on a detail of Streamlit 1.67. When one of these fails, the place can be simpler."""

import inspect
from pathlib import Path

import streamlit
from streamlit.testing.v1 import AppTest
from streamlit.web.server.starlette import starlette_websocket

ASSETS = Path(streamlit.__file__).parent / "static"


def test_the_check_of_origins_is_still_private_and_takes_origin_and_host():
    """`bnviz.app.routes` refuses whom Streamlit refuses its socket, by Streamlit's own function."""
    parameters = inspect.signature(starlette_websocket._is_origin_allowed).parameters
    assert list(parameters) == ["origin", "host"]


def two_pages():
    import streamlit as st

    def first():
        st.segmented_control("layer", ["a", "b"], key="layer")

    def second():
        st.write("layer" in st.session_state)

    st.navigation([st.Page(first), st.Page(second)]).run()


def test_a_widget_s_value_is_still_forgotten_between_pages():
    """`bnviz.app.controls.keep_selection` keeps it; without the fault it may go."""
    app = AppTest.from_function(two_pages).run()
    app.segmented_control(key="layer").set_value("b").run()
    assert app.session_state["layer"] == "b"
    source = inspect.getsource(streamlit.runtime.state.session_state)
    assert "_remove_stale_widgets" in source


def test_a_folder_of_pages_beside_the_script_still_makes_the_older_navigation():
    """Why the script of a visit is bnviz/app/router.py and not app.py."""
    source = inspect.getsource(streamlit.runtime.scriptrunner.script_runner)
    assert "_mpa_v1" in source


def test_a_chart_of_streamlit_is_still_identified_by_its_whole_figure():
    """Why figures are drawn by a component: `st.plotly_chart` remounts a chart at each new number."""
    from streamlit.elements import plotly_chart

    source = inspect.getsource(plotly_chart)
    assert "compute_and_register_element_id" in source and "plotly_spec=" in source
