"""The committed notebooks: clean, parameterised, and each running where a reader would run it."""

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from lib import paths
from lib.params.run import PARAMETERS
from lib.reports import notebook
from tests.conftest import REPOSITORY

STEPS = sorted(PARAMETERS)


@pytest.fixture(params=STEPS)
def committed(request):
    return request.param, nbformat.read(REPOSITORY / "notebooks" / f"{request.param}.ipynb", as_version=4)


def parameters_cell(content):
    (cell,) = [cell for cell in content.cells if "parameters" in cell.metadata.get("tags", [])]
    return cell


def test_a_committed_notebook_has_no_outputs_and_the_usual_kernel(committed):
    _, content = committed
    nbformat.validate(content)
    assert content.metadata.kernelspec.name == "python3"
    for cell in content.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


def test_the_parameters_cell_has_exactly_the_parameters_of_the_step(committed):
    step, content = committed
    namespace: dict = {}
    exec(parameters_cell(content).source, namespace)
    given = notebook.given_parameters({k: v for k, v in namespace.items() if k != "__builtins__"})
    assert set(given) == set(PARAMETERS[step])
    defaults = {name: value for name, value in given.items() if value is not None}
    assert defaults == ({} if step == "04_compare" else {"model": "human"})


def test_cells_hold_no_logic(committed):
    _, content = committed
    for cell in content.cells:
        if cell.cell_type == "code":
            lines = cell.source.splitlines()
            assert not [
                line for line in lines if line.startswith(("for ", "while ", "if ", "def ", "class "))
            ]


def test_quarto_options_come_first_in_a_cell(committed):
    _, content = committed
    for cell in content.cells:
        lines = cell.source.splitlines()
        options = [number for number, line in enumerate(lines) if line.startswith("#|")]
        assert options == list(range(len(options)))


def papermill(*arguments: str, cwd: Path, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "papermill", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, **options)


def test_papermill_runs_a_step_from_the_root_from_notebooks_and_from_elsewhere(small_study, tmp_path_factory):
    """With their defaults, which are people's texts in the study `demo`; each makes its data itself."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    paths.study_file("small").rename(paths.study_file("demo"))
    first = papermill("notebooks/01_generate.ipynb", "OUT.ipynb", cwd=small_study)
    assert first.returncode == 0, first.stderr
    piped = papermill("02_surprisal.ipynb", cwd=small_study / "notebooks")
    assert piped.returncode == 0, piped.stderr
    nbformat.validate(nbformat.reads(piped.stdout, as_version=4))
    third = papermill(str(small_study / "notebooks" / "03_uid.ipynb"), "OUT.ipynb", cwd=elsewhere)
    assert third.returncode == 0, third.stderr
    assert paths.uid("tiny-scorer", "notes", "human").exists()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["-p", "model", "tiny-bass"], "did you mean 'tiny-base'?"),
        (["-p", "model", "human", "-p", "tempreture", "1"], "did you mean 'temperature'?"),
        (["-p", "model", "tiny-base", "-p", "temperature", "-1"], "`sampling.temperature` is -1"),
    ],
)
def test_bad_input_fails_with_one_sentence_and_writes_no_data(project, given, sentence):
    done = papermill("notebooks/01_generate.ipynb", "OUT.ipynb", *given, cwd=project)
    assert done.returncode == 1
    assert sentence in done.stderr
    evidence = nbformat.read(project / "OUT.ipynb", as_version=4)
    (error,) = [
        output
        for cell in evidence.cells
        for output in cell.get("outputs", [])
        if output.output_type == "error"
    ]
    assert len("".join(error.traceback).splitlines()) == 1
    assert [path.name for path in (project / "data").iterdir()] == ["models"]
