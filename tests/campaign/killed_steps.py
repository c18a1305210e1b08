"""Kill the steps that make data at random moments, as `kills.py` kills whole studies, but without Snakemake.

    python -m tests.campaign.killed_steps --kills 300

One process imports what the steps need and never uses it; each run is a fork of it, so a round takes two or
three seconds. A round takes files of data away (now and then all), runs the steps, kills them, and runs
them plainly: every file must have the bytes of an undisturbed run. After a kill, too, each file is as it was
or not there.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from lib import params
from lib.running import make
from tests.campaign.kills import MOST_AWAY, bytes_of, compared, declare_study

STUDY = "demo"
ALL_AWAY = 0.3  # the share of rounds that begin with no data


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    imported()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "study"
        declare_study(root)
        os.environ["STUDY_ROOT"] = str(root)
        os.chdir(root)
        return campaign(root, given.kills, random.Random(given.seed))


def imported() -> None:
    """Import what the steps import when they run; a fork need not do so again."""
    import lib.backends.transformers_generating
    import lib.backends.transformers_scoring
    import lib.compare.comparison
    import lib.compare.hypotheses
    import lib.generate.texts
    import lib.surprisal.scoring
    import lib.uid.measures  # noqa: F401


def campaign(root: Path, kills: int, draw: random.Random) -> int:
    began = time.monotonic()
    if ended(forked()) != 0:
        print("the undisturbed steps failed")
        return 1
    whole, undisturbed = time.monotonic() - began, bytes_of(root)
    print(f"{len(undisturbed)} files, {whole:.1f} s undisturbed", flush=True)
    killed = late = 0
    while killed < kills:
        away = sorted(undisturbed)
        if draw.random() >= ALL_AWAY:
            away = draw.sample(away, draw.randint(1, MOST_AWAY))
        for file in away:
            (root / file).unlink()
        began = time.monotonic()
        process = forked()
        time.sleep(draw.uniform(0, whole * len(away) / len(undisturbed) + 0.2))
        os.kill(process, signal.SIGKILL)
        if ended(process) == 0:
            late += 1  # it had ended just before
        else:
            killed += 1
        after = time.monotonic() - began
        differing = compared(undisturbed, bytes_of(root), whole=False)
        status = ended(forked())
        differing += compared(undisturbed, bytes_of(root), whole=True)
        if status or differing:
            print(
                f"killed after {after:.2f} s, without {', '.join(away)}: status {status}, {differing} differ"
            )
            return 1
    print(f"{killed} kills ({late} more came too late), each followed by the same bytes", flush=True)
    return 0


def forked() -> int:
    """A process that runs every step; its number."""
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 2)
        steps()
        status = 0
    finally:
        os._exit(status)


def ended(process: int) -> int:
    """The exit status of `process`, once it has ended; that of a killed one is none."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def steps() -> None:
    study = params.load_study(STUDY)
    for dataset in study.datasets:
        for source in study.sources:
            of = {"model": source, "study": STUDY, "dataset": dataset}
            make.make("texts", of)
            for scorer in study.scorers:
                make.make("surprisal", {**of, "scorer": scorer})
                make.make("uid", {**of, "scorer": scorer})
    for comparison in study.comparisons:
        make.make("compare", {"comparison": comparison, "study": STUDY})
    make.make("hypotheses", {"study": STUDY})


if __name__ == "__main__":
    sys.exit(main())
