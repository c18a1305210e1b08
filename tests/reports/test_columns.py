"""Columns are described in one place, and docs/files.md says what that place and the schemas say."""

import re

import pytest

from lib.compare import comparison, hypotheses, mixed
from lib.generate import rows as written
from lib.reports.columns import OTHERWISE, SHARED, as_markdown, described
from lib.surprisal import rows as scored
from lib.uid import measures
from tests.conftest import REPOSITORY

DOCS = (REPOSITORY / "docs" / "files.md").read_text()
FILES = {
    "data/texts/<dataset>/<source>.parquet": ("written", written.SCHEMA),
    "data/surprisals/<scorer>/<dataset>/<source>.parquet": ("tokens", scored.SCHEMA),
    "data/words/<scorer>/<dataset>/<source>.parquet": ("words", scored.WORD_SCHEMA),
    "data/uid/<scorer>/<dataset>/<source>.parquet": ("texts", measures.SCHEMA),
    "data/compare/<study>/hypotheses.parquet": ("hypotheses", hypotheses.SCHEMA),
    "data/compare/<study>/<comparison>/summary.parquet": ("summary", comparison.SUMMARY_SCHEMA),
    "data/compare/<study>/<comparison>/tests.parquet": ("tests", comparison.TEST_SCHEMA),
    "data/compare/<study>/<comparison>/models.parquet": ("models", mixed.SCHEMA),
}


@pytest.mark.parametrize("file", FILES)
def test_the_docs_name_the_columns_of_each_file_and_each_is_described(file):
    table, schema = FILES[file]
    (line,) = [line for line in DOCS.splitlines() if line.startswith(f"| `{file}` |")]
    assert re.findall(r"`(\w+)`", line.split("|")[3]) == schema.names
    assert [name for name in schema.names if described(table, name) is None] == []


def test_the_docs_have_the_table_of_columns_as_it_is():
    assert as_markdown() in DOCS


def test_what_a_column_means_in_one_table_alone_is_said_there():
    assert described("models", "sample") != described("texts", "sample")
    assert described("written", "tokens") != described("texts", "tokens")
    for columns in OTHERWISE.values():
        assert all(f"`{name}`" in as_markdown() for name in columns)
    assert all(unit and what for unit, what in SHARED.values())
