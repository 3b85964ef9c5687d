"""bnviz: start with ``streamlit run app.py``. The router: page settings and navigation, no more."""

import streamlit as st

from bnviz.i18n import _
from bnviz.ui import state
from bnviz.ui.live.assets import routes

app = st.App(__file__, routes=routes())


def main() -> None:
    """Page settings, the link, navigation."""
    st.set_page_config(page_title="bnviz", page_icon="📊", layout="wide")
    notes = state.begin()
    page = st.navigation(
        [
            st.Page(
                "pages/home.py", title=_("Home"), icon=":material/home:", default=True,
                help=_("What Batch Normalization does, in three sentences and one figure."),
            ),
            st.Page(
                "pages/train.py", title=_("Train"), icon=":material/monitoring:", url_path="train",
                help=_("Train with a hand-written and the built-in BatchNorm and watch."),
            ),
            st.Page(
                "pages/train_vs_eval.py", title=_("Train vs eval"), icon=":material/compare_arrows:",
                url_path="train-vs-eval", help=_("The same images through both modes of BN."),
            ),
        ],
        position="top",
    )  # fmt: skip
    for note in notes:
        st.warning(_("From the link, not taken: {note}").format(note=note))
    page.run()


# `streamlit run` imports this file to find `app`, then runs it as the script of each visitor.
if __name__ == "__main__":
    main()
