"""Kill whole studies at random moments; what a plain run makes of the rest must be the undisturbed bytes.

    python -m tests.campaign.kills --kills 100

Each round takes some files of data away from a finished study (now and then all of them), and starts `make
study`'s command one to six times, each time killing it at some moment (the command itself, one of its
processes, or all at once). After every kill each file of data is as it was or not there. Then the command
runs plainly, and must end with status 0 and leave every file of data as it was. A minute or two a round;
the exit status is 1 if anything differs.

With `--folder` the study stays there, and the campaign goes on from it when it is called again: `--seconds`
ends a call after the round in which they are over, and `--log` has a line for each round.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import yaml

from tests.conftest import SMALL_STUDY, make_project, make_small_study

COMMAND = [sys.executable, "-m", "lib.running.study", "demo"]
MOST_AWAY = 3  # files of data that a round takes away
MOST_KILLS = 6  # of a round, one after the other
LATEST = 30.0  # seconds after which a run is killed at the latest
ALL_AWAY = 0.1  # the share of rounds that begin with no data
PATIENCE = 30.0  # seconds in which what is left of a killed run must end


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no round after so many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where the study stays between two calls")
    parser.add_argument("--log", type=Path, help="a file to which each round's line is added")
    given = parser.parse_args()

    def say(line: str) -> None:
        print(line, flush=True)
        if given.log:
            with given.log.open("a") as stream:
                stream.write(f"{line}\n")

    with tempfile.TemporaryDirectory() as folder:
        root = given.folder or Path(folder) / "study"
        return campaign(root, given.kills, time.monotonic() + given.seconds, random.Random(given.seed), say)


def campaign(root: Path, kills: int, until: float, draw: random.Random, say: Callable[[str], None]) -> int:
    undisturbed = kept(root)
    if not undisturbed:
        shutil.rmtree(root, ignore_errors=True)
        whole = timed(lambda: make_study(root))
        if not (undisturbed := bytes_of(root)):
            say("the undisturbed study was not made")
            return 1
        say(f"{len(undisturbed)} files, {whole:.0f} s undisturbed")
        keep(root, undisturbed)
    done = 0
    while done < kills and time.monotonic() < until:
        away = sorted(undisturbed)
        if draw.random() >= ALL_AWAY:
            away = draw.sample(away, draw.randint(1, MOST_AWAY))
        for file in away:
            (root / file).unlink(missing_ok=True)  # an earlier call may have been ended here
        killed: list[str] = []
        for _ in range(draw.randint(1, MOST_KILLS)):
            if (what := kill_within(run(root), draw.uniform(0.5, LATEST), draw)) is None:
                break  # it had ended, so there is nothing left to kill
            killed.append(what)
            if differing := compared(undisturbed, bytes_of(root), whole=False):
                say(f"after {what}: {', '.join(differing)} differ")
                return 1
        began = time.monotonic()
        status = run(root).wait()
        outcome = (
            f"{len(killed)} kills ({'; '.join(killed)}), then a plain run of {time.monotonic() - began:.0f} s"
        )
        away = ["everything"] if len(away) == len(undisturbed) else away
        outcome += f", status {status}; away: {', '.join(file.removeprefix('data/') for file in away)}"
        done += len(killed)
        differing = compared(undisturbed, bytes_of(root), whole=True)
        if status or differing:
            say(f"{outcome}: {', '.join(differing) or 'nothing'} differs")
            return 1
        say(f"{outcome}: the same bytes")
    say(f"{done} kills")
    return 0


def compared(undisturbed: dict[str, bytes], now: dict[str, bytes], *, whole: bool) -> list[str]:
    """The files that are not as they were; those that are not there, too, if `whole`."""
    files = {*undisturbed, *now} if whole else {file for file in now if ".parts/" not in file}
    return sorted(file for file in files if now.get(file) != undisturbed.get(file))


def make_study(root: Path) -> None:
    declare_study(root)
    if run(root).wait() != 0:
        shutil.rmtree(root)


def declare_study(root: Path) -> None:
    """A whole study of few processes: people and one model, a comparison and a hypothesis."""
    root.mkdir(parents=True)
    make_project(root)
    make_small_study(root)
    study = yaml.safe_load(SMALL_STUDY)
    study |= {"sources": ["human", "tiny-rlhf"], "samples": 2, "paper": False}
    study["hypotheses"].pop("spread")
    study["comparisons"]["all"]["sources"] = study["sources"]
    (root / "params" / "studies" / "demo.yaml").write_text(yaml.safe_dump(study))


def keep(root: Path, undisturbed: dict[str, bytes]) -> None:
    for file, content in undisturbed.items():
        place = root / "undisturbed" / file
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)


def kept(root: Path) -> dict[str, bytes]:
    return bytes_of(root / "undisturbed")


def timed(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


def run(root: Path) -> subprocess.Popen[bytes]:
    quiet = subprocess.DEVNULL
    environment = os.environ | {"STUDY_ROOT": str(root)}
    said = (root / "said.log").open("ab")
    return subprocess.Popen(COMMAND, env=environment, stdout=quiet, stderr=said, start_new_session=True)


def kill_within(process: subprocess.Popen[bytes], seconds: float, draw: random.Random) -> str | None:
    """SIGKILL after `seconds`; what was killed, or None if it ended before. Its last process is gone then."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
        return None
    below = psutil.Process(process.pid).children(recursive=True)
    what = draw.choice(["the command", "a process", "all"])
    chosen = {"the command": [], "a process": below and [draw.choice(below)], "all": below}
    for each in chosen[what]:
        with suppress(psutil.NoSuchProcess):
            each.send_signal(signal.SIGKILL)
    if what != "a process" or not below:
        process.kill()
    process.wait()
    _, left = psutil.wait_procs(below, timeout=PATIENCE)
    return f"{what} after {seconds:.0f} s" + (f", {len(left)} live on" if left else "")


def bytes_of(root: Path) -> dict[str, bytes]:
    """Every file of data, by its path from `root`."""
    files = (root / "data").rglob("*.parquet")
    return {
        str(file.relative_to(root)): file.read_bytes()
        for file in files
        if not {"models", "earlier"} & set(file.relative_to(root / "data").parts)
    }


if __name__ == "__main__":
    sys.exit(main())
