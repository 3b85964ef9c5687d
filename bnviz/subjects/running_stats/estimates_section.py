"""Which variance the estimators show."""

from bnviz.app.controls import choice_control
from bnviz.i18n import _, listed
from bnviz.records.recorded_statistics import unbiasing, values_per_channel
from bnviz.records.schema import LAYERS
from bnviz.training.run_view import RunView


def variance_control(run: RunView) -> bool:
    """Which variance is shown: whether the unbiased."""
    factors = listed(
        _("{layer}: n = {n:,}, factor {factor:.5g}").format(
            layer=layer,
            n=values_per_channel(run.config, layer),
            factor=unbiasing(run.config, layer),
        )
        for layer in LAYERS
    )
    names = {"unbiased": _("unbiased"), "biased": _("biased")}
    chosen = choice_control(
        _("Variance kept"), names, "variance",
        help=_(
            "Biased, as the batch is normalized by, divides the sum of squares by n, the number of "
            "values of a channel in the batch; unbiased, as torch keeps it, by n − 1, so it is "
            "n / (n − 1) times as large (a single value has no variance). At batch {batch}, {factors}. Acts on the lines, dots and "
            "population of the first figure; the layer's own line stays what it kept."
        ).format(batch=run.config.batch_size, factors=factors),
    )  # fmt: skip
    return chosen == "unbiased"
