"""Parquet files that appear whole or not at all, each with the record of how it was made.

The record stands in the Parquet key-value metadata under the key `study`. Pages have checksums, and
the whole file is sealed (`lib.seal`); both are verified by whoever reads here, so that a damaged file
is named and never read. A step whose output exists with the same record has nothing to do.
"""

import hashlib
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

from lib import commands, earlier, paths, seal
from lib.batches import batches
from lib.errors import StudyError
from lib.imports import code_hash

if TYPE_CHECKING:  # 40 MB, which what only waits or writes pages does without
    import pandas as pd

Record = dict[str, Any]
KEY = b"study"
ROWS_PER_GROUP = 1 << 17  # small groups are slow to read
THE_STEP = "the step that writes it"  # what makes a file where no command is known
MEASURED = "measured"  # the part of a record that a step finds out as it runs; it decides nothing


def record(
    step: str,
    *,
    parameters: Mapping[str, Any],
    inputs: Mapping[str, str],
    packages: Iterable[str],
    units: Mapping[str, str],
    code: Iterable[str] = (),
) -> Record:
    """What decides the content of an output.

    `inputs` maps a name to a content hash (`file_hash`); `packages` are those whose version
    matters; `code` are the modules of `lib` whose change makes the output anew, and with them every
    module that they import.
    """
    made = {
        "step": step,
        "parameters": dict(parameters),
        "inputs": dict(inputs),
        "versions": {package: version(package) for package in packages},
        "units": dict(units),
        "code": code_hash(*code),
    }
    return json.loads(json.dumps(made, default=str))


def version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None  # an optional one: the step itself says so if it needs it


def digest(lines: Iterable[str]) -> str:
    """One hash over `lines`."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 of the content of `path`; of a folder, of its files' names and contents.

    Raises StudyError for what is not there or cannot be read.
    """
    if not path.exists():
        raise StudyError(f"There is no {paths.shown(path)}.")
    digest = hashlib.sha256()
    with _reading(path):
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        for file in files:
            if path.is_dir():
                digest.update(str(file.relative_to(path)).encode("utf-8", "surrogateescape"))
            stat = file.stat()
            digest.update(_content_hash(file, stat.st_size, stat.st_mtime_ns))
    return digest.hexdigest()


@cache
def _content_hash(path: Path, size: int, modified: int) -> bytes:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def is_complete(path: Path, expected: Record) -> bool:
    """Whether `path` is there, whole, and made as `expected` says."""
    found = _record_or_none(path) if path.exists() else None
    return found is not None and {**found, MEASURED: None} == {**expected, MEASURED: None}


def is_to_be_had(path: Path, expected: Record) -> bool:
    """As `is_complete`; an earlier file that was made so takes its place again (`lib.earlier`)."""
    if is_complete(path, expected):
        return True
    with writing(path):
        kept = earlier.find(path, _key(expected))
        if kept is None or not is_complete(kept, expected):
            return False
        keep(path)
        earlier.bring_back(kept, path)
    return True


def keep(path: Path) -> None:
    """Keep the file that stands at `path`, if it is whole and dear: another will take its place."""
    found = _record_or_none(path) if path.exists() else None
    if found is not None:
        with writing(path):
            earlier.keep(path, _key(found), file_hash(path))


def key_of(path: Path) -> str | None:
    """What tells the record of `path` from others; None for a file that is damaged or has none."""
    found = _record_or_none(path)
    return None if found is None else _key(found)


def _key(made: Record) -> str:
    """What tells records apart: all of it but what a run found out."""
    return digest([json.dumps({**made, MEASURED: None}, sort_keys=True)])


def measured(path: Path) -> dict[str, Any]:
    """What the step that made `path` found out while it ran. Raises StudyError as `read_record`."""
    return read_record(path).get(MEASURED) or {}


def read_record(path: Path) -> Record:
    """The record of `path`. Raises StudyError if it is missing, damaged or carries none."""
    found = _record_or_none(path)
    if found is None:
        raise _broken(path)
    return found


