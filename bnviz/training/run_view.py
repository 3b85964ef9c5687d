"""A run as pages and figures see it: recorded, live or stored, behind one face. No torch, no Streamlit."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from bnviz.config import RunConfig
from bnviz.i18n import _, listed
from bnviz.nn.variants import VARIANTS
from bnviz.records.history import History
from bnviz.records.reading import latest_step
from bnviz.records.recorded_statistics import settings_at
from bnviz.records.run_names import RECORDED_ID, run_name
from bnviz.records.running_view import RunningView
from bnviz.records.store import StoredRun
from bnviz.selection import Selection
from bnviz.training.jobs import Job
from bnviz.units import duration

CHANGES_SHOWN = 3
"""Changes of a setting in mid-run that one line names; of more it says how many there were."""


@dataclass(frozen=True, eq=False)
class RunView:
    """A run as pages and figures see it; two are equal when they show the same source."""

    id: str
    source: Job | StoredRun

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunView) and (self.id, id(self.source)) == (
            other.id,
            id(other.source),
        )

    def __hash__(self) -> int:
        return hash((self.id, id(self.source)))

    @property
    def job(self) -> Job | None:
        """The job behind it, if it belongs to this process."""
        return self.source if isinstance(self.source, Job) else None

    @property
    def config(self) -> RunConfig:
        """The settings that the run was started with."""
        return self.source.config

    @property
    def history(self) -> History:
        """What was recorded so far."""
        return self.source.history

    @property
    def summary(self) -> dict[str, Any] | None:
        """What it came to; None while it runs and when it was cut off."""
        return self.source.summary

    @property
    def recorded(self) -> bool:
        """Whether this is the run shipped in the package."""
        return self.id == RECORDED_ID

    @property
    def name(self) -> str:
        """What a person calls it, see `bnviz.records.run_names.run_name`."""
        return run_name(self.config, self.id, self.source.folder)

    @property
    def live(self) -> bool:
        """Whether more may still come."""
        return self.job is not None and not self.job.ended

    @property
    def labels(self) -> dict[str, str]:
        """Names of the variants for legends."""
        return {v: _(VARIANTS[v].label) for v in self.config.variants}

    @property
    def default_variant(self) -> str:
        """Where a figure shows one variant: the last with BN, else the last."""
        able = [v for v in self.config.variants if VARIANTS[v].normalizes]
        return (able or list(self.config.variants))[-1]

    @property
    def with_statistics(self) -> list[str]:
        """The variants that have running statistics."""
        return [v for v in self.config.variants if VARIANTS[v].normalizes]

    def variant(self, wanted: str, *, with_statistics: bool = False) -> str:
        """`wanted` if the run has it, else the default; with BN only, if `with_statistics`."""
        known = self.with_statistics if with_statistics else list(self.config.variants)
        return (
            wanted if wanted in known else (known[-1] if with_statistics else self.default_variant)
        )

    def settled(self, chosen: Selection) -> Selection:
        """`chosen` with a variant that has running statistics, and channels that its layer has."""
        variant = self.variant(chosen.variant, with_statistics=True)
        channels = chosen.channels_of(chosen.layer)
        return chosen.model_copy(update={"variant": variant, "channels": channels})

    @property
    def steps(self) -> int:
        """The last step that any variant has recorded."""
        return max(latest_step(self.history, v) for v in self.config.variants)

    @property
    def total_steps(self) -> int:
        """Steps that the run has or will have."""
        return self.job.total_steps if self.job is not None and self.live else self.steps

    def settings_at(self, step: int) -> dict[str, float | None]:
        """`lr`, `momentum` and `eps` that `step` was made with."""
        return settings_at(self.config, self.history, step)

    def setting_words(self, name: str) -> str:
        """`lr`, `momentum` or `eps` of the whole run, with each change in mid-run."""
        changes = [
            _("{value} after step {step:,}").format(value=number_words(e["new"]), step=e["step"])
            for e in self.history.events
            if e["kind"] == "set" and e["name"] == name
        ]
        first = number_words(getattr(self.config, name))
        if not changes:
            return first
        if len(changes) > CHANGES_SHOWN:
            left_out = len(changes) - CHANGES_SHOWN
            changes = [_("{n} changes").format(n=left_out), *changes[left_out:]]
        return _("{first} ({changes})").format(first=first, changes=listed(changes))

    def settings(self) -> str:
        """The run's own settings in one line: another tab's sliders are not its settings."""
        config = self.config
        line = _(
            "This run: batch {batch}, momentum {momentum}, eps {eps}, {optimizer} at lr {lr}, "
            "{activation}, seed {seed}, {dtype}."
        ).format(
            batch=config.batch_size,
            momentum=self.setting_words("momentum"),
            eps=self.setting_words("eps"),
            optimizer=config.optimizer,
            lr=self.setting_words("lr"),
            activation=config.activation,
            seed=config.seed,
            dtype=config.dtype,
        )
        images = self.job.dataset_line if self.job is not None else ""
        if self.summary is not None:
            found = self.summary["dataset"]
            images = _("{train:,} training images of {name} ({origin})").format(
                train=found["train"], name=found["name"], origin=found["origin"]
            )
        return f"{line} {images}".rstrip(". ") + "."

    def origin(self) -> str:
        """One line that says what is shown: recorded, measured here and now, or reopened."""
        if self.recorded:
            return _(
                "Recorded run, shipped with bnviz so that no page is empty: {steps} steps at batch "
                "{batch}. Made with: {command}"
            ).format(
                steps=self.steps,
                batch=self.config.batch_size,
                command="python -m scripts.record_run",
            )
        if self.live:
            return _("Measured on this run, live.")
        if self.summary is None:
            return _("Reopened run that was cut off; shown up to its last whole record.")
        return _("Measured on this run: {steps} steps in {time}.").format(
            steps=self.steps, time=duration(self.summary["seconds"])
        )


def number_words(value: float | None) -> str:
    """A setting in words; None is the cumulative average."""
    return _("cumulative") if value is None else f"{value:g}"


def running_view(
    run: RunView,
    variant: str,
    layer: str,
    channels: tuple[int, ...],
    momenta: tuple[float | None, ...],
    *,
    unbiased: bool | None = None,
) -> RunningView:
    """Some channels of a layer for charts, kept between looks so that each reads only what is new."""
    return _kept_view(run, id(run.history), variant, layer, channels, momenta, unbiased)


@lru_cache(maxsize=48)
def _kept_view(
    run: RunView,
    _history: int,  # a run gets another one when it finds a folder to write to
    variant: str,
    layer: str,
    channels: tuple[int, ...],
    momenta: tuple[float | None, ...],
    unbiased: bool | None,
) -> RunningView:
    return RunningView(
        run.config, run.history, variant, layer, list(channels), momenta, unbiased=unbiased
    )
