"""Texts and surprisals that the original study left behind, as this project's, without scoring again.

The layout `balancing-the-flow`, below its root:

    Sources/<dataset>/human_N.txt                      people's texts
    Generations/<model>/<dataset>/<model>_N.txt        a model's texts
    Surprisals/<source>/<dataset>/<name>.csv           token, surprisal (bits); people are `human_texts`
    UID_Analysis/<source>/<dataset>/uid_metrics.csv    its metrics

Older parts of it lack the level of the dataset (`lib.datasets.repository` finds the files). Its scorer
read no BOS, so the first token of a text has no surprisal and is no row here; prompts were not apart
from texts, and are empty here.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lib import store
from lib.datasets import repository
from lib.datasets.repository import Place, doc_id_of
from lib.params.run import Run

WARNINGS = ("[Warning: Short generation]", "[ERROR] Generation failed")
NO_WORDS = "Imported surprisals lack what whole words need (the probability of a word's end)."
TEXTS_PER_TABLE = 200


def texts(run: Run) -> list[dict[str, Any]]:
    """`doc_id`, `text`, `status` and `error` of each text of the run's source, in the order of numbers.

    Where the tokens do not stand in the text file (or there is none), the text is what the tokens
    spell. Raises StudyError if the repository holds nothing of this source and dataset.
    """
    place = place_of(run)
    left_out = place.declared.flagged == "leave_out"
    columns = ["number", "text", "text_problem", "tokens"]
    return [
        _text(row, left_out) for row in pq.read_table(repository.image(place), columns=columns).to_pylist()
    ]


def tokens(run: Run, rows: pd.DataFrame, schema: pa.Schema) -> tuple[Iterator[pa.Table], dict[str, str]]:
    """Some texts of `rows` (doc_id, text, status) per table of `schema`, and why some have no tokens."""
    found = pq.read_table(
        repository.image(place_of(run)), columns=["number", "tokens_problem", "tokens", "surprisal"]
    )
    at = {doc_id_of(number): i for i, number in enumerate(found["number"].to_pylist())}
    problems = found["tokens_problem"].to_pylist()
    not_scored: dict[str, str] = {}
    scored: list[tuple[str, str, int]] = []
    for row in rows[rows["status"] != "error"].itertuples():
        place = at.get(row.doc_id)
        if place is None or problems[place] is not None:
            not_scored[row.doc_id] = "it is not there any more" if place is None else problems[place]
        else:
            scored.append((row.doc_id, row.text, place))
    groups = [scored[i : i + TEXTS_PER_TABLE] for i in range(0, len(scored), TEXTS_PER_TABLE)]
    return (_token_rows(group, found, schema) for group in groups), not_scored


def identity(run: Run) -> str:
    """A content hash of the files of the run's source."""
    columns = ["number", "text_hash", "tokens_hash"]
    rows = pq.read_table(repository.image(place_of(run)), columns=columns).to_pylist()
    return store.digest(f"{row['number']} {row['text_hash']} {row['tokens_hash']}" for row in rows)


def agreement(run: Run, rows: pd.DataFrame) -> pd.DataFrame:
    """Per metric, how far (absolute values) `rows` of step 03 are from the metrics that the original stored.

    Empty for a study that imports nothing, or where there are none. `sentence_length` rests on
    another segmenter than the original's.
    """
    columns = ["metric", "texts", "mean difference", "largest", "largest, relative"]
    if run.study.imported is None:
        return pd.DataFrame(columns=columns)
    both = rows.merge(repository.read_metrics(place_of(run)), on="doc_id", suffixes=("", "_theirs"))
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


def place_of(run: Run) -> Place:
    return repository.place_of(run.study_name, run.study, run.dataset_name, run.source_name, run.source)


def _text(found: dict[str, Any], left_out: bool) -> dict[str, Any]:
    row = {"doc_id": doc_id_of(found["number"]), "text": "", "status": "ok", "error": None}
    if found["text_problem"] is not None:
        return row | {"status": "error", "error": found["text_problem"]}
    text, spelled = found["text"] or "", "".join(found["tokens"])
    text = text if spelled and spelled in text else spelled or text
    if warning := next((warning for warning in WARNINGS if warning in text), None):
        row["status"] = "error" if left_out else "short"
        row["error"] = f"the generator's own {warning!r} stands in the text"
    return row | {"text": text if row["status"] != "error" else ""}


def _token_rows(texts: list[tuple[str, str, int]], found: pa.Table, schema: pa.Schema) -> pa.Table:
    """The tokens of `texts` (doc_id, text, row of `found`), one text after the other."""
    rows = found.take(pa.array([row for *_, row in texts], pa.int64()))
    spelled = rows["tokens"].combine_chunks().flatten()
    counts = pc.list_value_length(rows["tokens"]).to_numpy()
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    position = np.arange(len(spelled)) - starts
    # Where the tokens of each text begin in it, and where each token ends.
    begins = [
        text.find("".join(own.as_py())) for (_, text, _), own in zip(texts, rows["tokens"], strict=True)
    ]
    lengths = pc.utf8_length(spelled).to_numpy()
    ends = np.concatenate([[0], np.cumsum(lengths)])
    end = ends[1:] - ends[starts] + np.repeat(begins, counts)
    columns = {
        "doc_id": pa.array([doc_id for doc_id, *_ in texts]).take(
            pa.array(np.repeat(np.arange(len(texts)), counts))
        ),
        "position": position,
        "token": spelled,
        "start": end - lengths,
        "end": end,
        "surprisal": rows["surprisal"].combine_chunks().flatten(),
        "context": position + 1,
        "sample": np.zeros(len(spelled), dtype=np.int32),
    }
    arrays = [columns.get(name, pa.nulls(len(spelled))) for name in schema.names]
    return pa.table(arrays, names=schema.names).cast(schema)
