"""What the ablation says: differences beside chance, and a sentence for each quirk."""

from typing import Any

import numpy as np
import pandas as pd

from bnviz.evaluation.chance import CONFIDENCE, half_width
from bnviz.i18n import N_, _
from bnviz.subjects.note.quirk_settings import NONE
from bnviz.units import MIB

NOISY = (
    "train_loss", "eval_accuracy", "train_accuracy", "printed_accuracy", "mean_drift", "var_drift",
    "ms",
)  # fmt: skip
"""Measures that differ from seed to seed."""
EXACT = ("loss_factor", "accuracy_factor", "kept_bytes", "reload_change")
"""Measures in which no chance takes part: they compare a run with itself, or count."""
HARMLESS_POINTS = 1.0
"""An accuracy whose 95 % interval stays within so many points of no change is called harmless."""
WORTH_SAYING_POINTS = 0.5
"""Beside clear costs an unsettled accuracy is spoken of when it is larger than this and its spread."""
LEAST_TIME_SHARE = 0.1
"""Runs follow one another, so the machine's mood is in their times: less of a step does not count."""


def effects(frame: pd.DataFrame) -> pd.DataFrame:
    """What each setting changes against ``none``, paired by seed; `frame` as in `Bench`.

    One row a setting (but ``none``) and measure of NOISY and EXACT: setting, measure, difference
    (mean over the seeds), spread (their standard deviation; missing for one seed), interval (half
    the width of its 95 % interval, `bnviz.evaluation.chance.half_width`), seeds, and clear, whether the
    difference counts. For NOISY measures it counts when 0 lies outside of that interval, and also if
    the spread is taken at least as large as is typical for the measure (the median of the settings' own spreads that are not 0): three seeds
    that happen to agree prove nothing, and one seed proves nothing at all. For ms it must also be
    more than LEAST_TIME_SHARE of a step. For EXACT ones any difference counts.
    """
    measures = [*NOISY, *EXACT]
    wide = frame.set_index(["setting", "seed"])[measures].astype(float)
    base = wide.loc[NONE]
    rows = []
    for setting in dict.fromkeys(frame["setting"]):
        if setting == NONE:
            continue
        differences = wide.loc[setting] - base
        for measure in measures:
            values = differences[measure].dropna()
            rows.append((setting, measure, values.mean(), values.std(ddof=1), len(values)))
    result = pd.DataFrame(rows, columns=["setting", "measure", "difference", "spread", "seeds"])
    result["interval"] = half_width(result["spread"], result["seeds"])
    spreads = result[result["spread"] > 0].groupby("measure")["spread"].median()
    least = result["measure"].map(spreads).fillna(0.0)
    size = result["difference"].abs()
    counts = size > half_width(result["spread"].clip(lower=least), result["seeds"])
    counts &= (result["measure"] != "ms") | (size > LEAST_TIME_SHARE * base["ms"].mean())
    exact = result["measure"].isin(EXACT) & (size > 0)
    result["clear"] = exact | (result["measure"].isin(NOISY) & counts & (result["seeds"] > 1))
    return result


def modes_apart(frame: pd.DataFrame) -> dict[str, float]:
    """Train mode beside eval mode in the setting ``none``, paired by seed; `frame` as in `Bench`.

    eval and train (accuracy, 0 to 1), difference (train less eval, mean over the seeds), its spread
    (standard deviation; missing for one seed) and interval (half the width of its 95 % interval).
    """
    bare = frame[frame["setting"] == NONE]
    differences = bare["train_accuracy"] - bare["eval_accuracy"]
    spread = float(differences.std(ddof=1))
    return {
        "eval": float(bare["eval_accuracy"].mean()),
        "train": float(bare["train_accuracy"].mean()),
        "difference": float(differences.mean()),
        "spread": spread,
        "interval": float(half_width(spread, len(bare))),
    }


def verdict(found: pd.DataFrame, setting: str, seeds: int) -> str:
    """On one setting, from what `effects` found: harmless here, what it costs, or not settled."""
    rows = {row["measure"]: row for _k, row in found[found["setting"] == setting].iterrows()}
    clear = [measure for measure in _SENTENCES if rows[measure]["clear"]]
    if "accuracy_factor" in clear and "printed_accuracy" in clear:
        clear.remove("printed_accuracy")  # it says the same with chance in it
    said = [_SENTENCES[measure](rows[measure]) for measure in clear]
    if not {"eval_accuracy", "reload_change"} & set(clear):
        said.append(_on_accuracy(rows["eval_accuracy"], seeds, alone=not said))
    return " ".join(filter(None, said))


