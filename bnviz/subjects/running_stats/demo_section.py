"""The note's demo, alive: a sequence of batch means, a weight, and what a moving average makes of it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from bnviz.charts.card import Card
from bnviz.errors import ConfigError
from bnviz.i18n import _, sentences
from bnviz.records import moving_averages
from bnviz.subjects.running_stats.demo_figures import demo_curves, memory_of_an_average

MOST_BATCHES = 5000
BARS = 60
LATEST = 10
"""Batches whose weight is summed in the sentence."""
OSCILLATES = 0.01
"""Range of the last round, as a share of the largest batch mean, from which it is no convergence."""
FORGOTTEN = 0.99
"""Share of the initial value after which it counts as gone."""


@dataclass(frozen=True)
class Demo:
    """What the reader has set: batch means and the weight of the new one."""

    values: np.ndarray
    rounds: int
    momentum: float
    start: float

    @property
    def ema(self) -> np.ndarray:
        """The moving average after each batch, of shape (batches,)."""
        return self._replay(self.momentum)

    @property
    def average(self) -> np.ndarray:
        """The plain mean of all batches so far, of shape (batches,)."""
        return self._replay(None)

    def _replay(self, momentum: float | None) -> np.ndarray:
        column = self.values[:, None]
        means, _vars = moving_averages.replay(
            column, np.zeros_like(column), momentum=momentum, initial_mean=self.start
        )
        return means[:, 0]


def parse_means(text: str, rounds: int) -> np.ndarray:
    """The numbers of `text`, separated by commas or spaces, `rounds` times over.

    Raises ConfigError for anything that is no finite number, for none at all, and for too many.
    """
    words = text.replace(",", " ").split()
    numbers = []
    for word in words:
        try:
            number = float(word)
        except ValueError:
            number = np.nan
        if not np.isfinite(number):
            raise ConfigError(
                _("Batch means: got {word!r}; allowed: finite numbers with commas between.").format(
                    word=word
                )
            )
        numbers.append(number)
    if not 1 <= len(numbers) * rounds <= MOST_BATCHES:
        raise ConfigError(
            _("Batch means: got {count} in all; allowed: 1 to {most}.").format(
                count=len(numbers) * rounds, most=MOST_BATCHES
            )
        )
    return np.tile(numbers, rounds)


def controls() -> Demo:
    """The sequence, the weight and whose it is, the start value. Raises ConfigError as `parse_means`."""
    names = {
        "old": _("old value (the note's demo)"),
        "new": _("new batch (PyTorch)"),
    }
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        text = st.text_input(
            _("Batch means"), "1, 2, 3, 4, 5", key="demo_means", bind="query-params", width=260,
            help=_("Numbers with commas between: the mean of each batch, in order."),
        )  # fmt: skip
        rounds = st.number_input(
            _("Rounds"), 1, 1000, 10, key="demo_rounds", bind="query-params", width=120,
            help=_("How often the sequence is repeated."),
        )  # fmt: skip
        start = st.number_input(
            _("Initial value"), value=0.0, key="demo_start", bind="query-params", width=120,
            format="%g", help=_("What the average holds before the first batch."),
        )  # fmt: skip
        weight = st.slider(
            _("Weight w"), 0.0, 1.0, 0.9, 0.01, key="demo_weight", bind="query-params", width=240,
            help=_("Of the old value or of the new batch, as chosen next to it."),
        )  # fmt: skip
        side = st.segmented_control(
            _("w weighs the"), list(names), default="old", required=True, key="demo_side",
            bind="query-params", format_func=lambda name: names[name],
            help=_("The note writes momentum = 0.9 for both, and means something else each time."),
        )  # fmt: skip
    momentum = weight if side == "new" else round(1 - weight, 9)
    return Demo(parse_means(text, rounds), rounds, momentum, start)


def metrics(demo: Demo) -> None:
    """Lag, noise, half-life, window and what is left of the start, in numbers with their meaning."""
    m, batches = demo.momentum, len(demo.values)
    entries = (
        (
            _("Lag"),
            _("{n:.3g} batches").format(n=(1 - m) / m if m else np.inf),
            _("Mean age of what it remembers: (1 − m) / m."),
        ),
        (
            _("Noise"),
            f"{np.sqrt(moving_averages.noise(m)):.0%}",
            _(
                "Standard deviation of the average relative to that of a single batch: √(m / "
                "(2 − m))."
            ),
        ),
        (
            _("Half-life"),
            _("{n:.3g} batches").format(n=moving_averages.half_life(m)),
            _("After this many batches half of the present value is forgotten: ln ½ / ln(1 − m)."),
        ),
        (
            _("Effective window"),
            _("{n:.3g} batches").format(n=moving_averages.effective_window(m)),
            _("A plain mean of this many batches is as noisy: (2 − m) / m."),
        ),
        (
            _("Remaining weight of the initial value"),
            f"{moving_averages.start_bias(m, batches):.2%}",
            _("Weight of the initial value after {n} batches: (1 − m)ⁿ.").format(n=batches),
        ),
    )
    with st.container(horizontal=True, gap="small"):
        for label, value, text in entries:
            st.metric(label, value, border=True, help=text)
    if 0 < m < 1:
        st.caption(
            _(
                "In words: the average lags {lag:.3g} batches behind, and its standard "
                "deviation is {noise:.0%} of a single batch's, like that of a plain mean of "
                "{window:.3g} batches. The weight of a batch halves every {half:.3g} batches, "
                "and after {settled:.0f} batches {gone:.0%} of the initial value is gone."
            ).format(
                lag=(1 - m) / m,
                noise=np.sqrt(moving_averages.noise(m)),
                window=moving_averages.effective_window(m),
                half=moving_averages.half_life(m),
                settled=moving_averages.settled(m, FORGOTTEN),
                gone=FORGOTTEN,
            )
        )


def cards(demo: Demo) -> list[Card]:
    """The sequence with its averages, and the weight of each past batch."""
    ema, average = demo.ema, demo.average
    last = ema[-len(ema) // demo.rounds :]
    swings = last.max() - last.min() > OSCILLATES * max(abs(demo.values).max(), 1e-12)
    weights, left = moving_averages.ema_weights(demo.momentum, len(ema))
    return [
        Card(
            key="demo",
            title=_("A moving average follows its batches; a plain mean converges"),
            figure=demo_curves(demo.values, ema, average),
            sentence=sentences(
                _(
                    "After {n} batches the moving average is {ema:.3f}, the plain mean {mean:.3f}."
                ).format(n=len(ema), ema=ema[-1], mean=average[-1]),
                _(
                    "The moving average keeps oscillating: in the last round it goes from "
                    "{low:.3f} to {high:.3f} and ends at {end:.3f}."
                ).format(low=last.min(), high=last.max(), end=ema[-1])
                if swings
                else _(
                    "The moving average converges: in the last round it moves by less than "
                    "{share:.0%} of the largest batch mean."
                ).format(share=OSCILLATES),
            ),
            alt=_("Batch means, their moving average and their plain mean over the batches"),
            height=330,
            asked=str(demo),
        ),
        Card(
            key="memory_of_average",
            title=_("Weight of each past batch in the present value"),
            figure=memory_of_an_average(weights[:BARS]),
            sentence=_(
                "The latest batch weighs {first:.1%}, the {count} latest together {ten:.1%}; "
                "the initial value {start:g} has a weight of {left:.2%}."
            ).format(
                first=demo.momentum,
                count=LATEST,
                ten=weights[:LATEST].sum(),
                left=left,
                start=demo.start,
            ),
            alt=_("Weight of each past batch in the present value of the moving average"),
            height=330,
            asked=str(demo),
        ),
    ]


def translation(momentum: float) -> pd.DataFrame:
    """The same averaging as each library and text writes it: columns where, name, value."""
    window = moving_averages.effective_window(momentum)
    old, new = f"{1 - momentum:.6g}", f"{momentum:.6g}"
    rows = [
        (_("PyTorch"), "momentum", new, _("weight of the new batch")),
        (_("TensorFlow, Keras"), "momentum", old, _("weight of the old value")),
        (_("the note's code"), "momentum (alpha)", new, _("weight of the new batch")),
        (_("the note's demo"), "momentum", old, _("weight of the old value")),
        (
            _("the BN paper"),
            "–",
            _("{n:.3g} batches").format(n=window),
            _("gives no number; an average over this many batches is as noisy"),
        ),
    ]
    return pd.DataFrame(rows, columns=["where", "name", "value", "meaning"])


def translator(demo: Demo) -> None:
    """The table of `translation` for the present weight."""
    st.markdown(_("**The same average in other words**"))
    st.dataframe(
        translation(demo.momentum),
        hide_index=True,
        column_config={
            "where": st.column_config.TextColumn(_("in")),
            "name": st.column_config.TextColumn(_("is called")),
            "value": st.column_config.TextColumn(_("and is")),
            "meaning": st.column_config.TextColumn(_("because it is the")),
        },
    )
