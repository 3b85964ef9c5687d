"""What the running statistics of a run keep alive, as one card."""

from bnviz.app.runs import RunView
from bnviz.charts.card import HEIGHT, Card
from bnviz.i18n import _
from bnviz.records.reading import memory_curves, process_curve
from bnviz.subjects.memory.kept_figures import memory_over_steps
from bnviz.units import MIB


def memory_card(run: RunView) -> Card:
    """What running statistics keep alive, and the process."""
    kept = {v: memory_curves(run.history, v) for v in run.config.variants}
    parts = [
        _("{label} keeps {bytes:,.1f} MiB and {nodes:,} graph nodes alive").format(
            label=run.labels[v],
            bytes=frame["kept_bytes"].iloc[-1] / MIB,
            nodes=int(frame["graph_nodes"].iloc[-1]),
        )
        for v, frame in kept.items()
        if len(frame)
    ]
    return Card(
        key="memory",
        title=_("What the running statistics keep alive"),
        figure=memory_over_steps(
            kept,
            process_curve(run.history),
            run.labels,
            run.history.events,
            run.config.memory_limit_mib,
        ),
        sentence="; ".join(parts) + "." if parts else _("The first count comes after ten steps."),
        alt=_("Tensor bytes kept, graph nodes and process memory over the steps"),
        height=HEIGHT,
    )
