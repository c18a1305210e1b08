"""Tables of words that a dataset brings: each text cut as a reading-time corpus has cut it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from lib import paths, store
from lib.errors import StudyError, nearest
from lib.params import Dataset, WordList

SEPARATORS = {".csv": ",", ".tsv": "\t"}


def of(dataset: Dataset) -> WordList | None:
    """What `dataset` declares as its words."""
    return getattr(dataset, "words", None)


def read(declared: WordList) -> dict[str, tuple[str, ...]]:
    """The words of each text by its `doc_id`, in the order of their numbers.

    Raises StudyError if the table cannot be read, lacks a column, or numbers a word twice.
    """
    path = paths.resolve(declared.file)
    table = _table(path)
    for column in (declared.doc_id, declared.number, declared.word):
        if column not in table.columns:
            raise StudyError(
                f"The table of words {paths.shown(path)} has no column {column!r}; "
                f"{nearest(column, table.columns)}"
            )
    rows = pd.DataFrame(
        {
            "doc_id": table[declared.doc_id].astype(str),
            "number": pd.to_numeric(table[declared.number], errors="coerce"),
            "word": table[declared.word].astype(str),
        }
    )
    for bad, why in (
        (rows["number"].isna(), "has no number"),
        (rows.duplicated(["doc_id", "number"]), "is there twice"),
    ):
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise StudyError(
                f"The table of words {paths.shown(path)} is wrong in row {row + 1}: the word "
                f"{rows['word'][row]!r} of text {rows['doc_id'][row]!r} {why}."
            )
    ordered = rows.sort_values("number", kind="stable").groupby("doc_id", sort=False)["word"]
    return {str(doc_id): tuple(words) for doc_id, words in ordered}


def identity(declared: WordList) -> str:
    """A hash of the table."""
    return store.file_hash(paths.resolve(declared.file))


def _table(path: Path) -> pd.DataFrame:
    if path.suffix not in {*SEPARATORS, ".parquet"}:
        raise StudyError(f"A table of words is .csv, .tsv or .parquet; {paths.shown(path)} is none of them.")
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        # Words such as "null" and "NA" are words, and numbers with leading zeros are names of texts.
        return pd.read_csv(path, sep=SEPARATORS[path.suffix], dtype=str, keep_default_na=False)
    except (OSError, ValueError, pa.ArrowException) as error:
        said = str(error).splitlines()[0].rstrip(".")
        raise StudyError(f"The table of words {paths.shown(path)} cannot be read ({said}).") from error
