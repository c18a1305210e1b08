"""Tables of texts, from the Hugging Face hub or from local files."""

from glob import glob
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

from lib import paths, store
from lib.errors import StudyError
from lib.params import Rows

UNREADABLE = (
    datasets.exceptions.DatasetsError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    pa.ArrowException,
    OSError,
    ValueError,
)
READERS: dict[str, tuple[str, dict[str, Any]]] = {
    ".jsonl": ("json", {}),
    # A text that reads "NA" or "null" is a text.
    ".csv": ("csv", {"keep_default_na": False}),
    ".parquet": ("parquet", {}),
}


def read(rows: Rows) -> datasets.Dataset:
    """The table. Raises StudyError if it is not there, cannot be read, or is of another kind."""
    if rows.files is not None:
        return _local(local_files(rows.files))
    try:
        return datasets.load_dataset(rows.hub, rows.name, split=rows.split, revision=rows.revision)
    except UNREADABLE as error:
        reason = _reason(error)
        raise StudyError(
            f"The dataset {rows.hub!r} of the hub is neither in the cache nor to be had ({reason}); connect "
            f"to the network once, or name local files in its place (`rows: {{files: …}}`)."
        ) from error


def identity(rows: Rows) -> dict[str, str]:
    """Content hashes of local files; of a table on the hub, its name and revision."""
    if rows.files is not None:
        return {paths.shown(file): store.file_hash(file) for file in local_files(rows.files)}
    return {"rows": f"{rows.hub} {rows.name or ''} {rows.split} {rows.revision or ''}"}


def local_files(pattern: str) -> list[Path]:
    """The files that `pattern` names. Raises StudyError if there are none or of several kinds."""
    files = sorted(Path(name) for name in glob(str(paths.resolve(pattern)), recursive=True))
    if not files:
        raise StudyError(f"There is no file {pattern!r}; correct `rows: files` or put the texts there.")
    kinds = {file.suffix for file in files}
    if len(kinds) > 1 or not kinds <= set(READERS):
        raise StudyError(
            f"{pattern!r} names {', '.join(sorted(kinds))} files; name one of {', '.join(READERS)}."
        )
    return files


def _local(files: list[Path]) -> datasets.Dataset:
    reader, options = READERS[files[0].suffix]
    try:
        return datasets.load_dataset(
            reader, data_files=[str(file) for file in files], split="train", **options
        )
    except UNREADABLE as error:
        reason = _reason(error.__cause__ or error)
        raise StudyError(
            f"{', '.join(paths.shown(file) for file in files[:3])} cannot be read ({reason}); correct it."
        ) from error


def _reason(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
