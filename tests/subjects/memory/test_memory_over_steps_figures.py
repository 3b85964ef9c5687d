"""The memory chart of a run says which memory of the process it shows."""

import pandas as pd
import plotly.graph_objects as go
import pytest

from bnviz.subjects.memory.memory_over_steps_figures import memory_over_steps

MIB = 2**20


@pytest.mark.parametrize(
    ("quantity", "name"), [("own", "process memory"), ("rss", "process RSS")], ids=["own", "rss"]
)
def test_the_process_panel_is_named_after_what_was_recorded(quantity, name):
    kept = pd.DataFrame({"step": [1, 2], "kept_bytes": [0, MIB], "graph_nodes": [0, 10]})
    process = pd.DataFrame(
        {"step": [1, 2], quantity: [3 * MIB, 5 * MIB], "device_allocated": 0, "device_reserved": 0}
    )
    made = go.Figure(memory_over_steps({"note": kept}, process, {"note": "Note's BN"}, [], 1024))
    (line,) = [trace for trace in made.data if trace.name.startswith("process")]
    assert (line.name, list(line.y)) == (name, [3, 5])
    assert name in made.layout.yaxis3.title.text
