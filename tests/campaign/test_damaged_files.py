"""Files that break after they were written: flipped bits, cut ends, folders and other people's files.

Short as it stands. The long form flips a thousand bits in each kind of file:

    CAMPAIGN=1000 python -m pytest -s tests/campaign/test_damaged_files.py
"""

import os
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lib import datasets, store
from lib.compare import comparison, hypotheses, mixed
from lib.errors import StudyError
from lib.generate import texts
from lib.surprisal import rows as scored
from lib.uid import measures

COUNT = int(os.environ.get("CAMPAIGN", "25"))
KINDS = {
    "documents": datasets.SCHEMA,
    "texts": texts.SCHEMA,
    "surprisals": scored.SCHEMA,
    "words": scored.WORD_SCHEMA,
    "uid": measures.SCHEMA,
    "summary": comparison.SUMMARY_SCHEMA,
    "tests": comparison.TEST_SCHEMA,
    "models": mixed.SCHEMA,
    "hypotheses": hypotheses.SCHEMA,
}
MADE = store.record(
    "campaign", parameters={"k": 1, "seed": 7}, inputs={"x": "00" * 32}, packages=["pyarrow"], units={}
)


def rows_of(schema: pa.Schema, count: int = 300) -> pa.Table:
    """Rows of any schema: words, numbers that never repeat, whole numbers, and some missing values."""
    draw = np.random.default_rng(0)

    def column(kind: pa.DataType) -> list[object]:
        if pa.types.is_floating(kind):
            return [None if i % 17 == 5 else float(draw.gamma(2, 3)) for i in range(count)]
        if pa.types.is_integer(kind):
            return [int(draw.integers(0, 50_000)) for _ in range(count)]
        if pa.types.is_boolean(kind):
            return [bool(i % 3) for i in range(count)]
        return [None if i % 29 == 3 else f"word {draw.integers(0, 90)}" for i in range(count)]

    return pa.table({field.name: pa.array(column(field.type), field.type) for field in schema})


def read(path: Path, schema: pa.Schema) -> tuple[pd.DataFrame | None, str]:
    """The rows, or the sentence why there are none."""
    try:
        return store.read(path, "make it", schema=schema), ""
    except StudyError as error:
        return None, str(error)


@pytest.mark.parametrize("kind", KINDS)
def test_no_flipped_bit_is_silent(tmp_path: Path, kind: str) -> None:
    schema = KINDS[kind]
    path = tmp_path / f"{kind}.parquet"
    store.write(path, rows_of(schema), schema, MADE)
    content = path.read_bytes()
    chance, outcomes = random.Random(kind), Counter[str]()
    for _ in range(COUNT):
        bit = chance.randrange(8 * len(content))
        broken = bytearray(content)
        broken[bit // 8] ^= 1 << bit % 8
        path.write_bytes(broken)
        complete = store.is_complete(path, MADE)
        found, said = read(path, schema)
        if found is None:
            assert "\n" not in said
            assert path.name in said
            assert "`make it`" in said
            assert not complete, "the command of the sentence would do nothing"
            outcomes["named"] += 1
        else:
            outcomes["read as if it were whole"] += 1
    print(f"\n{kind}: {COUNT} bits of {len(content):,} bytes: {dict(outcomes)}")
    assert outcomes == {"named": COUNT}


@pytest.mark.parametrize("kind", KINDS)
def test_checksums_of_pages_hold_without_the_seal(tmp_path: Path, kind: str) -> None:
    """Other readers verify pages only: every bit of every page is covered, dictionaries' too."""
    schema, path = KINDS[kind], tmp_path / f"{kind}.parquet"
    store.write(path, rows_of(schema), schema, MADE)
    content = path.read_bytes()
    chance = random.Random(kind)
    pages = []
    group = pq.read_metadata(path).row_group(0)
    for number in range(group.num_columns):
        column = group.column(number)
        first = column.dictionary_page_offset or column.data_page_offset
        # A page's header is at most a few dozen bytes; the end of a chunk is the content of its last page.
        pages.append((first, first + column.total_compressed_size))
    for first, end in pages:
        broken = bytearray(content)
        bit = chance.randrange(8 * max(first, end - 8), 8 * end)
        broken[bit // 8] ^= 1 << bit % 8
        path.write_bytes(broken)
        with (
            pytest.raises(OSError, match="CRC"),
            pq.ParquetFile(path, page_checksum_verification=True) as file,
        ):
            file.read()


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_file_is_named(tmp_path: Path, kind: str) -> None:
    path, schema = tmp_path / f"{kind}.parquet", KINDS[kind]
    store.write(path, rows_of(schema), schema, MADE)
    content = path.read_bytes()
    for length in random.Random(kind).sample(range(len(content)), COUNT):
        path.write_bytes(content[:length])
        with pytest.raises(StudyError, match=rf"{kind}\.parquet is not a whole Parquet file.*`make it`"):
            store.read(path, "make it")


def test_what_is_no_file_of_ours_is_named_in_one_sentence(tmp_path: Path) -> None:
    path, schema = tmp_path / "texts.parquet", texts.SCHEMA

    def sentence() -> str:
        with pytest.raises(StudyError) as caught:
            store.read(path, "make it", schema=schema)
        assert "\n" not in str(caught.value)
        assert not store.is_complete(path, MADE)
        return str(caught.value)

    path.mkdir()
    assert "in each other's place" in sentence()
    path.rmdir()
    for content in (b"", b"PAR1", b"not a table", b"\x00" * 500, b"doc_id,text\na,b\n" * 40):
        path.write_bytes(content)
        assert "is not a whole Parquet file" in sentence()
    pd.DataFrame({"doc_id": ["a"], "txt": ["b"]}).to_parquet(path)
    assert "has no column source, dataset" in sentence()
    strange = {**{name: ["x"] for name in schema.names}, "retries": [["a", "list"]]}
    pd.DataFrame(strange).to_parquet(path)
    assert "columns of other types" in sentence()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_named(tmp_path: Path) -> None:
    path = tmp_path / "texts.parquet"
    store.write(path, rows_of(texts.SCHEMA), texts.SCHEMA, MADE)
    path.chmod(0)
    with pytest.raises(StudyError, match=r"cannot be read .permission denied"):
        store.read(path, "make it")


def test_where_nothing_can_be_written_one_sentence_says_why(tmp_path: Path) -> None:
    rows = rows_of(texts.SCHEMA)
    (tmp_path / "data").write_text("a file in the folder's place")
    with pytest.raises(StudyError, match="cannot be written"):
        store.write(tmp_path / "data" / "x.parquet", rows, texts.SCHEMA, MADE)
    with pytest.raises(StudyError, match="cannot be written"), store.lock(tmp_path / "data" / "x.parquet"):
        pass
    (tmp_path / "x.parquet").mkdir()
    with pytest.raises(StudyError, match=r"x\.parquet cannot be written .is a directory.*move it away"):
        store.write(tmp_path / "x.parquet", rows, texts.SCHEMA, MADE)


def test_a_full_disk_ends_in_one_sentence_and_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "texts.parquet"
    store.write(path, rows_of(texts.SCHEMA), texts.SCHEMA, MADE)
    before = path.read_bytes()

    class Full(pq.ParquetWriter):
        def write_table(self, *_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "ParquetWriter", Full)
    with pytest.raises(StudyError, match=r"texts\.parquet cannot be written .no space left.*make room"):
        store.write(path, rows_of(texts.SCHEMA), texts.SCHEMA, MADE)
    assert path.read_bytes() == before
