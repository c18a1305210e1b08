"""Kill whole studies at random moments; what a plain run makes of the rest must be the undisturbed bytes.

    python -m tests.campaign.kills --rounds 100

Each round takes some files of data away from a finished study, starts `make study`'s command, kills it
(the command itself, one of its processes, or all at once), and runs the command plainly, which must end
with status 0 and leave every file of data as it was. Minutes a round; the exit status is 1 if any differs.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil

from tests.conftest import SMALL_STUDY, make_project, make_small_study

COMMAND = [sys.executable, "-m", "lib.running.study", "demo"]
MOST_AWAY = 4  # files of data that a round takes away
PATIENCE = 30.0  # seconds in which what is left of a killed run must end


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return campaign(Path(folder) / "study", arguments.rounds, random.Random(arguments.seed))


def campaign(root: Path, rounds: int, draw: random.Random) -> int:
    root.mkdir()
    make_project(root)
    make_small_study(root)
    (root / "params" / "studies" / "demo.yaml").write_text(
        SMALL_STUDY.replace("paper: true", "") + "samples: 2\n"
    )
    began = time.monotonic()
    if (status := run(root).wait()) != 0:
        print(f"the undisturbed study ended with status {status}")
        return 1
    whole, undisturbed = time.monotonic() - began, bytes_of(root)
    print(f"{len(undisturbed)} files, {whole:.0f} s undisturbed", flush=True)
    outcomes: Counter[str] = Counter()
    for number in range(1, rounds + 1):
        away = draw.sample(sorted(undisturbed), draw.randint(1, MOST_AWAY))
        for file in away:
            (root / file).unlink()
        killed = kill_within(run(root), draw.uniform(1.0, whole / 2), draw)
        status = run(root).wait()
        now = bytes_of(root)
        differing = sorted(file for file in {*undisturbed, *now} if now.get(file) != undisturbed.get(file))
        outcome = f"status {status}" if status else "other bytes" if differing else "the same bytes"
        outcomes[outcome] += 1
        print(f"{number:4d}  {killed:28s}  {outcome}  {', '.join(differing)}", flush=True)
        if differing or status:
            print(f"      taken away: {', '.join(away)}", flush=True)
            undisturbed = undisturbed if status else now  # one fault is told once
    print(", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common()))
    return int(set(outcomes) != {"the same bytes"})


def run(root: Path) -> subprocess.Popen[bytes]:
    quiet = subprocess.DEVNULL
    environment = os.environ | {"STUDY_ROOT": str(root)}
    return subprocess.Popen(COMMAND, env=environment, stdout=quiet, stderr=quiet, start_new_session=True)


def kill_within(process: subprocess.Popen[bytes], seconds: float, draw: random.Random) -> str:
    """SIGKILL after `seconds`, unless it ended before; what was killed. Its last process is gone then."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
        return "nothing: it had ended"
    below = psutil.Process(process.pid).children(recursive=True)
    what = draw.choice(["the command", "one of its processes", "all at once"])
    chosen = {"the command": [], "one of its processes": below and [draw.choice(below)], "all at once": below}
    for each in chosen[what]:
        with suppress(psutil.NoSuchProcess):
            each.send_signal(signal.SIGKILL)
    if what != "one of its processes":
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
