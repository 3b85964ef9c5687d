"""The house rules, checked on the source: who imports whom, who may say what, what is documented."""

import ast
import re
import subprocess
import sys

import pytest

import bnviz
from bnviz.charts import theme
from bnviz.config import RunConfig
from bnviz.nn.variants import VARIANTS
from tests.paths import ROOT

SOURCES = sorted([*ROOT.glob("bnviz/**/*.py"), *ROOT.glob("pages/*.py"), ROOT / "app.py"])
# From the ground up: a room may import those before it, and itself.
ROOMS = (
    "i18n", "errors", "units", "nn", "settings", "data", "config", "instrument", "records", "selection", "evaluation", "census",
    "training", "charts", "command_line", "stored_run_cli", "app", "subjects", "figures", "data_cli", "runs_cli", "figure_cli", "cli", "__main__",
)  # fmt: skip
# By the name of a file: which libraries a subject's file must do without.
NOT_IN_FIGURES = {"torch", "streamlit"}


def name_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path):
    """(module, line) of every import anywhere in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node.lineno
            if node.module == "bnviz":
                yield from ((f"bnviz.{alias.name}", node.lineno) for alias in node.names)


def rooms_imported(path):
    """(parts of the name below bnviz, line) of each import of this project."""
    for module, line in imports(path):
        parts = module.split(".")
        if parts[0] == "bnviz" and len(parts) > 1 and not parts[1].startswith("__"):
            yield parts[1:], line


def with_streamlit(path):
    """Whether a file may import Streamlit: pages, the room of the app, the sections of a subject."""
    parts = path.relative_to(ROOT).parts
    if parts[0] in ("app.py", "pages") or parts[:2] == ("bnviz", "app"):
        return True
    return parts[:2] == ("bnviz", "subjects") and path.stem.endswith(("sections", "_section"))


@pytest.mark.parametrize("path", [p for p in SOURCES if "bnviz" in p.parts], ids=name_of)
def test_imports_point_down_and_no_subject_imports_a_subject(path):
    own = name_of(path).split(".")[1:] or ["__init__"]
    for parts, line in rooms_imported(path):
        assert parts[0] in ROOMS, f"{path}:{line} {parts[0]} is no room of the plan"
        if own[0] == "__init__":
            continue
        assert own[0] in ROOMS, f"{path} stands in no room of the plan"
        assert ROOMS.index(parts[0]) <= ROOMS.index(own[0]), f"{path}:{line} imports {parts}"
        if own[0] == parts[0] == "subjects":
            assert parts[1] == own[1], f"{path}:{line} imports the subject {parts[1]}"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_libraries_stand_in_their_places(path):
    for module, line in imports(path):
        library = module.split(".")[0]
        assert library not in ("pickle", "dill", "joblib"), f"{path}:{line}"
        if library == "streamlit":
            assert with_streamlit(path), f"{path}:{line} imports streamlit"
        if path.stem.endswith("_figures") or name_of(path).startswith("bnviz.charts"):
            assert library not in NOT_IN_FIGURES, f"{path}:{line} imports {library}"
        if path.relative_to(ROOT).parts[0] in ("pages", "app.py"):
            assert library != "torch", f"{path}:{line} imports torch"


@pytest.mark.parametrize("path", [p for p in SOURCES if "bnviz" in p.parts], ids=name_of)
def test_no_process_is_started_from_below(path):
    """`python -m bnviz` from inside the package is an import of the command line in disguise."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.List | ast.Tuple):
            words = [e.value for e in node.elts if isinstance(e, ast.Constant)]
            assert not ("-m" in words and "bnviz" in words), f"{path}:{node.lineno}"


@pytest.mark.parametrize(
    "path",
    [p for p in ROOT.glob("tests/**/test_*.py") if p.parts[-2] not in ("tests", "browser")],
    ids=lambda p: p.stem,
)
def test_tests_stand_where_the_code_stands(path):
    """The folder of a test is that of a room or a subject."""
    folder = ROOT / "bnviz" / path.parent.relative_to(ROOT / "tests")
    assert folder.is_dir(), f"{path} tests nothing in {folder}"


SCREEN = [
    p
    for p in SOURCES
    if name_of(p).startswith(("pages", "bnviz.app", "bnviz.charts"))
    or p.stem.endswith(("sections", "_section", "_figures"))
]
WORDS = re.compile(r"[A-Za-z]{3,}")
SPEAKING_KEYWORDS = {
    "help",
    "label",
    "text",
    "title",
    "sentence",
    "alt",
    "placeholder",
    "page_title",
}
SILENT = {
    "session_state",
    "cache_resource",
    "cache_data",
    "fragment",
    "App",
    "switch_page",
    "components",
    "query_params",
}
NAMES = {"bnviz"}


