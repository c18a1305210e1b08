"""Find the documents of a dataset and keep them: `python -m lib.datasets pydocs`."""

import sys

from lib import datasets, paths
from lib.errors import StudyError
from lib.params import load_dataset

if __name__ == "__main__":
    try:
        for name in sys.argv[1:]:
            found = datasets.load(name, load_dataset(name))
            left_out = len(datasets.left_out(name))
            more = f", {left_out} texts left out as unfit" if left_out else ""
            print(f"{paths.shown(paths.documents(name))}: {len(found)} documents{more}")
    except StudyError as error:
        sys.exit(f"error: {error}")
