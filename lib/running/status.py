"""What of a study is done, stale or missing, and why: `python -m lib.running.status demo` (`make status`)."""

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from lib import paths
from lib.commands import a_command
from lib.datasets import repository
from lib.errors import StudyError
from lib.params import Study
from lib.running import slurm, steps
from lib.running.check import checked_study
from lib.running.study import snakemake_command

REASONS = {
    "Missing output files": "missing",
    "Forced execution": "stale",
    "Updated input files": "stale",
    "Input files updated by another job": "stale",
    "Params have changed since last execution": "stale",
    "Set of input files has changed since last execution": "stale",
}
DATA = {"generate": "01_generate", "surprisal": "02_surprisal", "uid": "03_uid", "compare": "04_compare"}
STEPS = DATA | {"source_reports": "reports 01 to 03", "compare_report": "report 04_compare"}
WILDCARDS = ("dataset", "source", "scorer", "comparison")  # in this order in the name of a step
MOST_FILES = 3


@a_command
def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("study", nargs="?", default="demo")
    table = status(parser.parse_args().study)
    print(table.to_markdown(index=False, tablefmt="plain"))
    counts = table["state"].value_counts()
    print("\n" + ", ".join(f"{counts[state]} {state}" for state in counts.index))
    return 0


def status(name: str) -> pd.DataFrame:
    """Columns `step`, `of`, `state` and `why`, one row per step of the study.

    A state is done, stale or missing; of jobs on a cluster waiting, running or failed.

    Raises StudyError for whatever is wrong with what the study declares, a line for each.
    """
    study = checked_study(name)
    there = repository.narrowed(name, study)
    planned = dict(_planned(name, study, steps.bundles(name, there)))
    rows, jobs = [], slurm.jobs()
    for step, about in _steps(name, there):
        reason = planned.get((step, about))
        state, why = ("done", "") if reason is None else _on_cluster(step, about, jobs) or _state(reason)
        rows.append({"step": STEPS.get(step, step), "of": " ".join(about), "state": state, "why": why})
    for lack in repository.lacking(name, study).itertuples():
        of = " ".join(each for each in (lack.dataset, lack.source) if each != "–")
        rows.append({"step": "import", "of": of, "state": "not there", "why": lack.why})
    return pd.DataFrame(rows)


def _steps(study_name: str, study: Study) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every step of `study` as Snakemake's rule and the values of its wildcards."""
    there = repository.pairs(study_name, study)
    for dataset in study.datasets:
        if not study.imported:
            yield "documents", (dataset,)
        for source in (source for where, source in there if where == dataset):
            for rule in ("generate", "source_reports"):
                yield rule, (dataset, source)
            for scorer in study.scorers:
                for rule in ("surprisal", "uid"):
                    yield rule, (dataset, source, scorer)
        yield "text_page", (dataset,)
    for comparison in study.comparisons:
        for rule in ("compare", "compare_report"):
            yield rule, (comparison,)
    if study.hypotheses:
        yield "hypotheses", ()
    yield "front_page", ()
    if study.paper:
        yield "paper_notebook", ()
        if shutil.which("quarto"):
            yield "paper", ()


def _planned(
    name: str, study: Study, bundles: Sequence[tuple[str, Sequence[str]]]
) -> Iterator[tuple[tuple[str, tuple[str, ...]], str]]:
    """What a run would do now, and Snakemake's reason for it; `bundles` are those of `steps`."""
    done = subprocess.run(
        [*snakemake_command(name, study), "--dry-run"],
        cwd=paths.root(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "StudyError" in line]
        raise StudyError(said[-1].partition("StudyError: ")[2] if said else done.stderr.strip()[-500:])
    for block in re.split(r"\n(?=(?:local)?rule \w+:)", done.stdout + done.stderr)[1:]:
        rule = block.split()[1].rstrip(":")
        reason = re.search(r"^ +reason: (.*)$", block, re.M)
        wildcards = re.search(r"^ +wildcards: (.*)$", block, re.M)
        values = dict(pair.split("=", 1) for pair in wildcards[1].split(", ")) if wildcards else {}
        why = reason[1] if reason else ""
        if bundle := re.fullmatch(r"source_reports_(\d+)", rule):
            dataset, sources = bundles[int(bundle[1])]
            yield from ((("source_reports", (dataset, source)), why) for source in sources)
        else:
            yield (rule, tuple(values[name] for name in WILDCARDS if name in values)), why


def _on_cluster(rule: str, about: tuple[str, ...], jobs: Sequence[slurm.Job]) -> tuple[str, str] | None:
    """Whether a step that is not done waits, runs or has failed on a cluster, with the path of its log."""
    wildcards = "_".join((*about[2:], *about[:2]))  # a scorer comes first in paths
    of_step = (f"rule_{rule}/{wildcards}", f"rule_{rule}_shard/{wildcards}_")
    mine = [job for job in jobs if job.name == of_step[0] or job.name.startswith(of_step[1])]
    running = [job for job in mine if not job.waits]
    if running:
        return "running", f"its log: {paths.shown(running[0].log)}"
    if mine:
        return "waiting", f"in Slurm: {mine[0].why}"
    if logs := slurm.logs_of(rule, wildcards):
        return "failed", f"{slurm.last_words(logs[-1])[-1].removeprefix('error: ')} ({paths.shown(logs[-1])})"
    return None


def _state(reason: str) -> tuple[str, str]:
    first = reason.split("; ")[0]
    kind, _, names = first.partition(": ")
    files = [_shown(file) for file in names.split(", ") if file]
    code = [file for file in files if file.startswith("lib/")]
    files = [file for file in files if file not in code] + (["the code in lib/"] if code else [])
    more = f" and {len(files) - MOST_FILES} more" if len(files) > MOST_FILES else ""
    why = {"missing": "not made yet", "stale": "changed: "}[REASONS.get(kind, "stale")]
    if kind == "Forced execution":
        return "stale", "made by hand since, with other parameters"
    if kind.startswith("Params"):
        return "stale", "changed: what it follows from, code or files"
    if kind == "Input files updated by another job":
        why = "follows from: "
    state = REASONS.get(kind, "stale")
    return state, why if state == "missing" else why + ", ".join(files[:MOST_FILES]) + more


def _shown(file: str) -> str:
    path = Path(file)
    return str(path.relative_to(paths.root())) if path.is_relative_to(paths.root()) else file


if __name__ == "__main__":
    sys.exit(main())
