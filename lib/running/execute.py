"""Execute notebooks headless and write their reports; the Snakefile calls it for every step.

    python -m lib.running.execute 02_surprisal -p model tiny-base
    python -m lib.running.execute 01_generate 02_surprisal 03_uid -p model tiny-base -p scorer tiny-scorer

Several share one kernel, emptied between them: what they import is imported once. With several models
or scorers named, each model's are executed, and what reads surprisals for each scorer.
The executed notebook and its HTML go to `rendered/`. When a cell fails, the notebook is kept as
evidence under `rendered/failed/`, one sentence says why, and nothing downstream reads it.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import nbformat
import papermill
from nbclient.exceptions import DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, NotebookExecutionManager, papermill_engines
from papermill.exceptions import PapermillExecutionError

from lib import paths, progress, store
from lib.commands import a_command
from lib.errors import StudyError
from lib.params.run import READS_ONLY, resolve, resolve_comparison
from lib.reports.page import write_report
from lib.running.kernel import Kernel
from lib.running.make import given, in_a_sentence

STEPS = ("01_generate", "02_surprisal", "03_uid", "04_compare")
FAULTS = (PapermillExecutionError, DeadKernelError, OSError, StudyError)


class InAKernel(NBClientEngine):
    """papermill's engine in a kernel that is there.

    It would save the whole notebook around every cell, a third of the time of a short one.
    """

    @classmethod
    def execute_managed_notebook(
        cls, nb_man: NotebookExecutionManager, kernel_name: str, *, kernel: Kernel, **_: Any
    ) -> None:
        place, nb_man.output_path = nb_man.output_path, None
        try:
            manager, client = kernel.ready()
            # What a cell prints comes in pieces, as chance would have it: a page has it whole.
            executing = PapermillNotebookClient(
                nb_man, km=manager, kernel_name=kernel_name, coalesce_streams=True
            )
            executing.kc = client
            executing.execute()
        finally:
            nb_man.output_path = place  # what follows saves, also where the kernel died


papermill_engines.register("in a kernel", InAKernel)


@a_command
def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("steps", nargs="+", choices=STEPS, metavar="step")
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    parser.add_argument("--reads-only", action="store_true", help="what failed gets no other chance")
    arguments = parser.parse_args()
    if arguments.reads_only:
        os.environ[READS_ONLY] = "1"  # for the kernel
    # A notebook's page is written while the next notebook runs.
    with ThreadPoolExecutor(1) as pages, closing(Kernel()) as kernel:
        written = [
            pages.submit(_page, step, parameters, _executed(step, parameters, kernel))
            for step, parameters in _runs(arguments.steps, arguments.p)
        ]
    for page in written:
        page.result()
    return 0


def _runs(steps: Sequence[str], named: Sequence[Sequence[str]]) -> Iterator[tuple[str, dict[str, str]]]:
    """Each model's steps with their parameters: once for each scorer, where they read surprisals."""
    several = {name: [value for key, value in named if key == name] for name in ("model", "scorer")}
    others = {name: value for name, value in named if name not in several}
    models = [{"model": model} for model in several["model"]] or [{}]
    scorers = [{"scorer": scorer} for scorer in several["scorer"]] or [{}]
    for model, step in product(models, steps):
        reads = step != "01_generate" or len(steps) == 1
        yield from ((step, {**model, **others, **scorer}) for scorer in (scorers if reads else [{}]))


def execute(step: str, parameters: Mapping[str, str]) -> Path:
    """Run the notebook `step` with `parameters` and return the path of its HTML report.

    Raises StudyError with the sentence of the failing cell and the command that runs it again.
    """
    with closing(Kernel()) as kernel:
        notebook = _executed(step, parameters, kernel)
    return _page(step, parameters, notebook)


def _executed(step: str, parameters: Mapping[str, str], kernel: Kernel) -> Path:
    output = rendered(step, parameters)
    running = output.with_name(f".{output.stem}.part.ipynb")
    with _told(step, parameters, running), store.lock(output):
        with progress.running(progress.name_of(step, parameters)):
            _run(step, parameters, running, kernel)
        running.replace(output)
    return output


def _page(step: str, parameters: Mapping[str, str], notebook: Path) -> Path:
    """Write the page of an executed `notebook`; what an earlier run of it left as evidence goes."""
    with _told(step, parameters), store.lock(notebook):
        report = write_report(notebook)
    evidence = _evidence(step, parameters)
    for past in (evidence, evidence.with_suffix(".html")):
        past.unlink(missing_ok=True)
    print(os.path.relpath(report), flush=True)
    return report


def _evidence(step: str, parameters: Mapping[str, str]) -> Path:
    return paths.failed_notebook(step, "-".join(parameters.values()))


@contextmanager
def _told(step: str, parameters: Mapping[str, str], running: Path | None = None) -> Iterator[None]:
    """Say what fails in a sentence, with the command that runs it again; keep the notebook `running`."""
    try:
        yield
    except FAULTS as error:
        kept = _kept(running, _evidence(step, parameters)) if running else ""
        again = " ".join(["python -m lib.running.execute", step, *given(parameters)])
        raise StudyError(f"{step} failed{_why(error)}{kept}\n  to run just this again: {again}") from None


def _run(step: str, parameters: Mapping[str, str], output: Path, kernel: Kernel) -> None:
    papermill.execute_notebook(
        paths.notebook(step),
        output,
        parameters=dict(parameters),
        kernel_name="python3",
        engine_name="in a kernel",
        progress_bar=False,
        kernel=kernel,
    )


def _why(error: Exception) -> str:
    match error:
        case PapermillExecutionError(ename="StudyError"):
            return f" in cell {error.exec_count}: {error.evalue}"
        case PapermillExecutionError():
            return f" in cell {error.exec_count}: {error.ename}: {error.evalue}"
        case StudyError():
            return f": {error}"
        case OSError():
            return f": {in_a_sentence(error)}"
    return (
        ": its kernel died; the system ended it, for want of memory as a rule, or a library crashed. Give it "
        "more memory (a smaller `window` of the scorer, fewer jobs at once) and run it again."
    )


def _kept(running: Path, evidence: Path) -> str:
    """Keep what there is of the notebook, marked as failed; the line that says where."""
    if not running.exists():
        return ""
    try:
        evidence.parent.mkdir(parents=True, exist_ok=True)
        content = nbformat.read(running, as_version=4)
        content.metadata.setdefault("papermill", {})["exception"] = True  # a dead kernel leaves no mark
        nbformat.write(content, evidence)
        running.unlink()
        write_report(evidence)
    except (OSError, nbformat.reader.NotJSONError):
        return ""  # a full disk keeps nothing
    return f"\n  what it had done: {os.path.relpath(evidence)}"


def rendered(step: str, parameters: Mapping[str, str]) -> Path:
    """Where the executed notebook belongs."""
    if step == "04_compare":
        study, _, name = resolve_comparison(parameters)
        return paths.rendered_comparison(study, name)
    run = resolve(step, parameters)
    scorer = None if step == "01_generate" else run.scorer_name
    return paths.rendered_notebook(step, run.dataset_name, run.source_name, scorer)


if __name__ == "__main__":
    sys.exit(main())
