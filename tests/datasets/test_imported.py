"""The original repository's files as this project's, without scoring anything."""

import csv
import shutil
from dataclasses import replace

import pandas as pd
import pytest

from lib import paths, store
from lib.datasets import imported, repository
from lib.errors import StudyError
from lib.generate import texts as generate
from lib.params import load_study
from lib.params.run import resolve
from lib.surprisal import scoring as surprisal
from lib.uid import measures as uid
from tests.conftest import REPOSITORY

PUBLISHED = REPOSITORY.parent / "shared" / "reference" / "published"
CHAT = "llama-2-7b-chat@q8_0"
STUDY = f"""\
title: What the original left
sources: [human, "{CHAT}"]
datasets: [daily_dialog]
scorers: [gpt2]
import: {{layout: balancing-the-flow, root: original}}
comparisons: {{all: {{metrics: [mean_surprisal, uid_variance]}}}}
"""
NASTY = ["null", " NA", "nan", ' "quoted"', "\n", " a\r\nb", ",", "\ufffd", "'", "  "]


def write_csv(path, tokens):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["token", "surprisal"])
        writer.writerows((token, 1.5 + i) for i, token in enumerate(tokens))


@pytest.fixture
def root(project):
    paths.study_file("original").write_text(STUDY)
    return project / "original"


def run_of(step, source, **more):
    return resolve(step, {"model": source, "study": "original", **more})


def steps(source):
    """Steps 01 to 03 of a source, as its notebooks run them."""
    generate.generate_texts(run_of("01_generate", source))
    summary = surprisal.score_texts(run_of("02_surprisal", source))
    uid.measure(run_of("03_uid", source))
    return summary


def test_tokens_named_like_nothing_and_newlines_inside_survive(root):
    write_csv(root / "Surprisals" / "human_texts" / "daily_dialog" / "human_3.csv", NASTY)
    text = root / "Sources" / "daily_dialog" / "human_3.txt"
    text.parent.mkdir(parents=True)
    text.write_bytes(("First" + "".join(NASTY) + " cut off").encode())
    summary = steps("human")
    run = run_of("02_surprisal", "human")
    tokens = surprisal.read_tokens(run)
    (row,) = generate.read_texts(run).to_dict("records")
    assert tokens["token"].tolist() == NASTY
    spans = zip(tokens["start"], tokens["end"], strict=True)
    assert [row["text"][start:end] for start, end in spans] == NASTY
    assert (row["doc_id"], tokens["start"][0]) == ("000003", 5)
    assert "whole words" in summary.table()["words"][0]
    assert uid.read_metrics(run)["tokens"].tolist() == [len(NASTY)]


def test_warnings_and_broken_files_are_left_out_listed_and_counted(root):
    folder = root / "Surprisals" / CHAT  # an older part, without the level of the dataset
    write_csv(folder / f"{CHAT}_0.csv", [" fine", " text", "."])
    write_csv(folder / f"{CHAT}_1.csv", ["[", "Warning", ":", " Short", " generation", "]", " so"])
    write_csv(folder / f"{CHAT}_2.csv", [])
    (folder / f"{CHAT}_4.csv").write_text("foreign\n1\n")
    texts = root / "Generations" / CHAT
    texts.mkdir(parents=True)
    (texts / f"{CHAT}_3.txt").write_text("Nobody scored this.")
    (texts / f"{CHAT}_5.txt").write_bytes(b"\xff\xfe broken")
    summary = steps(CHAT)
    assert summary.texts == 1
    rows = generate.read_texts(run_of("01_generate", CHAT)).set_index("doc_id")
    assert rows["status"].to_dict()["000001"] == "error"
    assert not rows["text"].str.contains("Warning").any()
    reasons = summary.not_scored
    assert "own '[Warning: Short generation]' stands in the text" in reasons["000001", 0]
    assert "no file of surprisals" in reasons["000003", 0]
    assert "cannot be read" in reasons["000005", 0]
    assert set(reasons) == {(f"00000{i}", 0) for i in range(1, 6)}

    paths.study_file("original").write_text(STUDY.replace("root:", "flagged: keep, root:"))
    assert steps(CHAT).texts == 2


def test_older_results_are_of_one_dataset_and_what_is_lacking_is_listed(root, monkeypatch):
    several = STUDY.replace("[daily_dialog]", "[daily_dialog, wildchat, older]")
    several = several.replace("root: original", "older: older")
    paths.study_file("original").write_text(several)
    monkeypatch.setenv("IMPORT_ROOT", "original")
    people = root / "Surprisals" / "human_texts"
    write_csv(people / "human_0.csv", [" from", " the", " first", " round"])
    write_csv(people / "daily_dialog" / "human_0.csv", [" a", " dialogue"])
    write_csv(people / "old_analysis" / "human_1.csv", [" put", " aside"])
    write_csv(root / "Surprisals" / CHAT / "WildChat" / f"{CHAT}_7.csv", [" a", " chat"])
    study = load_study("original")
    there = repository.pairs("original", study)
    assert there == [("daily_dialog", "human"), ("wildchat", CHAT), ("older", "human")]
    for (dataset, source), text in zip(
        there, (" a dialogue", " a chat", " from the first round"), strict=True
    ):
        generate.generate_texts(run_of("01_generate", source, dataset=dataset))
        rows = generate.read_texts(run_of("01_generate", source, dataset=dataset))
        assert rows["text"].tolist() == [text]
    lacking = repository.lacking("original", study)
    assert list(zip(lacking["dataset"], lacking["source"], strict=True))[:3] == [
        ("daily_dialog", CHAT),
        ("wildchat", "human"),
        ("older", CHAT),
    ]
    assert "Surprisals/human_texts/old_analysis is left out" in lacking["why"].iloc[3]


