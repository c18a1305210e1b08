"""Many texts' values in one array, and what is computed of each text at once.

Values of all texts stand one after the other; `Series` says where each text begins. Everything is
one pass of numpy over the whole array, without a loop over texts.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROWS_AT_ONCE = 1 << 19


class Series:
    """Consecutive series in one array: number i is `values[starts[i]:starts[i + 1]]`; none is empty."""

    def __init__(self, starts: np.ndarray, size: int) -> None:
        self.starts, self.size = np.asarray(starts, dtype=np.int64), size
        self.lengths = np.diff(self.starts, append=size)

    @classmethod
    def of_runs(cls, labels: np.ndarray) -> "Series":
        """One series for each run of equal `labels` [values]."""
        changes = np.flatnonzero(labels[1:] != labels[:-1]) + 1
        return cls(np.concatenate([[0], changes]) if len(labels) else np.empty(0), len(labels))

    def __len__(self) -> int:
        return len(self.starts)

    @cached_property
    def number(self) -> np.ndarray:
        """Which series each value belongs to, [values]."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @cached_property
    def position(self) -> np.ndarray:
        """Each value's place in its series, from 0, [values]."""
        return np.arange(self.size) - np.repeat(self.starts, self.lengths)

    @cached_property
    def adjacent(self) -> np.ndarray:
        """Whether the next value belongs to the same series, [values − 1]."""
        same = np.ones(max(self.size - 1, 0), dtype=bool)
        same[self.starts[1:] - 1] = False
        return same

    def sum(self, values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(values, self.starts, dtype=np.float64) if len(self) else np.empty(0)

    def mean(self, values: np.ndarray) -> np.ndarray:
        return self.sum(values) / self.lengths

    def minimum(self, values: np.ndarray) -> np.ndarray:
        return np.minimum.reduceat(values, self.starts) if len(self) else np.empty(0)

    def maximum(self, values: np.ndarray) -> np.ndarray:
        return np.maximum.reduceat(values, self.starts) if len(self) else np.empty(0)

    def median(self, values: np.ndarray) -> np.ndarray:
        ordered = values.astype(np.float64)  # a copy; sorting short slices in place beats a lexsort
        for part in np.split(ordered, self.starts[1:]):
            part.sort()
        low, high = self.starts + (self.lengths - 1) // 2, self.starts + self.lengths // 2
        return (ordered[low] + ordered[high]) / 2

    def spread(self, means: np.ndarray) -> np.ndarray:
        """`means` [series] repeated for each value, [values]."""
        return np.repeat(means, self.lengths)

    def of_neighbours(self, pairs: np.ndarray) -> np.ndarray:
        """The mean over each series' neighbours of `pairs` [values − 1]; missing for a single value."""
        total = np.zeros(len(self))
        if len(pairs):
            padded = np.append(np.where(self.adjacent, pairs, 0.0), 0.0)
            total = self.sum(padded)
        return divide(total, self.lengths - 1)

    def previous(self, codes: np.ndarray) -> np.ndarray:
        """Where in its series each value's code stood last, [values]; −1 for its first occurrence."""
        order = np.lexsort((codes, self.number))  # stable, so positions rise within equal codes
        same = (np.diff(codes[order]) == 0) & (np.diff(self.number[order]) == 0)
        found = np.full(self.size, -1)
        found[order[1:][same]] = self.position[order[:-1][same]]
        return found


def divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Element by element; missing where the denominator is 0."""
    out = np.full(np.shape(numerator), np.nan)
    return np.divide(numerator, denominator, out=out, where=np.asarray(denominator) != 0)


def whole_texts(path: Path, columns: Sequence[str]) -> Iterator[tuple[list[str], Series, pa.Table]]:
    """The rows of `path`, which are grouped by `doc_id`, as (doc_ids, series, rows), some texts at a time.

    Row groups are read until there are about `ROWS_AT_ONCE` rows; a text that the last one cuts
    waits for the next, so that memory stays bounded by the longest text.
    """
    with pq.ParquetFile(
        path, read_dictionary=[name for name in ("doc_id", "token") if name in ("doc_id", *columns)]
    ) as file:
        waiting: list[pa.Table] = []
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        for groups in _batches(sizes):
            rows = pa.concat_tables([*waiting, file.read_row_groups(groups, columns=["doc_id", *columns])])
            rows = rows.unify_dictionaries()
            series = Series.of_runs(codes(rows, "doc_id"))
            if groups[-1] < len(sizes) - 1 and len(series):
                last = int(series.starts[-1])
                waiting = [rows.slice(last)]
                rows, series = rows.slice(0, last), Series(series.starts[:-1], last)
            if len(series):
                yield pc.take(rows["doc_id"], series.starts).to_pylist(), series, rows


def _batches(sizes: Sequence[int]) -> Iterator[list[int]]:
    """Consecutive row groups with about `ROWS_AT_ONCE` rows together."""
    batch: list[int] = []
    rows = 0
    for number, size in enumerate(sizes):
        batch.append(number)
        rows += size
        if rows >= ROWS_AT_ONCE:
            yield batch
            batch, rows = [], 0
    if batch:
        yield batch


def codes(rows: pa.Table, column: str) -> np.ndarray:
    """A number for each distinct value of the dictionary-encoded `column`, [rows]."""
    parts = [chunk.indices.to_numpy() for chunk in rows[column].chunks]
    return np.concatenate(parts).astype(np.int64) if parts else np.empty(0, dtype=np.int64)
