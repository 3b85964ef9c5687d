"""The code beside the quirks: each row's lines, and the whole in which they stand."""

import pytest

from bnviz.subjects.note import code_section
from bnviz.subjects.note.quirk_settings import QUIRKS
from tests.paths import ROOT


def test_every_quirk_has_a_row_with_lines_from_the_files():
    assert set(code_section.ROWS) == set(QUIRKS)
    for quirk, row in code_section.ROWS.items():
        for code, sign in ((row.note, "-"), (row.ours, "+")):
            marked = [line for line in code.text(sign).splitlines() if line.startswith(sign)]
            assert len(marked) == len(code.marked), quirk
            path, number = code.place().split(":")
            line = (ROOT / path).read_text().splitlines()[int(number) - 1]
            assert line.strip() == code.text(" ").splitlines()[0].strip()


def differing_lines(quirk, side):
    """The lines of one side of a quirk's row that are marked, without their sign."""
    row, sign = code_section.ROWS[quirk], "-+"[side]
    lines = (row.note, row.ours)[side].text(sign).splitlines()
    return [line[2:].strip() for line in lines if line.startswith(sign)]


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("quirk", QUIRKS)
def test_all_that_differs_by_a_quirk_is_marked_in_the_whole_code(quirk, side):
    sign = "-+"[side]
    part = "layer" if quirk in code_section.LAYER_ROWS else "loop"
    lines = code_section.whole(part, side, sign).splitlines()
    marked = {line[2:].strip() for line in lines if line.startswith(sign)}
    assert differing_lines(quirk, side)
    assert set(differing_lines(quirk, side)) <= marked


def test_the_whole_code_can_be_read_and_marks_only_what_differs():
    for part in code_section.WHOLE:
        for side, sign in enumerate("-+"):
            lines = code_section.whole(part, side, sign).splitlines()
            differing = {
                line
                for quirk in (
                    code_section.LAYER_ROWS if part == "layer" else code_section.LOOP_ROWS
                )
                for line in differing_lines(quirk, side)
            }
            assert len(lines) <= 110
            assert {line[2:].strip() for line in lines if line.startswith(sign)} == differing
