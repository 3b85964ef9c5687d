"""bnviz: start with ``streamlit run app.py``."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import streamlit as st
from starlette.middleware import Middleware

from bnviz.app import router
from bnviz.app.late_ticks import DropLateTicks
from bnviz.app.live.assets import middleware, routes
from bnviz.app.registry import jobs
from bnviz.app.task_panel import end_measurements
from bnviz.subjects.memory.sections import lab


@asynccontextmanager
async def stop_training_at_the_end(_app: st.App) -> AsyncIterator[None]:
    """A thread inside torch must not outlive the server, whichever signal ends it."""
    yield
    jobs().stop_all()
    end_measurements()
    lab().end()


# Streamlit's AppTest runs this file itself; a server only takes `app` from it.
if __name__ == "__main__":
    router.main()
else:
    app = st.App(
        router.__file__,
        routes=routes(),
        middleware=[*middleware(), Middleware(DropLateTicks)],
        lifespan=stop_training_at_the_end,
    )
