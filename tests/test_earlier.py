"""What was dear is kept when another file takes its place, and comes back when it is asked for."""

import pandas as pd
import pyarrow as pa

from lib import paths, store

SCHEMA = pa.schema([("doc_id", pa.string())])


def write(path, temperature: float, *ids: str) -> store.Record:
    made = store.record(
        "01_generate", parameters={"temperature": temperature}, inputs={}, packages=(), units={}
    )
    store.write(path, pd.DataFrame({"doc_id": list(ids)}), SCHEMA, made)
    return made


def kept() -> list:
    return sorted((paths.root() / "data" / "earlier").rglob("*.parquet"))


def test_a_dear_file_that_another_replaces_comes_back_with_the_same_bytes(project):
    path = paths.texts("notes", "tiny-base")
    first = write(path, 0.9, "a", "b")
    whole = path.read_bytes()
    second = write(path, 0.7, "c")
    assert [file.read_bytes() for file in kept()] == [whole]
    assert store.is_to_be_had(path, second)

    assert not store.is_complete(path, first)
    assert store.is_to_be_had(path, first)
    assert path.read_bytes() == whole
    assert store.is_to_be_had(path, second)  # that one was kept in turn
    assert store.read(path, "x")["doc_id"].tolist() == ["c"]
    third = store.record("01_generate", parameters={"temperature": 0.1}, inputs={}, packages=(), units={})
    assert not store.is_to_be_had(path, third)
    assert store.is_complete(path, second)


def test_a_file_written_anew_with_the_same_record_is_kept_when_the_step_says_so(project):
    path = paths.texts("notes", "server")
    write(path, 0.9, "a")
    write(path, 0.9, "a", "b")  # one that goes on
    assert kept() == []
    store.keep(path)
    write(path, 0.9, "c")
    (one,) = kept()
    assert store.read(one, "x")["doc_id"].tolist() == ["a", "b"]


def test_what_is_made_in_no_time_and_what_is_damaged_is_not_kept(project):
    cheap, dear = paths.uid("s", "d", "x"), paths.surprisals("s", "d", "x")
    for path in (cheap, dear):
        write(path, 0.9, "a")
    dear.write_bytes(dear.read_bytes()[:-20])
    for path in (cheap, dear):
        write(path, 0.7, "b")
    assert kept() == []


def test_a_kept_file_that_was_damaged_does_not_come_back(project):
    path = paths.words("s", "d", "x")
    first = write(path, 0.9, "a")
    second = write(path, 0.7, "b")
    (one,) = kept()
    one.write_bytes(one.read_bytes()[:-20])
    assert not store.is_to_be_had(path, first)
    assert store.is_complete(path, second)
