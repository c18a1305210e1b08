"""The whole chain on a small study, run as `make study` runs it."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lib import paths, store
from lib.errors import StudyError
from lib.params.run import resolve
from lib.parts import Parts
from lib.running import study as study_module
from lib.surprisal import scoring as surprisal
from tests.conftest import REPOSITORY, path_without

SOURCES = ("human", "tiny-base", "tiny-rlhf")
CONTRACT = {
    "texts/{dataset}/{source}": (
        "doc_id source dataset title prompt text status error retries seed finish_reason seconds sample"
    ),
    "surprisals/{scorer}/{dataset}/{source}": (
        "doc_id position token_id token start end surprisal entropy context sample"
    ),
    "words/{scorer}/{dataset}/{source}": (
        "doc_id position word start end surprisal surprisal_uncorrected sample"
    ),
    "uid/{scorer}/{dataset}/{source}": (
        "doc_id tokens mean_surprisal median_surprisal min_surprisal max_surprisal uid_variance "
        "uid_pairwise vocab_size sentence_length sample"
    ),
}
TEST_COLUMNS = "metric group_a group_b test n_a n_b statistic p p_adjusted effect effect_name ci_low ci_high"


def data_files(root: Path) -> dict[str, str]:
    """The hash of every Parquet file that a run made."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((root / "data").rglob("*.parquet"))
    }


@pytest.mark.whole_study(1)
def test_every_file_of_the_contract_is_there_with_its_columns_and_record(finished_study):
    for source in SOURCES:
        for place, columns in CONTRACT.items():
            path = place.format(scorer="tiny-scorer", dataset="notes", source=source)
            schema = pq.read_schema(finished_study / "data" / f"{path}.parquet")
            *wanted, last = columns.split()
            assert schema.names[: len(wanted)] == wanted
            assert schema.names[-1] == last == "sample"
            assert schema.field(last).type == pa.int32()
            record = json.loads(schema.metadata[b"study"])
            assert {"parameters", "inputs", "versions", "units"} <= set(record)
        for step in ("01_generate", "02_surprisal", "03_uid"):
            scorer = None if step == "01_generate" else "tiny-scorer"
            assert paths.rendered_notebook(step, "notes", source, scorer).with_suffix(".html").exists()
    for table in ("summary", "tests", "models"):
        assert paths.comparison("demo", "all", table).exists()
    assert pq.read_schema(paths.comparison("demo", "all", "tests")).names[:9] == TEST_COLUMNS.split()[:9]
    assert set(TEST_COLUMNS.split()) <= set(pq.read_schema(paths.comparison("demo", "all", "tests")).names)
    assert not list((finished_study / "data").rglob("*.part*"))


def test_sources_pair_up_text_by_text_and_tokens_tile_the_texts(finished_study):
    ids = {s: store.read(paths.texts("notes", s), "x")["doc_id"].tolist() for s in SOURCES}
    assert ids["tiny-base"] == ids["tiny-rlhf"] == [doc_id for doc_id in ids["human"] for _ in range(2)]
    assert len(set(ids["human"])) == 10
    for source in SOURCES:
        texts = store.read(paths.texts("notes", source), "x").set_index(["doc_id", "sample"])["text"]
        tokens = store.read(paths.surprisals("tiny-scorer", "notes", source), "x")
        joined = tokens.groupby(["doc_id", "sample"])["token"].agg("".join)
        assert joined.to_dict() == {key: text for key, text in texts.items() if text}
        measured = store.read(paths.uid("tiny-scorer", "notes", source), "x")
        assert set(measured[["doc_id", "sample"]].itertuples(index=False, name=None)) == set(joined.index)


