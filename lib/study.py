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


SAID = ("error:", "  what it had done:", "  to run just this again:")


def snakemake(name: str) -> int:
    """Run the Snakefile; of its chatter only what a person acts on reaches the terminal."""
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
    with subprocess.Popen(
        command, cwd=paths.root(), env=environment, stderr=subprocess.PIPE, text=True, errors="replace"
    ) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if line.startswith(SAID):
                print(line, end="", file=sys.stderr, flush=True)
    if process.returncode and not any(line.startswith(SAID) for line in lines):
        print("".join(lines[-30:]), file=sys.stderr)  # Snakemake's own trouble
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())