def test_only_changed_files_are_read_again(root, monkeypatch):
    folder = root / "Surprisals" / CHAT / "daily_dialog"
    for number in range(5):
        write_csv(folder / f"{CHAT}_{number}.csv", [" one", " two"])
    read = []
    parsed = repository._parsed
    monkeypatch.setattr(repository, "_parsed", lambda content: read.append(content) or parsed(content))
    steps(CHAT)
    assert len(read) == 5
    steps(CHAT)
    assert len(read) == 5
    write_csv(folder / f"{CHAT}_3.csv", [" one", " two", " three"])
    (folder / f"{CHAT}_1.csv").unlink()
    steps(CHAT)
    assert len(read) == 6
    tokens = store.read(paths.surprisals("gpt2", "daily_dialog", CHAT), "")
    assert tokens["doc_id"].value_counts().to_dict() == {"000003": 3, "000000": 2, "000002": 2, "000004": 2}


def test_a_repository_that_was_only_moved_changes_nothing(root, monkeypatch):
    write_csv(root / "Surprisals" / CHAT / "daily_dialog" / f"{CHAT}_0.csv", [" one", " two"])
    steps(CHAT)
    path = paths.surprisals("gpt2", "daily_dialog", CHAT)
    before = path.stat().st_mtime_ns
    monkeypatch.setenv("IMPORT_ROOT", str(root.rename(root.with_name("elsewhere"))))
    steps(CHAT)
    assert path.stat().st_mtime_ns == before


def test_nothing_is_done_twice_and_a_changed_file_is_seen(root):
    file = root / "Surprisals" / CHAT / "daily_dialog" / f"{CHAT}_0.csv"
    write_csv(file, [" one", " two"])
    steps(CHAT)
    path = paths.surprisals("gpt2", "daily_dialog", CHAT)
    before = path.stat().st_mtime_ns
    steps(CHAT)
    assert path.stat().st_mtime_ns == before
    write_csv(file, [" one", " two", " three"])
    steps(CHAT)
    assert len(store.read(path, "")) == 3


def test_a_missing_root_or_source_is_one_sentence(root):
    with pytest.raises(StudyError, match="make study STUDY=published ROOT="):
        repository.pairs("published", load_study("published"))
    with pytest.raises(StudyError, match="There is no folder original"):
        generate.generate_texts(run_of("01_generate", "human"))
    root.mkdir()
    with pytest.raises(StudyError, match="has no texts of 'human' on 'daily_dialog'"):
        generate.generate_texts(run_of("01_generate", "human"))


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the original study's published figures are not here")
def test_the_published_files_give_the_published_metrics(root):
    shutil.copytree(PUBLISHED / "surprisals", root / "Surprisals")
    published = pd.read_csv(PUBLISHED / "uid_metrics.csv")
    for source, rows in published.groupby("source"):
        folder = root / "UID_Analysis" / source / "daily_dialog"
        folder.mkdir(parents=True)
        rows.to_csv(folder / "uid_metrics.csv", index=False)
    for source, tolerance in (("human", 1e-4), (CHAT, 1e-9)):
        steps(source)
        run = run_of("03_uid", source)
        table = imported.agreement(run, uid.read_metrics(run)).set_index("metric")
        assert len(table) == 9
        assert (table["texts"] >= 2).all()
        apart = table.drop("sentence_length")[["largest", "largest, relative"]].min(axis=1)
        assert apart.max() < tolerance
        assert table.loc["sentence_length", "largest"] >= 0


def test_a_contrast_is_of_the_sources_that_there_are():
    contrasts = {each.name: each for each in load_study("published").contrasts()}
    own = contrasts["rlhf-and-base"]
    there = {"llama-2-7b-chat@q8_0", "mistral-plus-7b@q8_0", "mistral-plus-7b", "llama-2-7b@q8_0"}
    assert own.among(own.sources) == own
    assert own.among(there) == replace(
        own, of={"llama-2-7b-chat@q8_0": 1.0}, against={"llama-2-7b@q8_0": 1.0}
    )
    both = own.among({*there, "mistral-7b-v0.1"})
    assert both.of == {"llama-2-7b-chat@q8_0": 0.5, "mistral-plus-7b@q8_0": 0.25, "mistral-plus-7b": 0.25}
    assert both.against == {"llama-2-7b@q8_0": 0.5, "mistral-7b-v0.1": 0.5}
    assert contrasts["base-and-people"].among({"human"}) is None
