"""Tables of texts, from the Hugging Face hub or from local files.

Local files are read as they are written: no value of a CSV file is taken for a number or a gap, and
no text of a JSON file for a date.
"""

import csv
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from glob import escape, glob
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lib import paths, store
from lib.datasets.copies import is_a_copy
from lib.errors import StudyError, nearest
from lib.params import Rows

Row = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """Rows with the columns asked for; `names` [rows] is how a sentence names each."""

    rows: Sequence[Row]
    names: Sequence[str]


def read(rows: Rows, columns: Sequence[str]) -> Table:
    """The table. Raises StudyError if it is not there, cannot be read, or lacks one of `columns`."""
    return _of_hub(rows, columns) if rows.files is None else _local(local_files(rows.files), columns)


def _of_hub(rows: Rows, columns: Sequence[str]) -> Table:
    # Imported here: every step knows of datasets, few read the hub, and the library takes its time.
    import datasets
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    refused = (datasets.exceptions.DatasetsError, HfHubHTTPError, OfflineModeIsEnabled)
    try:
        found = datasets.load_dataset(rows.hub, rows.name, split=rows.split, revision=rows.revision)
    except (*refused, pa.ArrowException, OSError, ValueError) as error:
        reason = _reason(error)
        raise StudyError(
            f"The dataset {rows.hub!r} of the hub is neither in the cache nor to be had ({reason}); connect "
            f"to the network once, or name local files in its place (`rows: {{files: …}}`)."
        ) from error
    _check_columns(columns, found.column_names)
    return Table(found, _Numbered(f"{rows.hub} row ", len(found)))


class _Numbered(Sequence[str]):
    """Names that end in a number from 1; a hub's table may have millions."""

    def __init__(self, name: str, count: int) -> None:
        self.name, self.length = name, count

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: Any) -> Any:
        return f"{self.name}{index + 1}"


def identity(rows: Rows) -> dict[str, str]:
    """Content hashes of local files; of a table on the hub, its name and revision."""
    if rows.files is not None:
        return {paths.shown(file): store.file_hash(file) for file in local_files(rows.files)}
    return {"rows": f"{rows.hub} {rows.name or ''} {rows.split} {rows.revision or ''}"}


def local_files(pattern: str) -> list[Path]:
    """The files that `pattern` names, in which only * stands for other characters.

    Raises StudyError if there are none or of several kinds.
    """
    literal = escape(str(paths.resolve(pattern))).replace("[*]", "*")
    files = sorted(path for path in map(Path, glob(literal, recursive=True)) if path.is_file())
    if "*" in pattern:  # which finds what nobody means, such as the lock of a spreadsheet
        files = [path for path in files if not is_a_copy(path.stem)]
    if not files:
        raise StudyError(f"There is no file {pattern!r}; correct `rows: files` or put the texts there.")
    kinds = {file.suffix.lower() for file in files}
    if len(kinds) > 1 or not kinds <= set(READERS):
        raise StudyError(
            f"{pattern!r} names {', '.join(sorted(kinds))} files; name one of {', '.join(READERS)}."
        )
    return files


def _local(files: list[Path], columns: Sequence[str]) -> Table:
    rows: list[Row] = []
    names: list[str] = []
    known: dict[str, None] = {}
    for file in files:
        for number, row in enumerate(of_file(file, columns, known), start=1):
            rows.append(row)
            names.append(f"{paths.shown(file)} row {number}")
    _check_columns(columns, list(known))
    return Table(rows, names)


def of_file(file: Path, columns: Sequence[str], known: dict[str, None]) -> Iterator[Row]:
    """The rows of a file of one of the `READERS`; adds to `known` the columns that there are.

    Raises StudyError if it cannot be read. A column that it lacks is None in each row.
    """
    try:
        yield from READERS[file.suffix.lower()](file, columns, known)
    except UnicodeDecodeError as error:
        raise StudyError(f"{paths.shown(file)} is not UTF-8 text; convert it.") from error
    except (OSError, pa.ArrowException, ValueError, OverflowError, RecursionError, csv.Error) as error:
        raise StudyError(f"{paths.shown(file)} cannot be read ({_reason(error)}); correct it.") from error


def _check_columns(wanted: Sequence[str], there: Sequence[str]) -> None:
    for column in wanted:
        if column not in there:
            raise StudyError(f"The table has no column {column!r}; {nearest(column, there)}")


# Each gives the rows of a file with the columns asked for, and adds to `known` all that there are.


def _json_lines(file: Path, columns: Sequence[str], known: dict[str, None]) -> Iterator[Row]:
    with file.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"line {number} is not JSON: {_reason(error)}") from error
            if not isinstance(row, dict):
                raise ValueError(f"line {number} is not an object with columns")
            known.update(dict.fromkeys(row))
            yield {column: row.get(column) for column in columns}


def _csv(file: Path, columns: Sequence[str], known: dict[str, None]) -> Iterator[Row]:
    csv.field_size_limit(sys.maxsize)  # a text may be longer than 128 KB
    with file.open(encoding="utf-8-sig", newline="") as lines:
        delimiter = "\t" if file.suffix.lower() == ".tsv" else ","
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        header = next(reader, [])
        known.update(dict.fromkeys(header))
        for column in columns:
            if header.count(column) > 1:
                raise ValueError(f"the column {column!r} is there twice")
        for values in reader:
            if not values:
                continue
            if len(values) != len(header):
                raise ValueError(
                    f"line {reader.line_num} ends a row of {len(values)} fields under {len(header)} columns"
                )
            row = dict(zip(header, values, strict=True))
            yield {column: row.get(column) for column in columns}


def _parquet(file: Path, columns: Sequence[str], known: dict[str, None]) -> Iterator[Row]:
    with pq.ParquetFile(file, page_checksum_verification=True) as table:
        there = table.schema_arrow.names
        known.update(dict.fromkeys(there))
        if set(columns) <= set(there):
            yield from table.read(columns=list(columns)).to_pylist()


READERS = {".jsonl": _json_lines, ".csv": _csv, ".tsv": _csv, ".parquet": _parquet}


def _reason(error: BaseException) -> str:
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return re.sub(r"\s+", " ", first).rstrip(".")