def _record_or_none(path: Path) -> Record | None:
    try:
        if not seal.is_whole(path):
            return None
        found = json.loads((pq.read_schema(path).metadata or {})[KEY])
    except (OSError, pa.ArrowException, KeyError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def read(
    path: Path, made_by: str, columns: Sequence[str] | None = None, schema: pa.Schema | None = None
) -> "pd.DataFrame":
    """The rows of `path`. `made_by` is the command that makes it, named where it cannot be read.

    With `schema`, its columns (or those of `columns`) must be there and are of its types. Raises
    StudyError for a file that is missing, damaged, of another kind or without these columns.
    """
    return read_table(path, made_by, columns, schema).to_pandas()


def read_table(
    path: Path, made_by: str, columns: Sequence[str] | None = None, schema: pa.Schema | None = None
) -> pa.Table:
    """As `read`, as a table."""
    if schema is not None:
        columns = columns if columns is not None else schema.names
    with opened(path, made_by, columns or ()) as file:
        table = file.read(columns=None if columns is None else list(columns))
        if schema is None:
            return table
        try:
            return table.cast(pa.schema([schema.field(name) for name in table.schema.names]))
        except (pa.ArrowException, ValueError) as error:
            raise StudyError(
                f"{paths.shown(path)} has columns of other types than this project's ({_first_line(error)}); "
                f"delete it and make it again with `{made_by}`."
            ) from error


def read_texts(path: Path, made_by: str, columns: Sequence[str], wanted: Collection[str]) -> "pd.DataFrame":
    """As `read`, but only the rows whose `doc_id` is `wanted`; of the others a group at a time is held."""
    import pyarrow.compute as pc  # 30 ms, which most processes that read here do without

    ids = pa.array(list(wanted), pa.string())
    with opened(path, made_by, columns) as file:
        groups = (file.read_row_group(number, columns=list(columns)) for number in range(file.num_row_groups))
        found = [rows.filter(pc.is_in(rows["doc_id"], ids)) for rows in groups]
        empty = file.schema_arrow.empty_table().select(list(columns))
    return pa.concat_tables(found or [empty]).to_pandas()


@contextmanager
def opened(
    path: Path, made_by: str = THE_STEP, columns: Iterable[str] = (), **options: Any
) -> Iterator[pq.ParquetFile]:
    """`path` to read from, verified, with at least `columns`. Raises StudyError as `read`."""
    if not path.exists():
        raise StudyError(f"{paths.shown(path)} does not exist yet; make it with `{made_by}`.")
    try:
        with _reading(path, made_by):
            whole = seal.is_whole(path)
            if whole is False:
                raise _broken(path, made_by)
            with pq.ParquetFile(path, page_checksum_verification=True, **options) as file:
                if whole is None and KEY in (file.metadata.metadata or {}):
                    raise _broken(path, made_by)  # whoever writes a record seals it, so the seal is damaged
                missing = [name for name in columns if name not in file.schema_arrow.names]
                if missing:
                    raise StudyError(
                        f"{paths.shown(path)} has no column {', '.join(missing)}, so it was made by another "
                        f"version or program; delete it and make it again with `{made_by}`."
                    )
                yield file
    except pa.ArrowException as error:
        raise _broken(path, made_by) from error


def count(path: Path) -> int:
    """How many rows `path` has. Raises StudyError as `read`."""
    with opened(path) as file:
        return file.metadata.num_rows


@contextmanager
def _reading(path: Path, made_by: str = THE_STEP) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno is None:  # Arrow's word for what is no Parquet
            raise _broken(path, made_by) from error
        raise StudyError(
            f"{paths.shown(path)} cannot be read ({commands.reason(error)}); {commands.way_out(error)}."
        ) from error


def _broken(path: Path, made_by: str = THE_STEP) -> StudyError:
    return StudyError(
        f"{paths.shown(path)} is not a whole Parquet file of this project (damaged, cut off or foreign); "
        f"delete it and make it again with `{made_by}`."
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Within it, whatever keeps `path` from being written is a StudyError that says why."""
    try:
        yield
    except OSError as error:
        raise StudyError(
            f"{paths.shown(path)} cannot be written ({commands.reason(error)}); {commands.way_out(error)}."
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write `text` as `path` in one step, so that nobody reads half of it.

    Several processes may write one file at once; the last is kept. Raises StudyError where the disk or
    the permissions do not allow it, and leaves what was there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(path)
        except OSError:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """A context in which no other process makes `path`; a process that dies gives it up."""
    held = FileLock(path.with_name(f".{path.name}.lock"))
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        held.acquire()
    try:
        yield
    finally:
        held.release()


def write(path: Path, rows: "pd.DataFrame | pa.Table", schema: pa.Schema, made: Record) -> None:
    """Write `rows` as `path` in one step."""
    write_stream(path, [_table(rows, schema)], schema, made)


def write_stream(path: Path, tables: Iterable[pa.Table], schema: pa.Schema, made: Record) -> None:
    """Write `tables` one after the other; sealed, flushed to the disk and renamed when complete.

    Raises StudyError if the disk or the permissions do not allow it.
    """
    temporary = path.with_name(f".{path.name}.part")
    with_record = schema.with_metadata({KEY: json.dumps(made, sort_keys=True).encode()})
    # Numbers that hardly ever repeat: byte by byte they are smaller than in a dictionary, and read faster.
    floats = [field.name for field in schema if pa.types.is_floating(field.type)]
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(
            temporary,
            with_record,
            compression="zstd",
            use_dictionary=[name for name in schema.names if name not in floats],
            column_encoding=dict.fromkeys(floats, "BYTE_STREAM_SPLIT"),
            write_page_checksum=True,
        ) as writer:
            for group in batches(tables, len, ROWS_PER_GROUP):
                writer.write_table(pa.concat_tables(group).cast(with_record))
            writer.add_key_value_metadata({seal.KEY: seal.EMPTY})
        seal.close(temporary)
        if path.exists() and not is_complete(path, made):
            keep(path)
        temporary.replace(path)
        _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    """Make a rename in `folder` outlast a power cut; a no-op where folders cannot be opened."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _table(rows: "pd.DataFrame | pa.Table", schema: pa.Schema) -> pa.Table:
    if isinstance(rows, pa.Table):
        return rows.select(schema.names).cast(schema)
    return pa.Table.from_pandas(rows[schema.names], schema=schema, preserve_index=False)
