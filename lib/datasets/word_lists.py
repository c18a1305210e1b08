"""Tables of words that a dataset brings: each text cut as a reading-time corpus has cut it."""

import math
from typing import Any

from lib import paths, store
from lib.datasets import rows
from lib.datasets.values import with_plain_line_ends
from lib.errors import StudyError, nearest
from lib.params import Dataset, WordList

KINDS = (".csv", ".tsv", ".parquet")


def of(dataset: Dataset) -> WordList | None:
    """What `dataset` declares as its words."""
    return getattr(dataset, "words", None)


def read(declared: WordList) -> dict[str, tuple[str, ...]]:
    """The words of each text by its `doc_id`, in the order of their numbers.

    Raises StudyError if the table cannot be read, lacks a column, or numbers a word twice.
    """
    path = paths.resolve(declared.file)
    if path.suffix.lower() not in KINDS:
        raise StudyError(
            f"A table of words is {', '.join(KINDS[:-1])} or {KINDS[-1]}; {paths.shown(path)} is none."
        )
    columns = (declared.doc_id, declared.number, declared.word)
    known: dict[str, None] = {}
    table = list(rows.of_file(path, columns, known))
    for column in columns:
        if column not in known:
            raise StudyError(
                f"The table of words {paths.shown(path)} has no column {column!r}; {nearest(column, known)}"
            )
    numbered: dict[str, dict[float, str]] = {}
    for row, values in enumerate(table, start=1):
        doc_id, word = _text(values[declared.doc_id]), _text(values[declared.word])
        number = _number(values[declared.number])
        words = numbered.setdefault(doc_id, {})
        if number is None or number in words:
            why = "has no number" if number is None else "is there twice"
            raise StudyError(
                f"The table of words {paths.shown(path)} is wrong in row {row}: the word {word!r} of text "
                f"{doc_id!r} {why}."
            )
        words[number] = word
    return {doc_id: tuple(words[number] for number in sorted(words)) for doc_id, words in numbered.items()}


def _text(value: Any) -> str:
    return "" if value is None else with_plain_line_ends(str(value))


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def identity(declared: WordList) -> str:
    """A hash of the table."""
    return store.file_hash(paths.resolve(declared.file))
