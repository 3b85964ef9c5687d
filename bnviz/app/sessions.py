"""Which page of which visitor this is, and whether it is still open.

Streamlit's page on threads (https://docs.streamlit.io/develop/concepts/design/multithreading) names
the context of a script run; the runtime knows which sessions have a browser.
"""

from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx


def session_id() -> str:
    """Of the page that runs now; empty outside of a page."""
    context = get_script_run_ctx(suppress_warning=True)
    return "" if context is None else context.session_id


def is_connected(session: str) -> bool:
    """Whether a browser still has that page open, also in a tab out of sight. From any thread."""
    return runtime.exists() and runtime.get_instance().is_active_session(session)
