"""Run a whole study: `python -m lib.study demo` (`make study`)."""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from lib import paths
from lib.errors import StudyError
from lib.params import load_study

QUARTO_HINT = (
    "The paper was not rendered: Quarto is not on PATH. "
    "Get it from quarto.org, then run `make study` again (or `quarto render paper/`)."
)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("study", nargs="?", default="demo")
    arguments = parser.parse_args()
    try:
        return run_study(arguments.study)
    except StudyError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def run_study(name: str) -> int:
    """Bring every file of the study `name` up to date; the exit status of Snakemake."""
    study = load_study(name)
    started = time.monotonic()
    status = snakemake(name)
    if status == 0:
        print(f"{study.title}: up to date after {time.monotonic() - started:.0f} s.")
        print(f"  reports  {os.path.relpath(paths.index_page())}")
        if study.paper and shutil.which("quarto"):
            print("  paper    _site/paper/index.html")
        elif study.paper:
            print(f"  {QUARTO_HINT}")
    else:
        print("The study is not complete; what failed is said above, the rest is kept.", file=sys.stderr)
    return status


def snakemake(name: str) -> int:
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--cores",
        "all",
        "--keep-going",
        "--quiet",
        "host",
        "progress",
        "reason",
        "rules",
    ]
    command += ["--rerun-triggers", "mtime", "input", "params", "--rerun-incomplete"]
    command += ["--snakefile", str(Path(__file__).parents[1] / "Snakefile"), "--config", f"study={name}"]
    environment = os.environ | {"PYTHONWARNINGS": "ignore", "QUARTO_PYTHON": sys.executable}
    return subprocess.run(command, cwd=paths.root(), env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