@pytest.mark.whole_study(3)
def test_a_second_run_does_nothing_and_a_changed_number_only_what_follows_from_it(study_root, tmp_path):
    shutil.copytree(study_root, tmp_path, symlinks=True, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDY_ROOT", str(tmp_path))
        patch.setenv("PATH", path_without("quarto"))  # other tests render the paper
        first = data_files(tmp_path)
        rendered = {path: path.stat().st_mtime_ns for path in (tmp_path / "rendered").rglob("*.html")}
        assert study_module.run_study("demo") == 0
        assert {path: path.stat().st_mtime_ns for path in rendered} == rendered
        assert data_files(tmp_path) == first

        file = paths.source_file("tiny-rlhf")
        file.write_text(file.read_text().replace("temperature: 0.9", "temperature: 0.8"))
        assert study_module.run_study("demo") == 0
    now = data_files(tmp_path)
    earlier = {path for path in now if path.startswith("data/earlier/")}
    assert any("texts/" in path for path in earlier)  # what was dear is kept
    assert now.keys() - earlier == first.keys()
    changed = {path for path in first if now[path] != first[path]}
    about = [path for path in changed if "compare/" not in path]
    assert about
    assert all(path.endswith("tiny-rlhf.parquet") for path in about)
    assert {path for path in changed if "compare/" in path}
    untouched = [path for path in rendered if {"human", "tiny-base"} & set(path.parts)]
    assert untouched
    assert all(path.stat().st_mtime_ns == rendered[path] for path in untouched)


def test_a_killed_scoring_run_goes_on_to_the_same_bytes_without_scoring_again(small_study, monkeypatch):
    notes = small_study / "notes"
    for number in range(60):  # enough for several parts
        text = (notes / "arrays.txt").read_text() * 8
        (notes / f"long-{number:02}.txt").write_text(text.replace("arrays", f"arrays {number}"))
    given = {"model": "human", "study": "small"}
    script = (
        "from lib.generate import texts as generate\nfrom lib.surprisal import scoring as surprisal\n"
        "from lib.params.run import resolve\n"
    )
    subprocess.run(
        [sys.executable, "-c", f"{script}generate.generate_texts(resolve('01_generate', {given}))"],
        check=True,
    )
    run = resolve("02_surprisal", given)
    path = paths.surprisals("tiny-scorer", "notes", "human")
    command = [sys.executable, "-c", f"{script}surprisal.score_texts(resolve('02_surprisal', {given}))"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    folder = Parts(path, surprisal.SCHEMA, {}).folder
    while process.poll() is None and len(list(folder.glob("[0-9]*.parquet"))) < 2:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not path.exists()

    summary = surprisal.score_texts(run)
    assert 0 < summary.scored_now < summary.tokens
    resumed = path.read_bytes()
    monkeypatch.setattr(surprisal, "open_scoring_model", None)  # a complete file needs no model
    assert surprisal.score_texts(run).scored_now == 0
    monkeypatch.undo()
    os.environ["STUDY_ROOT"] = str(small_study)
    path.unlink()
    surprisal.score_texts(run)
    assert path.read_bytes() == resumed


def test_a_run_that_was_stopped_leaves_no_part_beside_a_whole_file(small_study, monkeypatch):
    given = {"model": "human", "study": "small"}
    from lib.generate import texts as generate

    generate.generate_texts(resolve("01_generate", given))
    run = resolve("02_surprisal", given)
    surprisal.score_texts(run)
    whole = data_files(small_study)
    paths.surprisals("tiny-scorer", "notes", "human").unlink()

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Parts, "finish", stopped)
        with pytest.raises(KeyboardInterrupt):
            surprisal.score_texts(run)
    assert list((small_study / "data" / "words").rglob("*.parts"))
    surprisal.score_texts(run)
    assert data_files(small_study) == whole


def test_bad_files_end_in_one_sentence_and_nothing_is_lost(small_study):
    given = {"model": "human", "study": "small"}
    with pytest.raises(
        StudyError, match=r"human\.parquet does not exist yet; make it with `papermill .*notebooks/01"
    ):
        surprisal.score_texts(resolve("02_surprisal", given))
    from lib.generate import texts as generate

    generate.generate_texts(resolve("01_generate", given))
    texts = paths.texts("notes", "human")
    whole = texts.read_bytes()
    texts.write_bytes(whole[:-30])
    with pytest.raises(StudyError, match=r"human\.parquet is not a whole Parquet file"):
        surprisal.score_texts(resolve("02_surprisal", given))
    assert texts.read_bytes() == whole[:-30]
    texts.write_bytes(whole)

    scorer = paths.source_file("tiny-scorer")
    scorer.write_text(scorer.read_text().replace("models/tiny-scorer", "models/tiny-missing"))
    with pytest.raises(StudyError, match="tiny-missing") as caught:
        surprisal.score_texts(resolve("02_surprisal", given))
    assert "\n" not in str(caught.value)

    for file in (small_study / "notes").iterdir():
        file.unlink()
    with pytest.raises(StudyError, match=r"holds no \.txt files"):
        generate.generate_texts(resolve("01_generate", {**given, "regenerate": True}))
    assert texts.read_bytes() == whole


def test_a_failing_step_keeps_its_evidence_and_says_how_to_run_it_again(small_study):
    command = [
        sys.executable,
        "-m",
        "lib.running.execute",
        "02_surprisal",
        "-p",
        "model",
        "human",
        "-p",
        "study",
        "small",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "does not exist yet" in done.stderr
    assert "Traceback" not in done.stderr
    again = re.search(r"again: python (-m lib\.running\.execute .*)", done.stderr)
    assert again is not None
    assert again[1].split() == command[1:]
    assert (small_study / "rendered" / "failed" / "02_surprisal-human-small.html").exists()
    assert not paths.rendered_notebook("02_surprisal", "notes", "human", "tiny-scorer").exists()


def test_the_readme_names_files_that_exist():
    readme = (REPOSITORY / "README.md").read_text()
    for name in re.findall(r"`((?:notebooks|params|lib|training|paper|docs)/[\w./-]*)`", readme):
        assert name.startswith("params/") or (REPOSITORY / name).exists(), name
    for name in re.findall(r"\]\(((?!http)[^)]+)\)", readme):
        assert (REPOSITORY / name).exists(), name
