"""Make docs/reference.md from the code, or check that it is current.

python -m scripts.reference [--check]
"""

import ast
import itertools
import sys
from pathlib import Path

import typer.main

from bnviz import cli
from bnviz.app.router import PAGES
from bnviz.config import PRESETS, Quirks, RunConfig, allowed
from bnviz.nn.variants import VARIANTS

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "reference.md"


def field_comments(name: str) -> dict[str, str]:
    """The string under each field of a class of config.py."""
    tree = ast.parse((ROOT / "bnviz" / "config.py").read_text())
    body = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name).body
    return {
        field.target.id: comment.value.value
        for field, comment in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(comment, ast.Expr)
        and isinstance(comment.value, ast.Constant)
    }


def pages() -> list[str]:
    """Title, address, and what each page answers."""
    rows = ["## Pages", "", "| page | address | what it answers |", "| --- | --- | --- |"]
    for k, (file, title, _icon, text) in enumerate(PAGES):
        rows.append(f"| {title} | `/{'' if k == 0 else file.replace('_', '-')}` | {text} |")
    return rows


def commands() -> list[str]:
    """Every command with its options."""
    rows = ["## Commands", ""]
    group = typer.main.get_command(cli.app)
    for name, command in sorted(group.commands.items()):  # type: ignore[attr-defined]
        rows += [f"### `python -m bnviz {name}`", "", (command.help or "").split("\n")[0], ""]
        rows += ["| option | meaning |", "| --- | --- |"]
        rows += [f"| `{' '.join(p.opts)}` | {p.help} |" for p in command.params if p.name != "help"]
        rows.append("")
    return rows[:-1]


def settings() -> list[str]:
    """Every field of RunConfig and of Quirks."""
    rows = [
        "## Settings of a run",
        "",
        "The names are those of `config.json` and of the address.",
        "",
    ]
    rows += ["| setting | default | allowed | remark |", "| --- | --- | --- | --- |"]
    remarks = field_comments("RunConfig")
    for name in RunConfig.model_fields:
        if name == "quirks":
            continue
        default = getattr(RunConfig(), name)
        shown = ", ".join(default) if isinstance(default, tuple) else default
        what = f"one or more of {', '.join(VARIANTS)}" if name == "variants" else allowed(name)
        rows.append(f"| `{name}` | {shown} | {what} | {remarks.get(name, '')} |")
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


def figures() -> list[str]:
    """Every public function that makes a Figure, by its subject."""
    rows = ["## Figures", "", "| figure | what it shows |", "| --- | --- |"]
    files = [*(ROOT / "bnviz" / "charts").glob("*.py"), *(ROOT / "bnviz").rglob("*_figures.py")]
    for path in sorted(files):
        for node in ast.parse(path.read_text()).body:
            makes = isinstance(node, ast.FunctionDef) and ast.unparse(
                node.returns or ast.Constant(0)
            )
            if makes == "Figure" and node.name != "figure":
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
