"""Make docs/reference.md from the code, or check that it is current.

python -m scripts.reference [--check]
"""

import ast
import itertools
import sys
from pathlib import Path
from typing import Any

import typer.main

from bnviz import cli
from bnviz import figures as all_figures
from bnviz.app.router import PAGES
from bnviz.charts.registry import FIGURES
from bnviz.config import PRESETS, Quirks, RunConfig
from bnviz.nn.variants import VARIANTS
from bnviz.selection import MOST_CHANNELS, Selection
from bnviz.settings import Setting

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "reference.md"


def field_comments(name: str, file: str = "config.py") -> dict[str, str]:
    """The string under each field of a class of a file of bnviz."""
    tree = ast.parse((ROOT / "bnviz" / file).read_text())
    body = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name).body
    return {
        field.target.id: " ".join(comment.value.value.split())
        for field, comment in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(comment, ast.Expr)
        and isinstance(comment.value, ast.Constant)
    }


def address(file: str) -> str:
    """The path of a page in the address."""
    return "/" if file == PAGES[0][0] else f"/{file.replace('_', '-')}"


def pages() -> list[str]:
    """Title, address, and what each page answers; then the views of each page."""
    rows = ["## Pages", "", "| page | address | what it answers |", "| --- | --- | --- |"]
    rows += [f"| {title} | `{address(file)}` | {text} |" for file, title, _icon, text in PAGES]
    rows += ["", "### Views", ""]
    rows += ["A page opens at its first view unless another one is called its default.", ""]
    rows += ["| page | view | address |", "| --- | --- | --- |"]
    for file, title, *_rest in PAGES:
        names, default = views(file)
        for name, words in names.items():
            marked = f"{words} (default)" if name == default else words
            rows.append(f"| {title} | {marked} | `{address(file)}?view={name}` |")
    return rows


