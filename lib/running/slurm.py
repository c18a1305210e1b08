"""Slurm's own view of a study's jobs: what waits, what runs and what failed, each with its log."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from lib import paths

OVER_MEMORY = r"(?:Detected|Exceeded|.*exceeded).*(?:oom|memory).*"
OF_SLURM = re.compile(rf"slurmstepd\S*: error: (?:\*\*\* (JOB .*?) \*\*\*|({OVER_MEMORY}))")
WITHOUT_A_WORD = "error: A job ended without a word; its node may be gone."
WAITING = ("PENDING", "CONFIGURING", "REQUEUED", "SUSPENDED")
OFTEN = 10.0  # seconds between two questions to Slurm
ANSWERS_WITHIN = 10.0  # seconds


class Job(NamedTuple):
    """A job that Slurm has: its rule and wildcards as they are in its log's path, and why it waits."""

    number: str
    name: str
    waits: bool
    why: str

    @property
    def log(self) -> Path:
        return _logs() / self.name / f"{self.number}.log"


def jobs() -> list[Job]:
    """The jobs of studies in this folder that have not ended; none where Slurm is not there or silent."""
    if shutil.which("squeue") is None:
        return []
    asked = ["squeue", "--me", "--noheader", "--format=%i|%T|%r|%k|%Z"]
    try:
        said = subprocess.run(asked, capture_output=True, text=True, timeout=ANSWERS_WITHIN, check=False)
    except subprocess.TimeoutExpired:
        return []
    found = []
    for line in said.stdout.splitlines():
        number, state, why, comment, folder = (line.split("|") + 5 * [""])[:5]
        if Path(folder) == paths.root() and comment.startswith("rule_"):
            found.append(Job(number, comment.replace("_wildcards_", "/", 1), state in WAITING, why))
    return found


class Queue:
    """What waits, for the terminal; Slurm is asked every `OFTEN` seconds."""

    def __init__(self, ask: Callable[[], list[Job]] = jobs) -> None:
        self._ask, self._asked, self._lines = ask, -OFTEN, list[str]()

    def lines(self) -> list[str]:
        """One line for all that waits, with Slurm's reasons."""
        if monotonic() - self._asked > OFTEN:
            waiting = [job for job in self._ask() if job.waits]
            reasons = ", ".join(dict.fromkeys(job.why for job in waiting))
            self._lines = [f"waiting in Slurm: {len(waiting)} ({reasons})"] if waiting else []
            self._asked = monotonic()
        return self._lines


def logs_of(rule: str, wildcards: str) -> list[Path]:
    """The logs of a rule's jobs and of their shards, oldest first; those of successful jobs are deleted."""
    found = [*(_logs() / f"rule_{rule}" / wildcards).glob("*.log")]
    found += _logs().glob(f"rule_{rule}_shard/{wildcards}_*/*.log")
    return sorted(found, key=lambda log: log.stat().st_mtime)


def job_logs() -> set[Path]:
    """All logs of jobs that there are."""
    return set(_logs().rglob("*.log"))


def failed_jobs(said: tuple[str, ...], earlier: set[Path]) -> list[str]:
    """What failed jobs without a log in `earlier` said: lines that begin as one of `said`, or Slurm's own."""
    found = []
    for log in sorted(job_logs() - earlier):
        found += last_words(log, said)
        found.append(f"  the job's log: {paths.shown(log)}")
    return found


def last_words(log: Path, said: Iterable[str] = ("error:",)) -> list[str]:
    """Why the job of `log` ended: its own lines that begin as one of `said`, else Slurm's."""
    text = log.read_text(errors="replace")
    own = [line for line in text.splitlines() if line.startswith(tuple(said))]
    slurms = [f"error: {''.join(parts)}" for parts in OF_SLURM.findall(text)]
    return own or slurms[:1] or [WITHOUT_A_WORD]


def _logs() -> Path:
    return paths.root() / ".snakemake" / "slurm_logs"
