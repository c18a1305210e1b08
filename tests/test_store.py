import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lib import store
from lib.errors import StudyError
from lib.parts import Parts

SCHEMA = pa.schema([("doc_id", pa.string()), ("value", pa.float64())])
ROWS = pd.DataFrame({"doc_id": ["a", "b"], "value": [1.0, None]})


@pytest.fixture
def made():
    return store.record(
        "test", parameters={"k": 1}, inputs={"x": "00"}, packages=["pyarrow"], units={"value": "bits"}
    )


def test_a_file_carries_its_record_and_comes_back_as_written(tmp_path, made):
    path = tmp_path / "deep" / "rows.parquet"
    store.write(path, ROWS, SCHEMA, made)
    assert json.loads(pq.read_schema(path).metadata[b"study"]) == made
    assert store.is_complete(path, made)
    assert not store.is_complete(path, made | {"parameters": {"k": 2}})
    pd.testing.assert_frame_equal(store.read(path, "make it"), ROWS)


def test_the_same_rows_and_record_give_the_same_bytes(tmp_path, made):
    for name in ("one", "two"):
        store.write(tmp_path / name, ROWS, SCHEMA, made)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_parts_join_in_order_and_survive_an_interruption(tmp_path, made):
    path = tmp_path / "rows.parquet"
    parts = Parts(path, SCHEMA, made)
    parts.write(1, ROWS)
    assert not path.exists()
    again = Parts(path, SCHEMA, made)
    assert again.done(1)
    assert not again.done(0)
    assert not Parts(path, SCHEMA, made | {"step": "other"}).done(1)
    again.write(0, ROWS.assign(doc_id=["0", "1"]))
    again.finish(2)
    assert store.read(path, "make it")["doc_id"].tolist() == ["0", "1", "a", "b"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file(tmp_path, made):
    path = tmp_path / "rows.parquet"
    store.write(path, ROWS, SCHEMA, made)
    before = path.read_bytes()

    def tables():
        yield pa.Table.from_pandas(ROWS, schema=SCHEMA, preserve_index=False)
        raise RuntimeError("the run is killed")

    with pytest.raises(RuntimeError):
        store.write_stream(path, tables(), SCHEMA, made)
    assert path.read_bytes() == before


def test_missing_and_truncated_files_end_in_one_sentence_with_the_way_out(tmp_path, made):
    path = tmp_path / "rows.parquet"
    with pytest.raises(StudyError, match=r"rows\.parquet does not exist yet; make it with `make it`"):
        store.read(path, "make it")
    store.write(path, ROWS, SCHEMA, made)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(StudyError, match=r"rows\.parquet is not a whole Parquet file.*`make it`"):
        store.read(path, "make it")
    assert not store.is_complete(path, made)


def test_the_hash_of_a_folder_changes_with_names_and_contents(tmp_path):
    (tmp_path / "a").write_text("1")
    first = store.file_hash(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    renamed = store.file_hash(tmp_path)
    (tmp_path / "b").write_text("22")
    assert len({first, renamed, store.file_hash(tmp_path)}) == 3
