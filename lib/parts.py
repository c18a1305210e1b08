"""The parts of a file that a long step makes, beside it (`.<name>.parts/`) until all are there.

Parts with the record of the file survive an interruption.
"""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lib import store

if TYPE_CHECKING:  # as in lib.store
    import pandas as pd


class Parts:
    """The parts of an output that is being made, numbered from 0.

    Parts left by a run with another record, or of another `size`, count as missing; `fresh` removes all that
    are there. A `shard` (i, n) makes every n-th part from the i-th on, 0 ≤ i < n; others make the rest and
    join them.
    """

    def __init__(
        self,
        path: Path,
        schema: pa.Schema,
        made: store.Record,
        size: int = 0,
        *,
        fresh: bool = False,
        shard: tuple[int, int] | None = None,
    ) -> None:
        self.path, self.schema, self.made, self.size = path, schema, made, size
        self.shard = shard
        self.folder = path.with_name(f".{path.name}.parts")
        if fresh:
            self.remove()

    def to_make(self, number: int) -> bool:
        """Whether the part is this shard's, or there are no shards, and it is not there yet."""
        mine = self.shard is None or number % self.shard[1] == self.shard[0]
        return mine and not self.done(number)

    def done(self, number: int) -> bool:
        return store.is_complete(self._file(number), self.made)

    def write(
        self, number: int, rows: "pd.DataFrame | pa.Table", found: Mapping[str, Any] | None = None
    ) -> None:
        store.write(self._file(number), rows, self.schema, self._with(found))

    def measured(self, number: int) -> dict[str, Any]:
        """What `write` was given as `found`."""
        return store.measured(self._file(number))

    def finish(self, count: int, found: Mapping[str, Any] | None = None) -> None:
        """Join the parts 0 … count−1 into the output and remove them."""
        store.write_stream(self.path, self._tables(count), self.schema, self._with(found))
        self.remove()

    def remove(self) -> None:
        """Remove all parts that are there."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _with(self, found: Mapping[str, Any] | None) -> store.Record:
        return {**self.made, store.MEASURED: dict(found)} if found else self.made

    def _tables(self, count: int) -> Iterator[pa.Table]:
        return (store.read_table(self._file(number), store.THE_STEP) for number in range(count))

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:06}-{self.size}.parquet"
