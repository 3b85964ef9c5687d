"""Every text on screen is one whole message that can be translated, in present-day English."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [
    path
    for folder in ("bnviz", "pages")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if path.name != "i18n.py"
]
ARCHAIC = (
    r"anew|heeds?|foretold|foretells?|dear(?:er)?|manieth|whereof|compan(?:y|ies)|mend(?:s|ed|ing)?|"
    r"so long|at rest|trembl\w+|tidings|riddles?|on show|held against|bug bench|hangs? behind"
)
TAGS = re.compile(r"<[^>]*>|%\{[^}]*\}")


def is_message(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_"


def messages_of(node: ast.AST) -> list[ast.Call]:
    """The messages that an expression comes to: `_()`, formatted or not, on both sides of an `if`."""
    if is_message(node):
        return [node]
    if isinstance(node, ast.IfExp):
        return messages_of(node.body) + messages_of(node.orelse)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return messages_of(node.func.value) if node.func.attr in ("format", "strip") else []
    return []


def typed(node: ast.AST) -> list[ast.Call]:
    """Those of its messages that are written there; a look-up in a table of names is none."""
    return [m for m in messages_of(node) if isinstance(m.args[0], ast.Constant)]


def glued(tree: ast.AST) -> list[tuple[int, str]]:
    """Lines where a message is no sentence of its own, with the rule that says so.

    Free are: names from a table (``_(LABELS[key])``) as fields, in lists and beside markup; cells of
    a terminal table, which are padded; and whole messages after each other through `sentences`,
    `listed` and `lines` of `bnviz.i18n`, which are calls and no operators.
    """
    found = []
    for node in ast.walk(tree):
        rules = []
        if isinstance(node, ast.BinOp):
            sides = [*messages_of(node.left), *messages_of(node.right)]
            rules += ["joined by an operator"] * bool(sides)
        elif isinstance(node, ast.AugAssign):
            rules += ["added to a text"] * bool(messages_of(node.value))
        elif isinstance(node, ast.JoinedStr):
            parts = [p for p in node.values if isinstance(p, ast.FormattedValue)]
            said = [p for p in parts if messages_of(p.value)]
            text = "".join(str(p.value) for p in node.values if isinstance(p, ast.Constant))
            if said and re.search(r"[A-Za-z]{2}", TAGS.sub("", text)):
                rules.append("words around it")
            if any(typed(p.value) and p.format_spec is None for p in said):
                rules.append("part of a text")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr == "join":
                for entries in node.args:
                    elements = getattr(entries, "elts", [getattr(entries, "elt", entries)])
                    rules += ["joined to a text"] * any(typed(each) for each in elements)
                    rules += ["joins"] * bool(messages_of(node.func.value))
            if node.func.attr == "format" and messages_of(node.func.value):
                rules += ["a clause for a field"] * any(typed(k.value) for k in node.keywords)
        found += [(node.lineno, rule) for rule in rules]
        if is_message(node):
            what = node.args[0]
            if isinstance(what, ast.JoinedStr | ast.BinOp | ast.IfExp):
                found.append((node.lineno, "no constant and no look-up"))
            if isinstance(what, ast.Constant) and what.value != what.value.strip(" ,;"):
                found.append((node.lineno, "begins or ends in the middle of a sentence"))
    return found


@pytest.mark.parametrize(
    "line",
    [
        '_("a") + " b"',
        'text += _("b").format(n=1)',
        "f\"{_('a')} of b\"",
        'f"{_(LABELS[k])} of them"',
        '"; ".join(_("{n} a").format(n=n) for n in ns)',
        '_("is {words}").format(words=_("a") if x else _("b"))',
        '_(f"a {b}")',
        '_(", or none")',
    ],
)
def test_a_message_that_is_put_together_is_found(line):
    assert glued(ast.parse(line))


@pytest.mark.parametrize(
    "line",
    [
        'sentences(_("A."), _("B.").format(n=1))',
        '", ".join(_(LABELS[k]) for k in keys)',
        'f"**{_(LABELS[k])}**: {said}"',
        "f\"{_('layer'):<8} {_('bytes'):>15}\"",
        '_("of {name}").format(name=_(LABELS[k]))',
    ],
)
def test_whole_messages_and_names_of_a_table_are_free(line):
    assert not glued(ast.parse(line))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_message_is_whole(path):
    assert glued(ast.parse(path.read_text())) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_texts_and_docstrings_are_in_present_day_english(path):
    """Keys of widgets, tasks and files keep their names, so only texts with a blank are read."""
    source = path.read_text()
    said = [
        (node.lineno, node.value)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value
    ]
    said += [
        (number, line.partition("  # ")[2] or line.strip())
        for number, line in enumerate(source.splitlines(), 1)
        if "  # " in line or line.strip().startswith("#")
    ]
    pattern = re.compile(rf"\b({ARCHAIC})\b", re.IGNORECASE)
    assert [(number, found[0]) for number, text in said if (found := pattern.search(text))] == []


# ---- names ---------------------------------------------------------------------------------------

CODE = [
    path
    for folder in ("bnviz", "pages", "scripts", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
PRIVATE = {"company", "companies", "mend", "mended", "race", "twin", "riddle", "heed", "dear"}
PRIVATE |= {"foretell", *(f"{word}s" for word in PRIVATE)}
WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+")


def words_of(identifier: str) -> set[str]:
    """The words of a name in snake_case or CamelCase."""
    return {word.lower() for word in WORD.findall(identifier)}


def identifiers(tree: ast.AST) -> list[tuple[int, str]]:
    """Every name that the code defines or uses, with its line."""
    found = []
    for node in ast.walk(tree):
        names = [getattr(node, key, None) for key in ("name", "id", "attr", "arg", "asname")]
        found += [(getattr(node, "lineno", 0), n) for n in names if isinstance(n, str)]
    return found


def test_the_words_of_a_name_are_found():
    assert words_of("_mended_HTTPTwin") >= {"mended", "twin"}
    assert identifiers(ast.parse("class RaceTable:\n    def heed(self, dear): ..."))


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_are_in_the_words_of_the_field(path):
    stem = [(0, path.stem)]
    found = identifiers(ast.parse(path.read_text())) + stem
    assert [entry for entry in found if words_of(entry[1]) & PRIVATE] == []
