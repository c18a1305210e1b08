"""A step that cannot end: one sentence, what there is of its notebook, and a command that runs."""

import errno
import os
import subprocess
import sys

import nbformat
import papermill
import pytest

from lib import paths
from lib.errors import StudyError
from lib.params.run import command, resolve
from lib.running import execute, make

GIVEN = {"model": "human", "study": "small", "dataset": "notes"}


def notebook(step: str, code: str) -> None:
    """In place of the notebook of `step`: one that runs `code`, in cells parted by blank lines."""
    cells = [
        nbformat.v4.new_code_cell(
            "model = None\nstudy = None\ndataset = None", metadata={"tags": ["parameters"]}
        )
    ]
    cells += [nbformat.v4.new_code_cell(cell) for cell in code.split("\n\n")]
    written = nbformat.v4.new_notebook(cells=cells)
    written.metadata["kernelspec"] = {"name": "python3", "language": "python", "display_name": "Python 3"}
    nbformat.write(written, paths.notebook(step))


def test_a_dead_kernel_is_one_sentence_and_its_notebook_is_kept_and_marked(small_study):
    notebook("01_generate", "print('so far')\n\nimport os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(StudyError, match="its kernel died") as caught:
        execute.execute("01_generate", GIVEN)
    assert "Traceback" not in str(caught.value)
    evidence = paths.failed_notebook("01_generate", "human-small-notes")
    kept = nbformat.read(evidence, as_version=4)
    assert kept.metadata["papermill"]["exception"] is True
    assert "so far" in str(kept.cells)
    assert evidence.with_suffix(".html").exists()
    assert not paths.rendered_notebook("01_generate", "notes", "human").exists()


def test_a_full_disk_is_one_sentence_wherever_it_is_full(small_study, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device", str(small_study / "rendered" / "x.ipynb"))

    monkeypatch.setattr(papermill, "execute_notebook", full)
    with pytest.raises(StudyError, match=r"no space left on device \(rendered/x\.ipynb\); make room"):
        execute.execute("01_generate", GIVEN)
    monkeypatch.setattr(make, "_makers", lambda: {"texts": full})
    monkeypatch.setattr(make, "_written", lambda path, text: False)
    with pytest.raises(StudyError, match="no space left") as caught:
        make.make("texts", GIVEN)
    assert str(caught.value).splitlines()[1].strip().startswith("to run just this again: python -m")


def test_a_fault_of_ours_is_kept_whole_and_said_in_a_sentence(small_study, monkeypatch):
    def faulty(_):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(make, "_makers", lambda: {"texts": faulty})
    with pytest.raises(StudyError, match="texts failed: ZeroDivisionError: division by zero") as caught:
        make.make("texts", GIVEN)
    log = paths.failed_log("texts", "human-small-notes")
    assert os.path.relpath(log) in str(caught.value)
    assert "in faulty" in log.read_text()
    monkeypatch.undo()
    os.environ["STUDY_ROOT"] = str(small_study)
    make.make("texts", GIVEN)
    assert not log.exists()
    assert paths.texts("notes", "human").exists()


def test_the_same_step_several_times_at_once_is_made_by_one_after_the_other(small_study):
    notebook("01_generate", "pass")
    given = [word for name, value in GIVEN.items() for word in ("-p", name, value)]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "lib.running.execute", "01_generate", *given], stderr=subprocess.PIPE
        )
        for _ in range(3)
    ]
    assert [process.communicate()[1].decode()[-500:] for process in running] == [""] * 3
    assert [process.returncode for process in running] == [0] * 3
    output = paths.rendered_notebook("01_generate", "notes", "human")
    assert nbformat.read(output, as_version=4).metadata["papermill"]["exception"] is None
    assert not list(output.parent.glob("*.part*"))


def test_the_command_of_a_message_needs_no_folder_that_is_not_there(small_study, monkeypatch):
    for folder in (small_study, small_study / "notebooks"):
        monkeypatch.chdir(folder)
        words = command("01_generate", resolve("02_surprisal", {"model": "human", "study": "small"})).split()
        assert words[0] == "papermill"
        assert os.path.exists(words[1])
        assert os.path.dirname(words[2]) == ""


def test_notebooks_of_one_kernel_know_nothing_of_each_other(small_study, monkeypatch):
    notebook("01_generate", "import os\nleft = os.getpid()\nprint('kernel', left)")
    notebook("02_surprisal", "import os\nprint('kernel', os.getpid(), 'left' in globals())")
    given = [each for name, value in GIVEN.items() for each in ("-p", name, value)]
    scorers = ["-p", "scorer", "tiny-scorer", "-p", "scorer", "tiny-base"]
    monkeypatch.setattr(sys, "argv", ["execute", "01_generate", "02_surprisal", *given, *scorers])
    assert execute.main() == 0
    pages = (
        paths.rendered_notebook("01_generate", "notes", "human"),
        paths.rendered_notebook("02_surprisal", "notes", "human", "tiny-scorer"),
        paths.rendered_notebook("02_surprisal", "notes", "human", "tiny-base"),
    )
    first, second, third = (nbformat.read(page, as_version=4).cells[-1] for page in pages)
    kernel = first.outputs[0]["text"].strip()
    assert second.outputs[0]["text"].strip() == f"{kernel} False"
    assert third.outputs[0]["text"] == second.outputs[0]["text"]
    assert second.execution_count == first.execution_count
    assert all(page.with_suffix(".html").exists() for page in pages)


def test_several_models_and_scorers_are_executed_each():
    named = [("model", "human"), ("model", "tiny-base"), ("study", "s"), ("scorer", "a"), ("scorer", "b")]
    runs = list(execute._runs(["01_generate", "03_uid"], named))
    assert runs == [
        (step, {"model": model, "study": "s", **scorer})
        for model in ("human", "tiny-base")
        for step, scorer in (("01_generate", {}), ("03_uid", {"scorer": "a"}), ("03_uid", {"scorer": "b"}))
    ]
    assert list(execute._runs(["04_compare"], [("comparison", "all")])) == [
        ("04_compare", {"comparison": "all"})
    ]
