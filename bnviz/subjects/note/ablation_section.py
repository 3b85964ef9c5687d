"""The ablation on the page: recorded at once, measured here when the reader asks."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from bnviz.app.card_grid import board
from bnviz.app.task_panel import Task
from bnviz.charts.card import Card
from bnviz.charts.theme import QUANTITIES
from bnviz.errors import BnvizError
from bnviz.i18n import N_, _, sentences
from bnviz.settings import whole_numbers
from bnviz.subjects.note.ablation_figures import SCALES, effect_by_quirk
from bnviz.subjects.note.quirk_settings import LABELS, NONE, TOGETHER
from bnviz.training.tasks import Key
from bnviz.units import MIB

if TYPE_CHECKING:
    from bnviz.subjects.note.ablation import Bench

SEEDS, STEPS = "0,1,2", 600
STEP_CHOICES = (100, 200, 400, 600, 1000, 2000)
SECONDS_A_RUN, SECONDS_A_STEP = 2.0, 0.009
MEASURES = {
    "eval_accuracy": N_("accuracy, eval mode"),
    "reload_change": N_("change of accuracy by saving and loading"),
    "train_accuracy": N_("accuracy, train mode"),
    "printed_accuracy": N_("printed accuracy"),
    "train_loss": N_("training loss"),
    "kept_bytes": N_("tensors kept"),
    "mean_drift": N_("drift of running means"),
    "var_drift": N_("drift of running variances"),
    "ms": N_("time of a step"),
}
COLUMNS = {
    "eval_accuracy": (N_("eval, %"), "%.2f", N_("Accuracy in eval mode on all test images; mean over the seeds.")),
    "train_accuracy": (N_("train, %"), "%.2f", N_("Accuracy in train mode on all test images, in batches of the training's size.")),
    "reloaded_accuracy": (N_("reloaded, %"), "%.2f", N_("Eval mode after state_dict went into a new network.")),
    "printed_accuracy": (N_("printed, %"), "%.2f", N_("As test() prints it, on {test_images} test images.")),
    "train_loss": (N_("loss"), "%.4f", N_("Mean cross-entropy of the last {loss_steps} training steps, in nats.")),
    "printed_loss": (N_("printed loss"), "%.4f", N_("As the note prints it, since the test before.")),
    "kept": (N_("kept, MiB"), "%.2f", N_("Tensors that the running statistics keep alive at the end.")),
    "mean_drift": (N_("mean off, σ"), "%.3f", N_("Root mean square distance of the running means from the population's.")),
    "var_drift": (N_("variance off, %"), "%.1f", N_("The same of the running variances, relative to the population's.")),
    "ms": (N_("ms a step"), "%.2f", N_("Median time of a training step.")),
}  # fmt: skip
"""Columns of the matrix: label, format, help."""


BENCH = ("note", "bench")


def bench_key(seeds: str, steps: int) -> Key:
    """Its place among the measurements of the process; it belongs to no run."""
    return (*BENCH, seeds.replace(" ", ""), str(steps))


@st.fragment
def bench_section() -> None:
    """Controls, what is measured or recorded, matrix, figure and sentences."""
    seeds, steps = _controls()
    try:
        bench = task_of(seeds, steps).panel() or _recorded()
    except BnvizError as error:
        st.error(str(error), icon=":material/error:")
        bench = _recorded()
    show(bench)


def _controls() -> tuple[str, int]:
    from bnviz.subjects.note.ablation import BATCH, TEST_EVERY

    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        seeds = st.text_input(
            _("Seeds"), SEEDS, key="bench_seeds", bind="query-params", width=160,
            help=_("Whole numbers, separated by commas. Three or more show what is chance."),
        )  # fmt: skip
        steps = st.select_slider(
            _("Training steps of each run"), STEP_CHOICES, value=STEPS, key="bench_steps",
            bind="query-params", width=280, help=_("At batch {batch}, with a test pass every {every} steps.").format(batch=BATCH, every=TEST_EVERY),
        )  # fmt: skip
    return seeds, int(steps)


def task_of(seeds: str, steps: int) -> Task:
    """Every quirk alone, for these seeds and steps. Raises ConfigError for seeds that cannot be."""
    from bnviz.subjects.note.ablation import SETTINGS, check_bench, run_bench

    numbers = whole_numbers("seeds", seeds)
    check_bench(numbers, steps)
    runs = len(SETTINGS) * len(numbers)
    return Task(
        key=bench_key(seeds, steps),
        measure=lambda progress: run_bench(SETTINGS, numbers, steps, progress),
        button=_("Measure here"),
        again=_("Measure again"),
        expected_s=runs * (SECONDS_A_RUN + steps * SECONDS_A_STEP),
        help=_(
            "Trains {runs} small networks of {steps} steps one after the other in the background; "
            "you may leave the page and come back."
        ).format(runs=runs, steps=steps),
        named=_named,
        choose=_choose,
    )


def _named(key: Key) -> str:
    return _("seeds {seeds} and {steps:,} steps").format(seeds=key[2], steps=int(key[3]))


def _choose(key: Key) -> None:
    st.session_state["bench_seeds"], st.session_state["bench_steps"] = key[2], int(key[3])


def _recorded() -> "Bench":
    from bnviz.subjects.note.recorded import recorded_bench

    return recorded_bench()


def origin(bench: "Bench") -> str:
    """Recorded or measured here, with what it takes to make it again."""
    seeds = ", ".join(map(str, bench.seeds))
    if bench.made:
        return _(
            "Recorded: {steps} steps at batch {batch}, seeds {seeds}. Made with: {command} "
            "({date}, {machine})."
        ).format(steps=bench.steps, batch=bench.batch_size, seeds=seeds, **bench.made)
    return _(
        "Measured here: {steps} steps at batch {batch}, seeds {seeds}, {images:,} test images of "
        "{dataset}, in {seconds:.0f} s."
    ).format(
        steps=bench.steps, batch=bench.batch_size, seeds=seeds, images=bench.test_images,
        dataset=bench.dataset, seconds=bench.seconds,
    )  # fmt: skip


def show(bench: "Bench") -> None:
    """The figure and where it comes from, a sentence for each quirk, and the matrix."""
    from bnviz.subjects.note.ablation_effects import effects

    changes = effects(bench.frame)
    measure = st.selectbox(
        _("Measure"), list(MEASURES), key="bench_measure", bind="query-params", width=320,
        format_func=lambda m: _(MEASURES[m]), help=_("What the figure shows for each quirk."),
    )  # fmt: skip
    board([effect_card(bench, changes, measure)], key="bench_board", revision=origin(bench))
    st.caption(origin(bench))
    costs, numbers = st.tabs([_("What each quirk costs here"), _("All measures in numbers")])
    with costs:
        verdicts(bench, changes)
    with numbers:
        matrix(bench)


def verdicts(bench: "Bench", changes: pd.DataFrame) -> None:
    """A sentence for each quirk, and what counts as a difference."""
    from bnviz.evaluation.chance import CONFIDENCE
    from bnviz.subjects.note.ablation_effects import LEAST_TIME_SHARE, verdict

    settings = list(dict.fromkeys(changes["setting"]))
    st.markdown(
        "\n".join(
            f"- **{_(LABELS.get(s, s))}**: {verdict(changes, s, len(bench.seeds))}"
            for s in settings
        )
    )
    st.caption(
        sentences(
            _(
                "Differences are paired by seed, ± is their standard deviation over the seeds, and "
                "bars are {level:.0%} intervals (Student's t). A difference counts when 0 lies "
                "outside of its interval, also with a spread as large as is typical of all quirks; "
                "a time must also be {share:.0%} of a step. With this many comparisons some may "
                "count by chance. Bytes, factors of printed figures and what saving loses are exact."
            ).format(level=CONFIDENCE, share=LEAST_TIME_SHARE),
            modes_sentence(bench),
            _("The quirks that leak together: {names}.").format(
                names=", ".join(_(LABELS[quirk]) for quirk in TOGETHER["leak"])
            ),
        )
    )


def modes_sentence(bench: "Bench") -> str:
    """Train mode beside eval mode without a quirk, at the batch that the bench tests in."""
    from bnviz.subjects.note.ablation_effects import modes_apart

    found = modes_apart(bench.frame)
    if len(bench.seeds) < 2:
        said = _(
            "Without a quirk eval mode has {eval:.2%} and train mode, in test batches of {batch}, "
            "{train:.2%}: {difference:+.2f} points, and one seed shows no spread."
        )
    elif abs(found["difference"]) > found["interval"]:
        said = _(
            "Without a quirk eval mode has {eval:.2%} and train mode, in test batches of {batch}, "
            "{train:.2%}: {difference:+.2f} ± {spread:.2f} points, which counts."
        )
    else:
        said = _(
            "Without a quirk eval mode has {eval:.2%} and train mode, in test batches of {batch}, "
            "{train:.2%}: {difference:+.2f} ± {spread:.2f} points, which may be chance."
        )
    return sentences(
        said.format(
            eval=found["eval"],
            train=found["train"],
            batch=bench.batch_size,
            difference=100 * found["difference"],
            spread=100 * found["spread"],
        ),
        _("Question 3 has train mode in other test batches."),
    )


def table_of(bench: "Bench", spread_of: Collection[str] = ("eval_accuracy",)) -> pd.DataFrame:
    """Means over the seeds, one row a setting, in the units of the table.

    Behind each measure in `spread_of` stands its standard deviation over the seeds, where there is
    more than one.
    """
    frame = bench.frame.assign(
        kept=bench.frame["kept_bytes"] / MIB,
        **{
            name: 100 * bench.frame[name]
            for name in ("eval_accuracy", "train_accuracy", "reloaded_accuracy", "printed_accuracy")
        },
        var_drift=100 * bench.frame["var_drift"].astype(float),
    )
    by_setting = frame.groupby("setting", sort=False)[list(COLUMNS)]
    both = by_setting.mean().join(by_setting.std(ddof=1).add_suffix("_spread"))
    several = len(bench.seeds) > 1
    shown = [
        column
        for name in COLUMNS
        for column in (name, f"{name}_spread")
        if column == name or (several and name in spread_of)
    ]
    table = both[shown]
    table.insert(0, "quirk", [_(LABELS.get(str(s), str(s))) for s in table.index])
    return table.reset_index(drop=True)


def matrix(bench: "Bench") -> None:
    """The table, which sorts by a click on a column."""
    from bnviz.subjects.note.ablation import LOSS_STEPS, TEST_IMAGES

    numbers = {"test_images": TEST_IMAGES, "loss_steps": LOSS_STEPS}
    every = st.toggle(
        _("Spread of every measure"), key="bench_spread", bind="query-params",
        disabled=len(bench.seeds) < 2,
        help=_("Behind each column its standard deviation over the seeds."),
    )  # fmt: skip
    config: dict[str, Any] = {
        "quirk": st.column_config.TextColumn(_("quirk that is on"), pinned=True)
    }
    for name, (label, form, text) in COLUMNS.items():
        config[name] = st.column_config.NumberColumn(
            _(label), format=form, help=_(text).format(**numbers)
        )
        config[f"{name}_spread"] = st.column_config.NumberColumn(
            _("± seeds"),
            format=form,
            help=_("Standard deviation of the column before over the seeds."),
        )
    st.dataframe(
        table_of(bench, COLUMNS) if every else table_of(bench),
        hide_index=True,
        height="content",
        column_config=config,
    )
    for row in bench.frame[bench.frame["stopped"] != ""].to_dict("records"):
        st.info(
            _("{quirk}, seed {seed}: {stopped}").format(
                quirk=_(LABELS.get(row["setting"], row["setting"])),
                seed=row["seed"],
                stopped=row["stopped"],
            )
        )


def effect_card(bench: "Bench", changes: pd.DataFrame, measure: str) -> Card:
    """What each quirk changes in one measure."""
    labels = {str(s): _(LABELS.get(str(s), str(s))) for s in dict.fromkeys(changes["setting"])}
    return Card(
        key="bench_effect",
        title=_("What each quirk changes: {measure}").format(measure=_(MEASURES[measure])),
        figure=effect_by_quirk(changes, measure, labels),
        sentence=effect_sentence(bench, changes, measure, labels),
        alt=_("Change by each quirk against none, with the spread over the seeds"),
        height=450,
        asked=measure,
        wide=True,
    )


def effect_sentence(
    bench: "Bench", changes: pd.DataFrame, measure: str, labels: dict[str, str]
) -> str:
    """How many settings clearly differ, the largest change, and what it is without a quirk."""
    from bnviz.subjects.note.ablation_effects import with_spread

    rows = changes[changes["measure"] == measure]
    most = rows.iloc[int(rows["difference"].abs().to_numpy().argmax())]
    quantity, scale = SCALES[measure]
    unit = QUANTITIES[quantity].after()
    return (
        _(
            "{count} of {of} settings clearly differ from no quirk. Largest change: {change}"
            "{unit}, by {quirk}, which counts. Without a quirk it is "
            "{base:,.4g}{own_unit}."
        )
        if most["clear"]
        else _(
            "{count} of {of} settings clearly differ from no quirk. Largest change: {change}"
            "{unit}, by {quirk}, which may be chance. Without a quirk it is "
            "{base:,.4g}{own_unit}."
        )
    ).format(
        count=int(rows["clear"].sum()), of=len(rows), quirk=labels[most["setting"]],
        change=with_spread(scale * most["difference"], scale * most["spread"], "+,.3g"), unit=unit,
        base=scale * bench.frame[bench.frame["setting"] == NONE][measure].mean(),
        own_unit="%" if quantity == "effect_points" else unit,
    )  # fmt: skip
