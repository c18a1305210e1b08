"""What a scorer behind a server failed to score gets another chance; the rest of the files stays."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from lib import store
from lib.backends.engines import open_scoring_model
from lib.params.run import Run
from lib.surprisal.rows import SCHEMA, WORD_SCHEMA, Text, listed_in_record, score_rows


def score_missing(run: Run, texts: Sequence[Text], tokens: Path, words: Path) -> int:
    """Score those of `texts` that `tokens` says were not scored; how many tokens that gave.

    Both files stay as they are if it gave none. Raises StudyError if the scorer cannot be reached.
    """
    made = store.read_record(tokens)
    found = made.pop(store.MEASURED, None) or {}
    failed = {(row["doc_id"], row["sample"]) for row in found.get("not_scored", [])}
    missing = [text for text in texts if text.key in failed]
    if not missing:
        return 0
    part = score_rows(open_scoring_model(run.scorer.weights), run.scorer.scoring, missing)
    if not part.tokens.num_rows:
        return 0
    place = {text.key: number for number, text in enumerate(texts)}
    store.write(words, _merged(words, part.words, failed, place), WORD_SCHEMA, made)
    found["not_scored"] = listed_in_record(part.not_scored)
    merged = _merged(tokens, part.tokens, failed, place)
    store.write(tokens, merged, SCHEMA, {**made, store.MEASURED: found})
    return part.tokens.num_rows


def _merged(
    path: Path, more: pa.Table, anew: set[tuple[str, int]], place: dict[tuple[str, int], int]
) -> pa.Table:
    """The rows of `path`, but for those of the texts `anew`, with `more`, in the order of the texts."""
    there = store.read_table(path, store.THE_STEP)
    there = there.filter(pa.array([key not in anew for key in _keys(there)], pa.bool_()))
    table = pa.concat_tables([there, more.cast(there.schema)])
    order = np.argsort([place[key] for key in _keys(table)], kind="stable")
    return table.take(order)


def _keys(table: pa.Table) -> list[tuple[str, int]]:
    return list(zip(table["doc_id"].to_pylist(), table["sample"].to_pylist(), strict=True))
