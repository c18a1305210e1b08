"""The page of texts reads and holds as many documents as it can show, however many there are."""

import base64
import json
import re
import zlib
from collections.abc import Callable

import pytest

from lib import paths, store
from lib.reports import texts_page


@pytest.fixture
def page(finished_study, monkeypatch) -> Callable[[], str]:
    """The page of the small study's texts, which other tests read where it stands."""
    written: list[str] = []
    monkeypatch.setattr(texts_page.report, "write_page", lambda path, page: written.append(page))

    def made() -> str:
        texts_page.write_text_page("demo", "notes")
        return written[-1]

    return made


def documents_of(page: str) -> list[dict]:
    packed = max(re.findall(r"[A-Za-z0-9+/]{200,}={0,2}", page), key=len)
    return json.loads(zlib.decompress(base64.b64decode(packed)))["documents"]


@pytest.mark.parametrize("most", [0, 400])
def test_a_page_has_the_first_documents_that_fit_and_reads_no_others(page, monkeypatch, most):
    whole = documents_of(page())
    sizes = [sum(len(one["bits"]) for own in each["texts"].values() for one in own) for each in whole]
    fits = next(n for n in range(len(sizes)) if sum(sizes[: n + 1]) > most)
    assert fits < len(whole)
    read, read_texts = [], store.read_texts

    def noted(path, made_by, columns, wanted):
        read.append(read_texts(path, made_by, columns, wanted))
        return read[-1]

    monkeypatch.setattr(texts_page, "MOST_TOKENS", most)
    monkeypatch.setattr(store, "read_texts", noted)
    short = page()
    some = documents_of(short)
    assert some == whole[: max(fits, 1)]
    assert {name for rows in read for name in rows["doc_id"]} == {each["doc_id"] for each in some}
    assert f"{len(whole) - len(some)} of {len(whole)} openings are left out" in short


def test_only_the_texts_that_are_asked_for_are_read(finished_study):
    path = paths.surprisals("tiny-scorer", "notes", "human")
    rows = store.read(path, "make study")
    wanted = list(rows["doc_id"].unique()[[1, 3]])
    found = store.read_texts(path, "make study", ["doc_id", "token"], wanted)
    expected = rows[rows["doc_id"].isin(wanted)][["doc_id", "token"]].reset_index(drop=True)
    assert found.equals(expected)
    assert store.read_texts(path, "make study", ["doc_id"], []).empty
