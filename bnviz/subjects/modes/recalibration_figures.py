"""Eval mode before and after its statistics were replaced."""

from bnviz.charts.marks import Figure, drawing
from bnviz.charts.theme import axis, colour
from bnviz.i18n import _


def before_and_after(before: float, after: float, variant: str) -> Figure:
    """Two bars: accuracy in eval mode (0 to 1) with the layers' own statistics and with the recalibrated."""
    return drawing(
        [
            {
                "type": "bar",
                "x": [100 * before, 100 * after],
                "y": [_("the layers' own"), _("recalibrated")],
                "orientation": "h",
                "marker": {"color": [colour(variant, 0.4), colour(variant, 0.9)]},
                "text": [f"{before:.1%}", f"{after:.1%}"],
                "textposition": "auto",
                "hovertemplate": "%{y}: %{x:.2f}%<extra></extra>",
                "name": _("eval mode"),
                "showlegend": False,
            }
        ],
        {
            "xaxis": axis("accuracy", range=[0, 100]),
            "yaxis": {"autorange": "reversed", "automargin": True, "type": "category"},
        },
    )
