"""docs/glossary.md: every word is one that the pages or the other documents use, and stands once."""

import re

import pytest

from tests.paths import ROOT

GLOSSARY = (ROOT / "docs" / "glossary.md").read_text()
ENTRIES = [line for line in GLOSSARY.splitlines() if line.startswith("**")]
WORDS = re.findall(r"\*\*([^*]+)\*\*", " ".join(entry.split(": ")[0] for entry in ENTRIES))
OTHERS = " ".join(
    re.sub(r"\"\s*\n\s*(f?)\"|\s+|\*\*|`", " ", path.read_text())
    for path in [
        ROOT / "README.md",
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "pages").glob("*.py"),
        *(ROOT / "bnviz").rglob("*.py"),
    ]
    if path.name != "glossary.md"
).lower()


def forms(word):
    """``momentum m`` may stand as ``momentum``; of ``biased, unbiased`` each is a word of its own."""
    whole = re.sub(r"\s*\(.*\)|\s+[mε]$", "", word).lower()
    return [part.strip() for part in whole.split(",")]


@pytest.mark.parametrize("word", WORDS)
def test_a_word_of_the_glossary_is_used(word):
    for form in forms(word):
        assert re.search(rf"\b{re.escape(form)}", re.sub(r"\s+", " ", OTHERS)), form


def test_no_word_is_explained_twice():
    assert len(WORDS) == len(set(WORDS)) > 30


def test_every_entry_is_a_whole_sentence_or_two():
    paragraphs = [p for p in GLOSSARY.split("\n\n") if p.startswith("**")]
    assert len(paragraphs) == len(ENTRIES)
    for paragraph in paragraphs:
        said = " ".join(paragraph.strip().split(": ", 1)[1].split())
        assert said[0].isupper() and said.endswith("."), paragraph
