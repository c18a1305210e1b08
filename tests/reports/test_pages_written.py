"""A page appears whole or not at all; what keeps it from being written is one sentence."""

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import vl_convert

from lib import machine
from lib.errors import StudyError
from lib.reports import page
from lib.reports.page import write_page


def test_several_processes_may_write_one_page(tmp_path: Path) -> None:
    path, pages = tmp_path / "index.html", [str(number) * 200_000 for number in range(4)]
    with ProcessPoolExecutor(4, mp_context=get_context("fork")) as pool:
        assert set(pool.map(write_page, [path] * 40, pages * 10)) == {path}
    assert path.read_text() in pages
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_page_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_page(tmp_path / "index.html", "old")

    def full(file: Path, *_: object, **__: object) -> None:
        file.touch()
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(
        StudyError, match=r"index\.html cannot be written .no space left.*make room"
    ) as caught:
        write_page(path, "new")
    assert "\n" not in str(caught.value)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_or_a_folder_in_the_wrong_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "rendered").write_text("")
    with pytest.raises(StudyError, match="each other's place"):
        write_page(tmp_path / "rendered" / "index.html", "page")
    (tmp_path / "index.html").mkdir()
    with pytest.raises(StudyError, match=r"index\.html cannot be written .is a directory"):
        write_page(tmp_path / "index.html", "page")


def test_the_copy_of_vega_that_a_machine_keeps_is_whole_or_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "cache_folder", lambda: tmp_path / "cache")
    page.vega_bundle.cache_clear()
    bundle = page.vega_bundle()
    (kept,) = (tmp_path / "cache").glob("vega-*.js")
    monkeypatch.setattr(vl_convert, "javascript_bundle", lambda: "made again")
    page.vega_bundle.cache_clear()
    assert page.vega_bundle() == bundle
    kept.write_text(kept.read_text()[:-1] + "?")
    page.vega_bundle.cache_clear()
    assert page.vega_bundle() == "made again"
    monkeypatch.setattr(machine, "cache_folder", lambda: kept)  # a file where the folder should be
    page.vega_bundle.cache_clear()
    assert page.vega_bundle() == "made again"
    page.vega_bundle.cache_clear()
