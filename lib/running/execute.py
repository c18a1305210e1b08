"""Execute one notebook headless and write its report; the Snakefile calls it for every step.

    python -m lib.running.execute 02_surprisal -p model tiny-base

The executed notebook and its HTML go to `rendered/`. When a cell fails, the notebook is kept as
evidence under `rendered/failed/`, one sentence says why, and nothing downstream reads it.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

import papermill
from papermill.exceptions import PapermillExecutionError

from lib import paths, progress
from lib.errors import StudyError
from lib.params.run import resolve, resolve_comparison
from lib.reports.page import write_report

STEPS = ("01_generate", "02_surprisal", "03_uid", "04_compare")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    arguments = parser.parse_args()
    try:
        report = execute(arguments.step, dict(arguments.p))
    except StudyError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(os.path.relpath(report))
    return 0


def execute(step: str, parameters: Mapping[str, str]) -> Path:
    """Run the notebook `step` with `parameters` and return the path of its HTML report.

    Raises StudyError with the sentence of the failing cell and the command that runs it again.
    """
    output = rendered(step, parameters)
    output.parent.mkdir(parents=True, exist_ok=True)
    running = output.with_name(f".{output.stem}.part.ipynb")
    evidence = paths.failed_notebook(step, "-".join(parameters.values()))
    try:
        with progress.running(_name(step, parameters)):
            papermill.execute_notebook(
                paths.notebook(step),
                running,
                parameters=dict(parameters),
                kernel_name="python3",
                progress_bar=False,
                cwd=paths.root(),
                extra_arguments=["--log-level=ERROR"],
            )
    except PapermillExecutionError as error:
        evidence.parent.mkdir(parents=True, exist_ok=True)
        running.replace(evidence)
        write_report(evidence)
        given = " ".join(f"-p {name} {shlex.quote(value)}" for name, value in parameters.items())
        raise StudyError(
            f"{step} failed in cell {error.exec_count}: {error.evalue}\n"
            f"  what it had done: {os.path.relpath(evidence)}\n"
            f"  to run just this again: python -m lib.running.execute {step} {given}"
        ) from None
    running.replace(output)
    for past in (evidence, evidence.with_suffix(".html")):
        past.unlink(missing_ok=True)
    return write_report(output)


def _name(step: str, parameters: Mapping[str, str]) -> str:
    about = [value for name, value in parameters.items() if name != "study"]
    return " ".join([step, *about])


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
