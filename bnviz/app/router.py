"""Page settings, the link that a visitor came by, and the navigation; the script of each visit.

This file and not app.py is the script because Streamlit takes a folder ``pages`` beside the script
for its older way of making pages, which ignores `st.navigation` on the first visit.
"""

from pathlib import Path

import streamlit as st
from streamlit.navigation.page import StreamlitPage
from streamlit.runtime.scriptrunner import get_script_run_ctx

from bnviz import i18n
from bnviz.app.controls import keep_selection
from bnviz.app.runs import RUN_KEY, run_names
from bnviz.config import RunConfig, good_fields
from bnviz.i18n import N_, _
from bnviz.records.store import RECORDED_ID

FOLDER = Path(__file__).parents[2] / "pages"
# File in pages/, title, icon, what the page answers. The first is the start page.
PAGES = (
    (
        "home",
        N_("Home"),
        ":material/home:",
        N_("What Batch Normalization does, in three sentences and one figure."),
    ),
    (
        "train",
        N_("Train"),
        ":material/monitoring:",
        N_("Train with a hand-written and the built-in BatchNorm and watch every view."),
    ),
    (
        "activations",
        N_("Activations"),
        ":material/area_chart:",
        N_("What BN does to the activations over a run, step by step, and how far they move."),
    ),
    (
        "running_stats",
        N_("Running statistics"),
        ":material/query_stats:",
        N_("Which average BN should keep: replayed, compared and evaluated on the chosen run."),
    ),
    (
        "train_vs_eval",
        N_("Train vs eval"),
        ":material/compare_arrows:",
        N_("The same test images through both modes of the same weights."),
    ),
    (
        "memory",
        N_("Memory"),
        ":material/memory:",
        N_(
            "What a training loop keeps alive: predicted, measured, traced to what holds it, "
            "and released."
        ),
    ),
    (
        "anatomy",
        N_("Anatomy"),
        ":material/calculate:",
        N_(
            "One batch that you can edit, step by step forward and backward, and what BN "
            "leaves unchanged."
        ),
    ),
    (
        "note",
        N_("The note"),
        ":material/sticky_note_2:",
        N_(
            "A learner's blog post that this tool reproduces: its three open questions "
            "answered, and each of its quirks (what it does differently from torch) switched "
            "on alone."
        ),
    ),
)


def page(name: str) -> StreamlitPage:
    """The page of that file name."""
    for file, title, icon, help_text in PAGES:
        if file == name:
            return st.Page(
                FOLDER / f"{file}.py",
                title=_(title),
                icon=icon,
                help=_(help_text),
                url_path="" if file == PAGES[0][0] else file.replace("_", "-"),
                default=file == PAGES[0][0],
            )
    raise KeyError(name)


def check_link() -> list[str]:
    """Set the language and check the link, once a session; returns what was not taken from it."""
    i18n.set_language_source(_language)
    if "link_checked" in st.session_state:
        return []
    st.session_state["link_checked"] = True
    fields, notes = good_fields({k: ",".join(st.query_params.get_all(k)) for k in st.query_params})
    config = RunConfig.parse(**{k: fields[k] for k in ("momentum", "eps") if k in fields})
    st.session_state["link_momentum"], st.session_state["link_eps"] = config.momentum, config.eps
    wanted = st.query_params.get(RUN_KEY, RECORDED_ID)
    if wanted not in run_names():
        notes.append(
            _("run: there is no run {run!r} here; showing the recorded one.").format(run=wanted)
        )
    return notes


def _language() -> str:
    if get_script_run_ctx(suppress_warning=True) is None:
        return "en"  # a training thread has no URL
    return st.query_params.get("lang", "en")


def main() -> None:
    """Run the page that the visitor asked for."""
    st.set_page_config(page_title="bnviz", page_icon="📊", layout="wide", initial_sidebar_state=330)
    notes = check_link()
    keep_selection()
    chosen = st.navigation([page(name) for name, *_rest in PAGES], position="top")
    with st.container():  # always there, so that what follows keeps its place
        for note in notes:
            st.warning(_("From the link, not taken: {note}").format(note=note))
    chosen.run()


if __name__ == "__main__":
    main()