def _on_accuracy(row: pd.Series, seeds: int, *, alone: bool) -> str:
    """On an accuracy that does not clearly differ; nothing of a small one beside other costs."""
    difference, spread = 100 * row["difference"], 100 * row["spread"]
    figures = {
        "difference": difference,
        "spread": spread,
        "seeds": seeds,
        "limit": HARMLESS_POINTS,
        "level": CONFIDENCE,
    }
    if difference == 0 and not spread > 0:  # a single seed has no spread
        return _("No effect: accuracy is the same at every seed.") if alone else ""
    if seeds < 2:
        return _(
            "One seed shows no spread: {difference:+.2f} points in eval mode may be chance."
        ).format(**figures)
    if not alone and abs(difference) <= max(spread, WORTH_SAYING_POINTS):
        return ""
    figures["low"] = difference - 100 * row["interval"]
    figures["high"] = difference + 100 * row["interval"]
    if max(-figures["low"], figures["high"]) > HARMLESS_POINTS:
        return _(
            "Inconclusive with {seeds} seeds: {difference:+.2f} ± {spread:.2f} points in eval "
            "mode, anywhere from {low:+z.2f} to {high:+z.2f} ({level:.0%} interval)."
        ).format(**figures)
    return _(
        "No effect above {limit:g} point: {difference:+.2f} ± {spread:.2f} points in eval "
        "mode, from {low:+z.2f} to {high:+z.2f} ({level:.0%} interval)."
    ).format(**figures)


def _kept(row: pd.Series) -> str:
    if row["difference"] >= MIB:
        return _("Keeps {mib:,.1f} MiB of tensors alive at the end.").format(
            mib=row["difference"] / MIB
        )
    return _("Keeps {kib:,.1f} KiB alive at the end, far from filling a memory.").format(
        kib=row["difference"] / 1024
    )


def _loss_factor(row: pd.Series) -> str:
    return _("The printed loss is {times:.0f} times too small.").format(
        times=1 / (1 + row["difference"])
    )


def _accuracy_factor(row: pd.Series) -> str:
    return _(
        "The printed accuracy is {percent:.2f}% too small, because the last batch is partial."
    ).format(percent=-100 * row["difference"])


def with_spread(value: float, spread: float, form: str) -> str:
    """A difference with its standard deviation over the seeds, which a single seed does not have."""
    said = f"{value:{form}}"
    return said if np.isnan(spread) else f"{said} ± {spread:{form.lstrip('+')}}"


def _signed(template_more: str, template_less: str, scale: float = 1.0, form: str = ".2f") -> Any:
    def say(row: pd.Series) -> str:
        template = template_more if row["difference"] > 0 else template_less
        size = with_spread(scale * abs(row["difference"]), scale * row["spread"], form)
        return _(template).format(size=size)

    return say


_SENTENCES: dict[str, Any] = {
    "kept_bytes": _kept,
    "loss_factor": _loss_factor,
    "accuracy_factor": _accuracy_factor,
    "eval_accuracy": _signed(
        N_("Gains {size} points of accuracy in eval mode."),
        N_("Costs {size} points of accuracy in eval mode."),
        100.0,
    ),
    "reload_change": _signed(
        N_("Gains {size} points when the network is saved and loaded."),
        N_("Costs {size} points when the network is saved and loaded."),
        100.0,
    ),
    "train_accuracy": _signed(
        N_("Gains {size} points of accuracy in train mode."),
        N_("Costs {size} points of accuracy in train mode."),
        100.0,
    ),
    "printed_accuracy": _signed(
        N_("The printed accuracy is {size} points higher."),
        N_("The printed accuracy is {size} points lower."),
        100.0,
    ),
    "train_loss": _signed(
        N_("The training loss ends {size} higher."),
        N_("The training loss ends {size} lower."),
        form=".3f",
    ),
    "mean_drift": _signed(
        N_("Running means end {size} σ further from the population's."),
        N_("Running means end {size} σ nearer to the population's."),
    ),
    "var_drift": _signed(
        N_("Running variances end {size}% further from the population's."),
        N_("Running variances end {size}% nearer to the population's."),
        100.0,
        ".1f",
    ),
    "ms": _signed(
        N_("A step takes {size} ms longer."),
        N_("A step takes {size} ms less."),
    ),
}
