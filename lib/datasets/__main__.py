"""Find the documents of a dataset and keep them: `python -m lib.datasets pydocs`."""

import sys

from lib import datasets, paths
from lib.commands import a_command
from lib.params import load_dataset


@a_command
def main() -> int:
    for name in sys.argv[1:]:
        found = datasets.load(name, load_dataset(name))
        left_out = len(datasets.left_out(name))
        more = f", {left_out} texts left out as unfit" if left_out else ""
        print(f"{paths.shown(paths.documents(name))}: {len(found)} documents{more}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
