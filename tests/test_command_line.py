"""What the commands share."""

import pytest

from bnviz.command_line import progress_bar


@pytest.mark.parametrize("parts", [1, 3, 574])
def test_a_bar_ends_with_all_of_its_parts(parts, capsys):
    """The last part that was begun once stood at the end: 573/574, 99/100, 0/1."""
    with progress_bar("parts") as report_progress:
        for done in range(parts):
            report_progress(done, parts)
    assert f"{parts}/{parts}" in capsys.readouterr().err
