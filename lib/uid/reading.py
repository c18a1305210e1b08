"""Step 03 reads the files of steps 01 and 02 side by side, some whole texts at a time.

Blocks are as large as the processor's cache holds, and are computed side by side; no result depends on
where one block ends and the next begins, and memory does not grow with the number of texts. All three
files have the texts in one order.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import pyarrow as pa

from lib import machine, paths, store
from lib.batches import batches
from lib.datasets.document import KEYS, Key
from lib.errors import StudyError
from lib.uid.series import Series

ROWS_AT_ONCE = 1 << 17
TEXTS_AT_ONCE = 1 << 12

Given = TypeVar("Given")
Result = TypeVar("Result")


class Texts(Protocol):
    """What is asked once for each text, by its doc_id and sample."""

    def __getitem__(self, key: Key, /) -> str: ...


class Block(NamedTuple):
    """Some whole texts: the doc_id and sample of each, where they lie in `rows`, and the rows of all."""

    keys: list[Key]
    series: Series
    rows: pa.Table


def side_by_side(compute: Callable[[Given], Result], given: Iterable[Given]) -> Iterator[Result]:
    """`compute` of each of `given`, in their order.

    The next are read while others are computed, in threads: numpy and pyarrow work in C.
    """
    cores = machine.threads()
    with ThreadPoolExecutor(cores) as pool:
        waiting: deque[Future[Result]] = deque()
        for each in given:
            waiting.append(pool.submit(compute, each))
            if len(waiting) > cores:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def whole_texts(path: Path, columns: Sequence[str]) -> Iterator[Block]:
    """The rows of `path`, which are grouped by `doc_id` and `sample`, some texts at a time.

    Row groups are read until there are about `ROWS_AT_ONCE` rows; a text that the last one cuts goes
    with the next, so that memory stays bounded by the longest text.
    """
    encoded = [name for name in ("doc_id", "token") if name in ("doc_id", *columns)]
    with store.opened(path, read_dictionary=encoded) as file:
        waiting: pa.Table | None = None
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        for groups in batches(np.flatnonzero(sizes).tolist(), sizes.__getitem__, ROWS_AT_ONCE):
            rows = file.read_row_groups(groups, columns=[*KEYS, *columns]).unify_dictionaries()
            if waiting is not None:
                whole = len(waiting)
                if all(waiting[name][-1].as_py() == rows[name][0].as_py() for name in KEYS):
                    whole = int(_texts(waiting).starts[-1])
                    rows = pa.concat_tables([waiting.slice(whole), rows]).unify_dictionaries()
                if whole:
                    yield _block(waiting.slice(0, whole))
            waiting = rows
        if waiting is not None:
            yield _block(waiting)


class InStep:
    """A file whose texts are read as those of another file are, in which they have the same order."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._path, self._blocks = path, whole_texts(path, columns)
        self._rest = next(self._blocks, None)

    def of(self, keys: Sequence[Key]) -> Block | None:
        """The rows of the texts `keys`, as far as they are here; None if none is."""
        wanted, found = set(keys), list[pa.Table]()
        while (block := self._rest) is not None:
            count = next((n for n, key in enumerate(block.keys) if key not in wanted), len(block.keys))
            if count == len(block.keys):
                found.append(block.rows)
                self._rest = next(self._blocks, None)
                continue
            if count:
                row = int(block.series.starts[count])
                found.append(block.rows.slice(0, row))
                self._rest = _block(block.rows.slice(row))
            break
        return _block(pa.concat_tables(found).unify_dictionaries()) if found else None

    def check(self) -> None:
        """Raise StudyError if texts are left, which the other file has not, or in another order."""
        if self._rest is not None:
            raise StudyError(
                f"{paths.shown(self._path)} has the text {self._rest.keys[0][0]!r} out of the order of the "
                f"tokens beside it; delete it and make it again with `make study`."
            )


class InOrder:
    """The texts of a file of step 01, asked for in about their order: few are held at a time."""

    def __init__(self, path: Path) -> None:
        self._read, self._held = _texts_of(path), dict[Key, str]()

    def __getitem__(self, key: Key) -> str:
        """The text, which is then given up. Raises KeyError if it is not there, or was asked for before."""
        while key not in self._held:
            some = next(self._read, None)
            if some is None:
                raise KeyError(key)
            self._held |= some
        return self._held.pop(key)


def _texts_of(path: Path) -> Iterator[dict[Key, str]]:
    with store.opened(path, columns=[*KEYS, "text"]) as file:
        for batch in file.iter_batches(TEXTS_AT_ONCE, columns=[*KEYS, "text"]):
            doc_ids, samples, texts = (batch[name].to_pylist() for name in (*KEYS, "text"))
            keys = zip(doc_ids, samples, strict=True)
            yield {key: text or "" for key, text in zip(keys, texts, strict=True)}


def mean_of(path: Path) -> float:
    """The mean surprisal of all rows of `path`, in bits; nan if there is none."""
    with store.opened(path, columns=["surprisal"]) as file:
        groups = range(file.num_row_groups)
        sums = [np.sum(file.read_row_group(n, ["surprisal"])["surprisal"].to_numpy()) for n in groups]
        return math.fsum(sums) / file.metadata.num_rows if file.metadata.num_rows else math.nan


def _block(rows: pa.Table) -> Block:
    series = _texts(rows)
    spelled = rows["doc_id"].chunk(0).dictionary
    doc_ids = spelled.take(pa.array(codes(rows, "doc_id")[series.starts])).to_pylist()
    samples = rows["sample"].to_numpy()[series.starts].tolist()
    return Block(list(zip(doc_ids, samples, strict=True)), series, rows)


def _texts(rows: pa.Table) -> Series:
    """A series per text."""
    return Series.of_runs(codes(rows, "doc_id"), rows["sample"].to_numpy())


def codes(rows: pa.Table, column: str) -> np.ndarray:
    """A number for each distinct value of the dictionary-encoded `column`, [rows]."""
    parts = [chunk.indices.to_numpy() for chunk in rows[column].chunks]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
