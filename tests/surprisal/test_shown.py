"""What a report reads of very many tokens is what it shows."""

import pandas as pd
import pyarrow as pa
import pytest

from lib import paths, store
from lib.errors import StudyError
from lib.params.run import resolve
from lib.surprisal import shown
from lib.surprisal.rows import SCHEMA
from lib.surprisal.scoring import read_tokens

GIVEN = {"study": "small", "dataset": "notes", "model": "human", "scorer": "tiny-scorer"}


@pytest.fixture
def run(small_study, monkeypatch):
    """Of three texts, one with two samples, in row groups that cut them."""
    run = resolve("02_surprisal", GIVEN)
    keys = [("a", 0), ("b", 0), ("b", 1), ("c", 0)]
    rows = pd.DataFrame([{"doc_id": d, "sample": s, "position": n} for d, s in keys for n in range(5)])
    rows["token"] = [" the", " of", " the", "\n", " λ"] * 4
    rows = rows.assign(surprisal=range(20), start=rows.index, end=rows.index + 1, token_id=7, context=1)
    whole = pa.Table.from_pandas(rows.reindex(columns=SCHEMA.names), SCHEMA, preserve_index=False)
    monkeypatch.setattr(store, "ROWS_PER_GROUP", 3)
    parts = (whole.slice(n, 3) for n in range(0, 20, 3))
    store.write_stream(paths.surprisals("tiny-scorer", "notes", "human"), parts, SCHEMA, {})
    return run


def test_what_is_read_is_what_the_file_has(run):
    whole = read_tokens(run)
    spelled, along = shown.read_spelled(run), shown.read_along(run)
    assert spelled["token"].astype(str).tolist() == whole["token"].tolist()
    assert spelled["surprisal"].tolist() == whole["surprisal"].tolist()
    pd.testing.assert_frame_equal(along, whole[shown.ALONG])
    chosen = pd.DataFrame({"doc_id": ["c", "b"], "sample": [0, 1], "uid_variance": [1.0, 2.0]})
    expected = whole[(whole["doc_id"] == "c") | ((whole["doc_id"] == "b") & (whole["sample"] == 1))]
    pd.testing.assert_frame_equal(shown.read_chosen(run, chosen), expected.reset_index(drop=True))


def test_the_most_surprising_tokens_are_by_their_means(run):
    table = shown.most_surprising(shown.read_spelled(run), count=2, at_least=4)
    assert table.to_dict("list") == {
        "token": ["' λ'", r"'\n'"],
        "occurrences": [4, 4],
        "mean_surprisal": [11.5, 10.5],
    }
    assert len(shown.most_surprising(shown.read_spelled(run), at_least=5)) == 1


def test_a_file_that_is_not_there_is_a_sentence(small_study):
    run = resolve("02_surprisal", GIVEN)
    for read in (shown.read_spelled, shown.read_along):
        with pytest.raises(StudyError, match="does not exist yet; make it with `papermill "):
            read(run)
