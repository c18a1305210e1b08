"""The measures of step 03, as step 04 and the pages read them."""

from collections.abc import Collection, Sequence

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
    parts = [
        store.read(
            paths.uid(scorer, dataset, source),
            again or made_by(study_name, scorer, dataset, source),
            ["doc_id", *columns],
        ).assign(source=source, dataset=dataset)
        for dataset, source in repository.pairs(study_name, study)
        if source in sources
    ]
    return pd.concat(parts, ignore_index=True)
