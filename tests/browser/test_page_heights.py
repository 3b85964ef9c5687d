"""How high every page and view is, how many charts it has, and where the first one stands."""

import pytest

from scripts.page_heights import HELPERS, SIZES, looks, page_files
from scripts.serving import serving


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A server on which nobody has measured anything yet, so that views are as they open."""
    with serving(tmp_path_factory.mktemp("fresh")) as app:
        yield app.url


@pytest.mark.parametrize("size", SIZES, ids=lambda size: str(size["width"]))
@pytest.mark.parametrize("file", page_files())
def test_no_view_is_too_high_and_its_first_chart_is_in_sight(fresh, new_context, file, size):
    page = new_context().new_page()
    page.set_viewport_size(size)
    page.add_init_script(HELPERS)
    over = [
        f"{look.name}: {complaint}"
        for look in looks(page, fresh, file)
        for complaint in look.complaints()
    ]
    assert not over
