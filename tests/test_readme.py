"""Every command line that README.md prints runs, and every target of the Makefile leads somewhere."""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

from bnviz.cli import COMMANDS
from scripts.serving import serving
from tests.command_line import bnviz
from tests.paths import ROOT
from tests.waiting import until

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
LINES = [line for language, block in BLOCKS if not language for line in block.splitlines()]
TARGETS = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
# A later option wins: what would take minutes gets a few steps.
SHORTER = {
    ("run", "--steps"): ["--steps", "25"],
    ("quirks",): ["--seeds", "0", "--steps", "100", "--settings", "plain_attributes"],
    ("log",): ["--no-loops"],
    ("memory",): ["--steps", "8", "--dataset", "fashion-mnist-sample"],
}
MY_LAYERS = "from torch.nn import BatchNorm2d\n\n\nclass MyBatchNorm(BatchNorm2d):\n    pass\n"


def commands():
    """What follows ``python -m bnviz`` in each line of the README's blocks."""
    words = (shlex.split(line, comments=True) for line in LINES)
    return [line[3:] for line in words if line[:3] == ["python", "-m", "bnviz"]]


def test_the_command_lines_run_in_their_order(tmp_path, monkeypatch, on_the_sample):
    """The run that the first ones save is what the later ones replay."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_layers.py").write_text(MY_LAYERS)
    assert {line[0] for line in commands()} == set(COMMANDS)
    for line in commands():
        shorter = [e for words, more in SHORTER.items() if {*words} <= {*line} for e in more]
        done = bnviz(*line, *shorter)
        assert done.exit_code == 0, f"{' '.join(line)}\n{done.output}"
        assert done.stdout


def test_the_number_of_parity_cases_is_the_one_printed():
    (printed,) = re.findall(r"torch's, (\d+) cases", README)
    assert f"{printed} of {printed} cases agree" in bnviz("parity").stdout


def test_the_app_starts_as_printed(tmp_path):
    assert any(line.endswith("streamlit run app.py") for line in LINES)
    with serving(tmp_path):
        pass


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_the_requirements_are_what_is_installed_here(name):
    """Nothing is fetched: pip finds every requirement among what there is."""
    assert any(f"pip install -r {name}" in line for line in LINES)
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "-r", name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def recipe(target, folder):
    """The lines that make would run for a target, nothing of it having been made before."""
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", target, f"VENV={folder}"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.replace("\\\n", "").splitlines()


def test_the_targets_that_are_printed_are_in_the_makefile():
    printed = {word for line in LINES for word in re.findall(r"^make (\w+)", line)}
    assert printed and printed <= set(TARGETS)


@pytest.mark.parametrize("target", TARGETS)
def test_what_a_target_calls_is_there(target):
    """Programs of the environment, modules that import, files that it names."""
    folder = Path(sys.prefix)
    lines = recipe(target, folder)
    assert lines
    for words in map(shlex.split, lines):
        program = Path(words[0])
        if folder not in program.parents:
            continue
        assert shutil.which(program), program
        if words[1:2] == ["-m"]:
            module = words[2]
            done = subprocess.run(
                [sys.executable, "-c", f"import {module}"],
                cwd=ROOT, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
        for name in (word for word in words if word.endswith((".py", ".txt"))):
            assert (ROOT / name).is_file(), name


# `test` and `lint` are what CI itself calls; these are run here.
INSTALLED = [f"--old-file={sys.prefix}/{stamp}" for stamp in (".installed", ".installed-dev")]


def make(*words, cwd=ROOT, **environment):
    """`make` with what is installed here, in the background."""
    return subprocess.Popen(
        ["make", f"VENV={sys.prefix}", *INSTALLED, *words],
        cwd=cwd, env={**os.environ, **environment}, start_new_session=True,
    )  # fmt: skip


def test_make_run_serves_the_app(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    process = make(
        "run", STREAMLIT_SERVER_PORT=port, STREAMLIT_SERVER_ADDRESS="127.0.0.1",
        STREAMLIT_SERVER_HEADLESS="true", BNVIZ_RUNS=str(tmp_path),
    )  # fmt: skip
    try:
        until(lambda: answers(f"http://127.0.0.1:{port}/_stcore/health"), seconds=60)
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(30)


def answers(url):
    """Whether the address answers with 200."""
    try:
        with urlopen(url) as response:
            return response.status == 200
    except OSError:
        return False


def test_make_format_puts_right_the_form_of_a_file(tmp_path):
    for name in ("Makefile", "pyproject.toml", "requirements.txt", "requirements-dev.txt"):
        shutil.copy2(ROOT / name, tmp_path)
    (tmp_path / "ugly.py").write_text('"""A file."""\nimport os\nx = {  "a":1 }\n')
    assert make("format", cwd=tmp_path).wait(60) == 0
    assert (tmp_path / "ugly.py").read_text() == '"""A file."""\n\nx = {"a": 1}\n'


def test_make_screenshots_photographs_a_page_in_both_themes_and_widths(tmp_path):
    words = f"ARGS=--pages home --when before --out {tmp_path / 'pictures'}"
    assert make("screenshots", words).wait(200) == 0
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {
        f"home-before-{theme}-{width}.png" for theme in ("light", "dark") for width in (1440, 420)
    }
