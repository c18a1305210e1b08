"""Texts and surprisals that the original study left behind, as this project's, without scoring again.

The layout `balancing-the-flow`, below its root:

    Sources/<dataset>/human_N.txt                      people's texts
    Generations/<model>/<dataset>/<model>_N.txt        a model's texts
    Surprisals/<source>/<dataset>/<name>.csv           token, surprisal (bits); people are `human_texts`
    UID_Analysis/<source>/<dataset>/uid_metrics.csv    its metrics

Older parts of it lack the level of the dataset. Its scorer read no BOS, so the first token of a
text has no surprisal and is no row here; prompts were not apart from texts.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv

from lib import paths, store
from lib.errors import StudyError
from lib.params import Import
from lib.params.run import Run

WARNINGS = ("[Warning: Short generation]", "[ERROR] Generation failed")
NO_WORDS = "Imported surprisals lack what whole words need (the probability of a word's end)."
NUMBER = re.compile(r"_(\d+)$")
TEXTS_PER_TABLE = 200


@dataclass(frozen=True)
class Left:
    """What the original left of one text: its number, and its files where they are."""

    number: int
    text: Path | None
    surprisals: Path | None


def texts(run: Run) -> list[dict[str, Any]]:
    """`doc_id`, `text`, `status` and `error` of each text of the run's source, in the order of numbers.

    Where the tokens do not stand in the text file (or there is none), the text is what the tokens
    spell. Raises StudyError if the root holds nothing of this source and dataset.
    """
    return [_text(_declared(run), left) for left in _left(run)]


def tokens(run: Run, rows: pd.DataFrame, schema: pa.Schema) -> tuple[list[pa.Table], dict[str, str]]:
    """Some texts of `rows` (doc_id, text, status) per table of `schema`, and why some have no tokens."""
    by_id = {doc_id_of(left.number): left for left in _left(run)}
    tables, not_scored = [], {}
    for row in rows[rows["status"] != "error"].itertuples():
        found = _read(by_id[row.doc_id].surprisals) if row.doc_id in by_id else "it is not there any more"
        if isinstance(found, str):
            not_scored[row.doc_id] = found
        else:
            tables.append(_token_rows(row.doc_id, row.text, found).cast(schema))
    groups = [tables[i : i + TEXTS_PER_TABLE] for i in range(0, len(tables), TEXTS_PER_TABLE)]
    return [pa.concat_tables(group) for group in groups], not_scored


def files(run: Run) -> list[Path]:
    """The files of the run's source: texts and surprisals."""
    return [path for left in _left(run) for path in (left.text, left.surprisals) if path]


def identity(run: Run) -> str:
    """A content hash of the files of the run's source."""
    return store.digest(f"{file} {store.file_hash(file)}" for file in files(run))


def agreement(run: Run, rows: pd.DataFrame) -> pd.DataFrame:
    """Per metric, how far (absolute values) `rows` of step 03 are from the metrics that the original stored.

    Empty for a study that imports nothing, or where there are none. `sentence_length` rests on
    another segmenter than the original's.
    """
    columns = ["metric", "texts", "mean difference", "largest", "largest, relative"]
    if run.study.imported is None:
        return pd.DataFrame(columns=columns)
    folder = paths.resolve(run.study.imported.root) / "UID_Analysis" / _folder_name(run)
    file = next((f for f in (folder / run.dataset_name, folder) if (f / "uid_metrics.csv").exists()), None)
    if file is None:
        return pd.DataFrame(columns=columns)
    theirs = pd.read_csv(file / "uid_metrics.csv")
    names = theirs["filename"].str.removesuffix(".csv")
    theirs["doc_id"] = names.str.extract(NUMBER, expand=False).map(doc_id_of, na_action="ignore")
    both = rows.merge(theirs, on="doc_id", suffixes=("", "_theirs"))
    apart = {
        metric: (both[metric] - both[f"{metric}_theirs"]).abs()
        for metric in rows.columns.drop("doc_id")
        if f"{metric}_theirs" in both and len(both)
    }
    compared = [
        (metric, len(both), each.mean(), each.max(), (each / both[f"{metric}_theirs"].abs()).max())
        for metric, each in apart.items()
    ]
    return pd.DataFrame(compared, columns=columns)


