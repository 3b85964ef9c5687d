"""bnviz: start with ``streamlit run app.py``."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import streamlit as st

from bnviz import figures
from bnviz.app import router, routes
from bnviz.app.live import assets
from bnviz.subjects.memory.experiment_runner import lab
from bnviz.training.process import jobs, measurements


@asynccontextmanager
async def stop_training_at_the_end(_app: st.App) -> AsyncIterator[None]:
    """A thread inside torch must not outlive the server, whichever signal ends it."""
    yield
    jobs().stop_all()
    measurements().end_all()
    lab().end()


figures.load()

# Streamlit's AppTest runs this file itself; a server only takes `app` from it.
if __name__ == "__main__":
    router.main()
else:
    app = st.App(
        router.__file__,
        routes=[*assets.routes(), *routes.routes()],
        middleware=assets.middleware(),
        lifespan=stop_training_at_the_end,
    )