def words_in(node):
    """The letters that an expression would show as they stand."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return " ".join(words_in(v) for v in node.values if isinstance(v, ast.Constant))
    return ""


def bare_texts(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = ast.unparse(node.func)
            speaks = function.startswith("st.") and function.split(".")[1] not in SILENT
            shown = [k.value for k in node.keywords if k.arg in SPEAKING_KEYWORDS]
            shown += node.args[:1] if speaks else []
        elif isinstance(node, ast.Dict):
            shown = [
                value
                for key, value in zip(node.keys, node.values, strict=True)
                if isinstance(key, ast.Constant) and key.value in ("text", "name", "title")
            ]
        else:
            continue
        for value in shown:
            text = words_in(value)
            if WORDS.search(text) and text not in NAMES and not text.startswith(":material"):
                yield f"line {value.lineno}: {text!r}"


@pytest.mark.parametrize("path", SCREEN, ids=name_of)
def test_every_sentence_on_screen_goes_through_gettext(path):
    assert list(bare_texts(ast.parse(path.read_text()))) == []


def test_the_finder_of_bare_texts_finds_them():
    found = list(bare_texts(ast.parse('st.button("Start now")\nfigure({"name": "loss curve"})')))
    assert len(found) == 2


@pytest.mark.parametrize("path", [p for p in SOURCES if p.name != "theme.py"], ids=name_of)
def test_colours_stand_in_one_table(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            documentation = "\n" in node.value or "``" in node.value
            assert documentation or not re.search(r"#[0-9A-Fa-f]{6}\b|rgba?\(", node.value), (
                f"{path}:{node.lineno}"
            )


def test_every_variant_has_one_colour_a_theme_and_a_dash():
    for palette in theme.PALETTE.values():
        assert set(VARIANTS) <= set(palette)
        own = [palette[v] for v in VARIANTS]
        assert len(set(own)) == len(own)
    assert set(theme.DASH) == set(VARIANTS)
    assert len(set(theme.DASH.values())) == len(VARIANTS)
    assert theme.PALETTE["light"].keys() == theme.PALETTE["dark"].keys()


def luminance(colour):
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(("mode", "background"), [("light", "#FFFFFF"), ("dark", "#10151C")])
def test_lines_can_be_told_from_the_background(mode, background):
    """WCAG 1.4.11: graphics need a contrast of 3 to 1; ``paper`` is what they stand on."""
    lines = dict(theme.PALETTE[mode])
    assert lines.pop("paper") == background
    for name, colour in lines.items():
        light, dark = sorted((luminance(colour), luminance(background)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 3, name


ERRORS = {"ConfigError", "DataError", "RunError"}


@pytest.mark.parametrize("path", [p for p in SOURCES if "bnviz" in p.parts], ids=name_of)
def test_public_functions_say_what_they_raise(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
            continue
        raised = {
            ast.unparse(sub.exc.func)
            for sub in ast.walk(node)
            if isinstance(sub, ast.Raise) and isinstance(sub.exc, ast.Call)
        }
        for error in raised & ERRORS:
            said = ast.get_docstring(node) or ""
            assert error in said, f"{path}:{node.lineno} {node.name} raises {error}"


def test_readme_is_short_and_shows_both_pairs_of_commands():
    readme = (ROOT / "README.md").read_text()
    assert len(readme.splitlines()) < 150
    for command in (
        "make run",
        "make test",
        "pip install -r requirements.txt && streamlit run app.py",
        "pip install -r requirements-dev.txt && pytest",
    ):
        assert command in readme
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", readme):
        assert (ROOT / picture).is_file(), picture


@pytest.mark.parametrize(
    "document", [ROOT / "README.md", *ROOT.glob("docs/*.md")], ids=lambda p: p.name
)
def test_links_between_documents_lead_somewhere(document):
    for target in re.findall(r"\]\(((?!https?:)[^)#]+)", document.read_text()):
        assert (document.parent / target).exists(), target


def test_the_reference_is_what_the_code_says():
    """Every page, command, option, setting, variant and figure, made from the code itself."""
    made = subprocess.run(
        [sys.executable, "-m", "scripts.reference", "--check"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr


def test_the_changelog_begins_with_this_version():
    heading = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert heading.group(1) == bnviz.__version__
    assert f'version = "{bnviz.__version__}"' in (ROOT / "pyproject.toml").read_text()


def test_defaults_printed_in_the_readme_are_the_code_s():
    readme = (ROOT / "README.md").read_text()
    default = RunConfig()
    assert f"batch {default.batch_size}" in readme
    assert f"{default.memory_limit_mib / 1024:.0f} GiB" in readme


@pytest.mark.parametrize("path", [*ROOT.glob("pages/*.py")], ids=lambda p: p.name)
def test_a_page_is_a_short_file(path):
    assert len(path.read_text().splitlines()) <= 120