def views(file: str) -> tuple[dict[str, str], str | None]:
    """The views of a page, id to words, and the default if its control names one.

    They are read from the call of `choice_control` with the key ``view``, whose names are a dict
    in the call or a variable that is assigned one.
    """
    tree = ast.parse((ROOT / "pages" / f"{file}.py").read_text())
    assigned = {
        ast.unparse(node.targets[0]): node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or ast.unparse(node.func) != "choice_control":
            continue
        _label, names, key = node.args
        if ast.unparse(key) != "'view'":
            continue
        given = assigned.get(names.id) if isinstance(names, ast.Name) else names
        assert isinstance(given, ast.Dict), f"pages/{file}.py: the views are no dict"
        default = next((k.value for k in node.keywords if k.arg == "default"), None)
        return {
            ast.literal_eval(name): ast.literal_eval(words.args[0])  # type: ignore[arg-type, attr-defined]
            for name, words in zip(given.keys, given.values, strict=True)
        }, default and ast.literal_eval(default)
    return {}, None


def commands() -> list[str]:
    """Every command with its options."""
    rows = ["## Commands", ""]
    group = typer.main.get_command(cli.app)
    for name, command in sorted(group.commands.items()):  # type: ignore[attr-defined]
        rows += [f"### `python -m bnviz {name}`", "", (command.help or "").split("\n")[0], ""]
        rows += ["| option | default | meaning |", "| --- | --- | --- |"]
        rows += [
            f"| `{' '.join(p.opts)}` | {default_of(p)} | {p.help} |"
            for p in command.params
            if p.name != "help"
        ]
        rows.append("")
    return rows[:-1]


def default_of(option: Any) -> str:
    """What an option is where it is not given; empty for one that has to be, and for a switch."""
    if option.default is True:
        return "on"
    return "" if option.default in (None, False, "") else f"`{option.default}`"


def settings() -> list[str]:
    """Every field of RunConfig and of Quirks."""
    rows = [
        "## Settings of a run",
        "",
        "The names are those of `config.json` and of the address.",
        "",
    ]
    rows += ["| setting | default | allowed | remark |", "| --- | --- | --- | --- |"]
    for name in RunConfig.model_fields:
        if name == "quirks":
            continue
        setting = Setting.of(RunConfig, name)
        default = setting.default
        shown = ", ".join(default) if isinstance(default, tuple) else default
        rows.append(f"| `{name}` | {shown} | {setting.allowed} | {setting.label}. {setting.help} |")
    rows += ["", "### Quirks of the note, all on by default", ""]
    rows += ["| quirk | what the note does |", "| --- | --- |"]
    quirks = field_comments("Quirks")
    rows += [f"| `{name}` | {quirks[name]} |" for name in Quirks.model_fields]
    rows += ["", "### Presets", "", "| preset | name | what it shows |", "| --- | --- | --- |"]
    rows += [f"| `{name}` | {p.label} | {p.sentence} |" for name, p in PRESETS.items()]
    return rows


def variants() -> list[str]:
    """Every norm of the registry."""
    rows = ["## Variants", "", "| key | name | what it is |", "| --- | --- | --- |"]
    return rows + [f"| `{v.key}` | {v.label} | {v.sentence} |" for v in VARIANTS.values()]


def selection() -> list[str]:
    """Every field of Selection."""
    rows = [
        "## The selection",
        "",
        "What a reader looks at. These are the parameters of a figure; `run`, `variant`, `layer`,",
        "`channels`, `step`, `momentum` and `eps` are also in the address of a page.",
        "",
    ]
    rows += ["| field | default | allowed | meaning |", "| --- | --- | --- | --- |"]
    meanings = field_comments("Selection", "selection.py")
    for name in Selection.model_fields:
        default = Selection().to_query((name,))[name] or "empty"
        rows.append(f"| `{name}` | {default} | {selectable(name)} | {meanings[name]} |")
    return rows


def selectable(name: str) -> str:
    """What a field of Selection takes, in words."""
    return {
        "run": "recorded, or the id of a run",
        "variant": f"{', '.join(v for v in VARIANTS if v != 'none')}, or none",
        "channels": f"up to {MOST_CHANNELS} whole numbers at least 0, separated by commas",
    }.get(name) or Setting.of(Selection, name).allowed


def figures() -> list[str]:
    """The registered figures, and every public function that draws one, by its subject."""
    all_figures.load()
    rows = [
        "## Figures",
        "",
        "These figures have a name: the browser asks for them at `figures/NAME`, and",
        "`python -m bnviz figure NAME` prints them. Each also needs `run`.",
        "",
        "| name | title | needs of the selection |",
        "| --- | --- | --- |",
    ]
    for name, entry in sorted(FIGURES.items()):
        rows.append(f"| `{name}` | {entry.title} | {', '.join(entry.needs)} |")
    rows += [
        "",
        "### Functions that draw",
        "",
        "Each takes arrays or frames and returns a plotly figure.",
        "",
        "| function | what it shows |",
        "| --- | --- |",
    ]
    files = [*(ROOT / "bnviz" / "charts").glob("*.py"), *(ROOT / "bnviz").rglob("*_figures.py")]
    for path in sorted(files):
        for node in ast.parse(path.read_text()).body:
            makes = isinstance(node, ast.FunctionDef) and ast.unparse(
                node.returns or ast.Constant(0)
            )
            if makes == "Figure" and node.name != "figure" and not node.name.startswith("_"):
                first = (ast.get_docstring(node) or "").split("\n")[0]
                rows.append(f"| `{path.parent.name}.{node.name}` | {first} |")
    return rows


def document() -> str:
    """The whole reference."""
    parts = [
        ["# Reference", "", "Made from the code by `python -m scripts.reference`."],
        pages(),
        commands(),
        settings(),
        selection(),
        variants(),
        figures(),
    ]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def main() -> None:
    if "--check" in sys.argv:
        if not TARGET.exists() or TARGET.read_text() != document():
            sys.exit("docs/reference.md is not current: run python -m scripts.reference")
        return
    TARGET.write_text(document())


if __name__ == "__main__":
    main()
