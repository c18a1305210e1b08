"""Disks that are full, folder by folder: one sentence, what was there stays, and the next run is whole.

Short as it stands; it mounts small file systems, for which it must be root. The long form tries more sizes,
and comparisons and notebooks, too:

    CAMPAIGN=10 python -m pytest -s tests/campaign/test_full_disk.py
"""

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lib import paths, store
from lib.errors import StudyError
from lib.reports.page import write_page
from lib.running import make
from tests.conftest import SMALL_STUDY

SIZES = int(os.environ.get("CAMPAIGN", "1"))
KB = 1024
SOURCE = {"model": "human", "study": "demo", "dataset": "notes"}
MODEL = {**SOURCE, "model": "tiny-rlhf"}
SCORED = {**SOURCE, "scorer": "tiny-scorer"}
STEPS = [
    ("data/documents", "texts", SOURCE),
    ("data/texts/notes", "texts", MODEL),
    ("data/surprisals/tiny-scorer/notes", "surprisal", SCORED),
    ("data/words/tiny-scorer/notes", "surprisal", SCORED),
    ("data/uid/tiny-scorer/notes", "uid", SCORED),
]
SLOWER = [
    ("data/compare/demo", "compare", {"study": "demo", "comparison": "all"}),
    ("data/compare/demo", "hypotheses", {"study": "demo"}),
]


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[None]:
    """`folder` on a file system of `size` bytes, with what was in it; it goes with the context."""
    before = folder.with_name(f"{folder.name} before")
    folder.mkdir(parents=True, exist_ok=True)
    folder.rename(before)
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(["mount", *options], capture_output=True).returncode:
        folder.rmdir()
        before.rename(folder)
        pytest.skip("no file system can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()
        before.rename(folder)


def files_in(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file() and file.name[0] != ".")
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


@pytest.fixture
def study(small_study: Path) -> Path:
    text = SMALL_STUDY.replace("tiny-base, ", "").replace("paper: true", "")
    before, _, rest = text.partition("  spread:")
    text = before + rest[rest.index("comparisons:") :]
    (small_study / "params" / "studies" / "demo.yaml").write_text(text)
    return small_study


def test_a_full_disk_of_each_folder_is_one_sentence_and_the_next_run_is_whole(study: Path) -> None:
    """Step by step: first where the disk is full, then where it is not."""
    chance, told = random.Random(16), 0
    steps = STEPS + (SLOWER if SIZES > 1 else [])
    for folder, step, given in steps:
        place = study / folder
        if step == "compare":
            for each in ("surprisal", "uid"):
                make.make("texts", MODEL)
                make.make(each, {**MODEL, "scorer": "tiny-scorer"})
        there = files_in(place)
        for size in [4 * KB, *(chance.randrange(1, 17) * 4 * KB for _ in range(SIZES - 1))]:
            with small_disk(place, size):
                try:
                    make.make(step, given)
                except StudyError as error:
                    sentence, *more = str(error).splitlines()
                    assert "no space left on device); make room" in sentence
                    assert str(place.relative_to(study)) in sentence
                    assert [line.split(":")[0].strip() for line in more] == ["to run just this again"]
                    told += 1
                else:
                    assert size > 4 * KB
            assert files_in(place) == there
        make.make(step, given)
        whole = [path for path in files_in(place) if path.endswith(".parquet")]
        assert whole
        for path in whole:
            store.read(place / path, "make it")
    print(f"\n{told} full disks, one sentence each")
    assert told >= len(steps)


def test_dear_texts_stay_where_there_is_no_room_to_keep_them_twice(study: Path) -> None:
    make.make("texts", MODEL)
    path = paths.texts("notes", "tiny-rlhf")
    before = path.read_bytes()
    source = study / "params" / "tiny-rlhf.yaml"
    source.write_text(source.read_text().replace("temperature: 0.9", "temperature: 0.5"))
    with small_disk(study / "data" / "earlier", 4 * KB), pytest.raises(StudyError, match="no space left"):
        make.make("texts", MODEL)
    assert path.read_bytes() == before
    make.make("texts", MODEL)
    assert path.read_bytes() != before
    assert before in files_in(study / "data" / "earlier").values()


def test_a_page_on_a_full_disk_is_one_sentence(study: Path) -> None:
    with small_disk(study / "rendered", 4 * KB):
        write_page(study / "rendered" / "index.html", "old")
        with pytest.raises(StudyError, match=r"rendered/index\.html cannot be written .no space left"):
            write_page(study / "rendered" / "index.html", "new" * 10_000)
        assert files_in(study / "rendered") == {"index.html": b"old"}


@pytest.mark.skipif(SIZES == 1, reason="the long form runs notebooks")
def test_notebooks_on_a_full_disk_are_one_sentence(study: Path) -> None:
    from lib.running.execute import execute

    make.make("texts", SOURCE)
    for size in (4 * KB, 64 * KB, 512 * KB):
        with small_disk(study / "rendered", size), pytest.raises(StudyError) as caught:
            execute("01_generate", SOURCE)
        sentence, *_, again = str(caught.value).splitlines()
        assert "no space left on device" in sentence
        assert again.strip().startswith("to run just this again: ")
    assert execute("01_generate", SOURCE).exists()
