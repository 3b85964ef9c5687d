"""How high every page and view is, how many charts it has, and where the first one stands."""

import pytest

from scripts.page_heights import (
    FIRST_CHART_WITHIN,
    HELPERS,
    HIGHEST,
    MOST_CHARTS,
    SIZES,
    looks,
    page_files,
)
from scripts.serving import serving

SLACK = 20
"""Pixels that another font may take."""
# What exceeds a limit today, by page and view; it must not grow, and an entry goes when it fits.
TOO_HIGH = {
    1440: {
        "/activations?view=over_time": 2237,
        "/activations?view=channels": 2067,
        "/note?view=questions": 2605,
        "/note?view=ablation": 2645,
    },
    420: {},
}
FIRST_CHART_LATE = {
    "/running-stats?view=demo": 637,
    "/memory?view=experiment": 756,
    "/note?view=ablation": 1215,
}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A server on which nobody has measured anything yet, so that views are as they open."""
    with serving(tmp_path_factory.mktemp("fresh")) as app:
        yield app.url


def most_of(exceptions, name, limit):
    """The limit of a view in pixels: what it is today where that exceeds the limit of all."""
    return exceptions[name] + SLACK if name in exceptions else limit


@pytest.mark.parametrize("size", SIZES, ids=lambda size: str(size["width"]))
@pytest.mark.parametrize("file", page_files())
def test_no_view_is_too_high_and_its_first_chart_is_in_sight(fresh, new_context, file, size):
    page = new_context().new_page()
    page.set_viewport_size(size)
    page.add_init_script(HELPERS)
    width = size["width"]
    over = []
    for look in looks(page, fresh, file):
        height = most_of(TOO_HIGH[width], look.name, HIGHEST[width])
        if look.height > height:
            over.append(f"{look.name}: {look.height} px high, at most {height}")
        if look.charts > MOST_CHARTS:
            over.append(f"{look.name}: {look.charts} charts, at most {MOST_CHARTS}")
        if width in FIRST_CHART_WITHIN and look.top is not None:
            most = most_of(FIRST_CHART_LATE, look.name, FIRST_CHART_WITHIN[width])
            if look.top > most:
                over.append(f"{look.name}: first chart at {look.top} px, at most {most}")
    assert not over
