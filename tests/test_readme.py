"""The README, word for word: its commands run, its files are right, its names exist."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pydantic import TypeAdapter

from lib import paths
from lib.params import load_dataset, load_study
from lib.params.corpora import Dataset
from lib.params.sources import AnySource, Weights
from lib.params.studies import Study
from tests.conftest import REPOSITORY

README = (REPOSITORY / "README.md").read_text()
BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^ *```", re.M | re.S)
BLOCKS = [
    (kind, "\n".join(line.removeprefix(indent) for line in body.splitlines()))
    for indent, kind, body in BLOCK.findall(README)
]
COMMANDS = [line for kind, body in BLOCKS if kind == "sh" for line in body.splitlines()]
# `make study` and `make test` are what makes this test run at all; the environment is active already;
# the paper is rendered where its page is looked at.
ELSEWHERE = {"make study", "make test", ". .venv/bin/activate", "quarto render paper/"}


def shell(command: str, root: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of the README in the project `root`, with this environment in place of .venv."""
    binaries = Path(sys.executable).parent
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, root)
    (root / ".installed").touch()
    make = f'make() {{ command make BIN="{binaries}" INSTALLED=.installed "$@"; }}'
    return subprocess.run(
        ["bash", "-c", f"{make}\n{command}"],
        cwd=root,
        env=os.environ
        | {"PATH": f"{binaries}:{os.environ['PATH']}", "HOME": str(root), "QUARTO_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_readme_has_the_commands_that_this_test_knows():
    assert set(COMMANDS) >= ELSEWHERE
    assert len([command for command in COMMANDS if command.startswith("papermill")]) == 5
    assert "make study STUDY=mine" in COMMANDS


@pytest.mark.parametrize(
    "command", [c for c in COMMANDS if c not in ELSEWHERE and not c.startswith("make study STUDY")]
)
def test_a_command_runs(command, finished_study):
    if "FOLDER" in command:
        shutil.copytree(finished_study / "notes", finished_study / "my-texts", dirs_exist_ok=True)
    done = shell(command, finished_study)
    assert done.returncode == 0, done.stderr[-2000:]
    if "NAME=mine" in command:
        written = {kind: [body for k, body in BLOCKS if k == kind] for kind, _ in BLOCKS}["yaml"]
        declared = [yaml.safe_load(body) for body in written]
        dataset = yaml.safe_load(paths.dataset_file("mine").read_text())
        assert dataset == {"kind": "folder", "folder": str(finished_study / "my-texts")}  # the shell's ~
        assert {"kind": "folder", "folder": "~/my-texts"} in declared
        assert yaml.safe_load(paths.study_file("mine").read_text()) in declared


@pytest.mark.whole_study(1)
def test_ones_own_texts_in_three_steps(project):
    folder = project / "my-texts"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.txt").write_text(
            f"Title {number}\n\nThis is the first sentence. What follows is text {number}. It goes on.\n"
        )
    for name in ("tiny-base", "tiny-rlhf"):
        file = project / "params" / f"{name}.yaml"
        file.write_text(file.read_text().replace("320", "24").replace("max_retries: 3", "max_retries: 0"))
    for command in ("make source NAME=mine FOLDER=~/my-texts", "make study STUDY=mine"):
        assert command in COMMANDS
        done = shell(command, project)
        assert done.returncode == 0, done.stderr[-2000:]
    assert paths.rendered_comparison("mine", "mine").with_suffix(".html").exists()
    assert paths.texts_page("mine", "mine").exists()
    assert "up to date" in done.stdout
    status = shell("make status STUDY=mine", project)
    assert status.returncode == 0
    assert "missing" not in status.stdout
    assert "stale" not in status.stdout
    again = shell("make source NAME=mine FOLDER=~/my-texts", project)
    assert "there already" in again.stderr


def test_a_folder_may_have_any_name(project):
    folder = project / "it's my texts (1)"
    folder.mkdir()
    (folder / "notes {draft}.txt").write_text("A title\n\nOne sentence. Another one.\n")
    done = shell(f"make source NAME=mine FOLDER={shlex.quote(folder.name)}", project)
    assert done.returncode == 0, done.stderr[-2000:]
    assert yaml.safe_load(paths.dataset_file("mine").read_text())["folder"] == folder.name


def test_every_declaration_is_allowed():
    kinds: dict[str, list[object]] = {"weights": [], "dataset": [], "study": [], "source": []}
    for kind, body in BLOCKS:
        if kind != "yaml":
            continue
        content = yaml.safe_load(body)
        if set(content) == {"weights"}:
            kinds["weights"].append(TypeAdapter(Weights).validate_python(content["weights"]))
        elif "sources" in content:
            kinds["study"].append(Study.model_validate(content))
        elif content["kind"] in ("model", "human", "scorer"):
            kinds["source"].append(TypeAdapter(AnySource).validate_python(content))
        else:
            kinds["dataset"].append(TypeAdapter(Dataset).validate_python(content))
    assert all(kinds.values())


def test_the_python_example_runs(project):
    (code,) = [body for kind, body in BLOCKS if kind == "python"]
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(done.stdout.splitlines()) >= 3


def test_every_make_target_that_is_named_exists():
    named = set(re.findall(r"`make ([a-z]+)", README + "".join(COMMANDS)))
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.M))
    assert named
    assert named <= targets


def test_the_demo_is_what_the_readme_says():
    assert load_study("demo").datasets == ("pydocs",) or list(load_study("demo").datasets) == ["pydocs"]
    assert load_dataset("pydocs").kind == "pydocs"
