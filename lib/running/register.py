"""Fix what a study claims before its data: `python -m lib.running.register demo` (`make register`)."""

import argparse
import sys

from lib import paths
from lib.commands import a_command
from lib.compare.registration import register, registration
from lib.running.check import checked_study


@a_command
def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("study", nargs="?", default="demo")
    name = parser.parse_args().study
    checked_study(name)
    path = register(name)
    print(f"Wrote {paths.shown(path)}: {registration(name)}.")
    print(f"Commit it before the run: git add {paths.shown(path)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
