"""docs/architecture.md against the code: what it names exists, and what exists is named."""

import itertools
import re

import pytest

from bnviz.cli import COMMANDS
from tests.paths import ROOT
from tests.test_house import ROOMS

DOCUMENT = (ROOT / "docs" / "architecture.md").read_text()
BEFORE, PICTURE, *_rest = DOCUMENT.split("```")
TEXT = re.sub(r"^```.*?^```", "", DOCUMENT, flags=re.MULTILINE | re.DOTALL)
QUOTED = sorted(set(re.findall(r"`([^`]+)`", TEXT)))
FILES = [q for q in QUOTED if re.fullmatch(r"[\w./-]*(/|\.(py|js|md|pyi))[\w./-]*", q)]
NAMES = [q for q in QUOTED if re.fullmatch(r"@?[A-Za-z_]\w*(\.\w+)*(\(\))?", q) and q not in FILES]
CODE = {
    path: path.read_text()
    for folder in ("bnviz", "pages", "scripts", "tests", ".")
    for path in ROOT.glob("*.py" if folder == "." else f"{folder}/**/*.py")
}
WORDS = {word for text in CODE.values() for word in re.findall(r"\w+", text)}


def folders(of):
    """The folders of `of` that hold something of ours."""
    return {p.name for p in of.iterdir() if p.is_dir() and p.name != "__pycache__"}


def section(heading):
    """What stands under a heading of the second rank."""
    return DOCUMENT.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def rows():
    """The rooms in each line of the picture, from the ground up."""
    for line in reversed(PICTURE.splitlines()):
        words = [word for word in line[:41].split() if word.endswith(("/", ".py"))]
        rooms = (re.sub(r"(/|\.py)$", "", w) for w in words if (ROOT / "bnviz" / w).exists())
        if found := [room for room in rooms if room in ROOMS]:
            yield found


def test_the_picture_has_every_room_in_the_order_of_the_imports():
    """A file may import what stands below it: that is the order of `tests.test_house.ROOMS`."""
    drawn = list(rows())
    assert sorted(itertools.chain(*drawn)) == sorted(ROOMS)
    for below, above in itertools.pairwise(drawn):
        for room in above:
            assert all(ROOMS.index(other) < ROOMS.index(room) for other in below), (below, room)


def test_the_picture_has_every_subject():
    line = PICTURE.split("none imports another\n")[1].split("\n──")[0]
    assert set(line.split()) == folders(ROOT / "bnviz" / "subjects")


def test_every_room_has_its_paragraph():
    assert set(re.findall(r"^### (\w+)", section("The rooms"), re.MULTILINE)) == folders(
        ROOT / "bnviz"
    )


def test_every_subject_has_its_question():
    named = set(re.findall(r"^\| `subjects/(\w+)`", section("The rooms"), re.MULTILINE))
    assert named == folders(ROOT / "bnviz" / "subjects")


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_named_exists(name):
    """From the top folder, or from bnviz/; the stub of a room's names is there in several rooms."""
    if name == "__init__.pyi":
        assert list(ROOT.glob(f"bnviz/*/{name}"))
    elif name == "cli.py":
        assert (ROOT / "bnviz" / name).exists()
        assert list(ROOT.glob(f"bnviz/subjects/*/{name}"))
    elif name != "sections.py":
        assert (ROOT / name).exists() or (ROOT / "bnviz" / name).exists()


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_used_stands_in_the_code(name):
    """The last part of a dotted one; Streamlit's and torch's own names are used in the code too."""
    assert re.findall(r"\w+", name)[-1] in WORDS


def test_the_commands_that_are_named_exist():
    for module, command in re.findall(r"`python -m ([\w.]+) ?(\w*)", TEXT):
        if module == "bnviz":
            assert command in COMMANDS, command
        else:
            assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module


def test_the_example_of_a_figure_is_the_registry_s_own():
    """The same words as in the docstring of `bnviz.charts.registry`."""
    (example,) = re.findall(r"```python\n(.*?)\n```", DOCUMENT, re.DOTALL)
    said = CODE[ROOT / "bnviz" / "charts" / "registry.py"]
    assert all(line.strip() in said for line in example.splitlines())
