"""The measures of step 03, as step 04 and the pages read them."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd

from lib import paths, store
from lib.datasets import repository
from lib.params import Study


def made_by(study: str, scorer: str, dataset: str, source: str) -> str:
    """The command that makes a source's measures."""
    return (
        f"papermill notebooks/03_uid.ipynb OUT.ipynb -p model {source} -p study {study}"
        f" -p dataset {dataset} -p scorer {scorer}"
    )


def texts_of(
    study_name: str,
    study: Study,
    scorer: str,
    sources: Collection[str],
    columns: Sequence[str],
    again: str | None = None,
) -> pd.DataFrame:
    """A row per text of `sources` with `doc_id`, `columns`, and its `source` and `dataset`.

    Raises StudyError for a file that is missing or broken, with the command `again` or else the step's own.
    """
    parts = {
        (dataset, source): store.read(
            paths.uid(scorer, dataset, source),
            again or made_by(study_name, scorer, dataset, source),
            ["doc_id", *columns],
        )
        for dataset, source in repository.pairs(study_name, study)
        if source in sources
    }
    return together(list(parts.values()), [{"source": s, "dataset": d} for d, s in parts])


def together(parts: Sequence[pd.DataFrame], labels: Sequence[Mapping[str, str]]) -> pd.DataFrame:
    """The rows of all `parts`, each with the labels of its part as columns of categories.

    A category takes a byte a row where its name would take twenty; they are in the order of their names.
    """
    rows = pd.concat(parts, ignore_index=True)
    sizes = [len(part) for part in parts]
    for column in labels[0]:
        names, codes = np.unique([label[column] for label in labels], return_inverse=True)
        rows[column] = pd.Categorical.from_codes(np.repeat(codes, sizes), names)
    return rows


def documents_of(texts: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The number of each text's document [texts], from 0 on, in the order of `dataset` and `doc_id`.

    And where each document's first text stands [documents].
    """
    numbers = texts.groupby(["dataset", "doc_id"], sort=True).ngroup().to_numpy()
    return numbers, np.unique(numbers, return_index=True)[1]