def doc_id_of(number: int | str) -> str:
    return str(number).zfill(6)


def _declared(run: Run) -> Import:
    if run.study.imported is None:
        raise StudyError(f"The study {run.study_name!r} has no `import`.")
    return run.study.imported


def _folder_name(run: Run) -> str:
    return "human_texts" if run.source.text_class == "human" else run.source_name


def _left(run: Run) -> list[Left]:
    root = paths.resolve(_declared(run).root)
    if not root.is_dir():
        raise StudyError(f"There is no folder {paths.shown(root)}; correct `import: root`.")
    human = run.source.text_class == "human"
    written = root / "Sources" if human else root / "Generations" / run.source_name
    of_texts = _by_number(written, run.dataset_name, "txt")
    of_surprisals = _by_number(root / "Surprisals" / _folder_name(run), run.dataset_name, "csv")
    numbers = sorted(of_texts.keys() | of_surprisals.keys())
    if not numbers:
        raise StudyError(
            f"{paths.shown(root)} has no texts of {run.source_name!r} on {run.dataset_name!r}; take the "
            f"source or the dataset out of the study {run.study_name!r}."
        )
    return [Left(number, of_texts.get(number), of_surprisals.get(number)) for number in numbers]


def _by_number(folder: Path, dataset: str, suffix: str) -> dict[int, Path]:
    """The numbered files of a dataset; of the folder itself where it has no level of datasets."""
    inside = folder / dataset if (folder / dataset).is_dir() else folder
    files = inside.glob(f"*.{suffix}") if inside.is_dir() else ()
    return {int(found[1]): file for file in files if (found := NUMBER.search(file.stem))}


def _text(declared: Import, left: Left) -> dict[str, Any]:
    row = {"doc_id": doc_id_of(left.number), "text": "", "status": "ok", "error": None}
    try:
        text = left.text.read_bytes().decode("utf-8") if left.text else ""
    except (OSError, UnicodeDecodeError) as error:
        return row | {"status": "error", "error": f"{left.text} cannot be read ({error})"}
    found = _read(left.surprisals)
    spelled = "" if isinstance(found, str) else "".join(found["token"].to_pylist())
    text = text if spelled and spelled in text else spelled or text
    if warning := next((warning for warning in WARNINGS if warning in text), None):
        row["status"] = "error" if declared.flagged == "leave_out" else "short"
        row["error"] = f"the generator's own {warning!r} stands in the text"
    return row | {"text": text if row["status"] != "error" else ""}


def _read(path: Path | None) -> pa.Table | str:
    """Tokens and surprisals of a CSV file, or why there are none. "null", "NA" and "" are tokens."""
    if path is None:
        return "there is no file of surprisals"
    types = {"token": pa.string(), "surprisal": pa.float64()}
    try:
        table = pa_csv.read_csv(
            path,
            parse_options=pa_csv.ParseOptions(newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(column_types=types, strings_can_be_null=False),
        ).select(list(types))
    except (OSError, pa.ArrowException, KeyError) as error:
        return f"{path} cannot be read ({str(error).splitlines()[0].rstrip('.')})"
    if not len(table):
        return f"{path} is empty"
    if table["surprisal"].null_count or not np.isfinite(table["surprisal"]).all():
        return f"{path} has no surprisal for some of its tokens"
    return table


def _token_rows(doc_id: str, text: str, found: pa.Table) -> pa.Table:
    spelled: Sequence[str] = found["token"].to_pylist()
    ends = text.find("".join(spelled)) + np.cumsum([len(token) for token in spelled])
    count = len(spelled)
    columns = {
        "doc_id": [doc_id] * count,
        "position": np.arange(count),
        "token_id": pa.nulls(count),
        "token": spelled,
        "start": ends - [len(token) for token in spelled],
        "end": ends,
        "surprisal": found["surprisal"],
        "entropy": pa.nulls(count),
        "context": np.arange(1, count + 1),
        "rank": pa.nulls(count),
        "sample": [0] * count,
    }
    return pa.table(columns)
