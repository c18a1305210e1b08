"""Jobs that share the work of one source make the bytes that one job makes."""

import json

import pytest

from lib import paths, progress, store
from lib.backends import engines
from lib.errors import StudyError
from lib.generate import texts as generate
from lib.generate import writing
from lib.running import make as make_module
from lib.running.make import make
from lib.running.study import run_study
from lib.surprisal import scoring
from tests.toy_engine import ENGINE

GIVEN = {"model": "tiny-base", "study": "small", "dataset": "notes"}
SCORED = GIVEN | {"scorer": "tiny-scorer"}


@pytest.fixture
def parted(small_study, monkeypatch):
    """The small study, whose few texts are several parts."""
    monkeypatch.setattr(scoring, "CHARACTERS_PER_PART", 400)
    opened = generate.open_generator

    def in_threes(weights):
        generator = opened(weights)
        generator.at_once = 3
        return generator

    monkeypatch.setattr(generate, "open_generator", in_threes)
    return small_study


def test_shards_in_any_order_join_to_the_same_bytes(parted, monkeypatch):
    texts = paths.texts("notes", "tiny-base")
    scored = [
        paths.surprisals("tiny-scorer", "notes", "tiny-base"),
        paths.words("tiny-scorer", "notes", "tiny-base"),
    ]
    make("texts", GIVEN)
    make("surprisal", SCORED)
    whole = [path.read_bytes() for path in (texts, *scored)]
    for path in (texts, *scored):
        path.unlink()

    make("texts", GIVEN, "2/2")
    assert not texts.exists()
    make("texts", GIVEN, "1/2")
    journals = sorted(texts.parent.glob(".*.journal"))
    assert [len(journal.read_text().splitlines()) > 5 for journal in journals] == [True, True]
    with monkeypatch.context() as patch:
        patch.setattr(writing, "_request", None)  # nothing is written again
        make("texts", GIVEN)
    assert not list(texts.parent.glob(".*.journal"))
    for shard in ("3/3", "1/3", "2/3"):
        make("surprisal", SCORED, shard)
    make("surprisal", SCORED)
    assert [path.read_bytes() for path in (texts, *scored)] == whole
    make("texts", GIVEN, "1/2")  # there already
    assert not list(texts.parent.glob(".*.journal"))


@pytest.mark.parametrize("shard", ["0/2", "3/2", "2", "a/b", "1/0"])
def test_a_shard_that_is_none_is_refused_in_a_sentence(small_study, shard):
    with pytest.raises(StudyError, match="is none; give 1/4"):
        make("texts", GIVEN, shard)


def test_what_cannot_be_shared_is_refused_in_a_sentence(small_study):
    with pytest.raises(StudyError, match="10 texts, which 11 shards cannot share"):
        make("texts", GIVEN, "1/11")
    with pytest.raises(StudyError, match="uid is not cut into shards"):
        make("uid", SCORED, "1/2")
    for shards in ("0", "-1", "two", "1.5"):
        with pytest.raises(StudyError, match="SHARDS is"):
            run_study("small", shards)


def test_shards_of_one_source_have_a_line_of_progress_each(small_study, tmp_path, monkeypatch):
    monkeypatch.setenv(progress.FOLDER, str(tmp_path / "progress"))
    (tmp_path / "progress").mkdir()
    seen, folder = [], tmp_path / "progress"
    monkeypatch.setattr(make_module, "make", lambda *given: seen.extend(progress.lines(folder)))
    for shard in ("1/2", "2/2"):
        command = ["make", "texts", "-p", "model", "tiny-base", "--shard", shard]
        monkeypatch.setattr("sys.argv", command)
        assert make_module.main() == 0
    assert [line.split() for line in seen] == [["texts", "tiny-base", "1-2"], ["texts", "tiny-base", "2-2"]]


def test_conversations_are_whole_however_few_texts_are_written_and_held_at_once(small_study, monkeypatch):
    """Three conversations of five prompts, four texts at once: no group of them ends with a conversation."""
    monkeypatch.setattr(engines, "ENGINES", dict(engines.ENGINES))
    engines.add(ENGINE)
    turns = [[f"{name} says {number}" for number in range(6)] for name in "abc"]
    rows = "".join(json.dumps({"id": f"talk-{i}", "said": each}) + "\n" for i, each in enumerate(turns))
    (small_study / "talks.jsonl").write_text(rows)
    paths.dataset_file("talks").write_text(
        "kind: dialogues\nrows: {files: talks.jsonl}\nid: id\nturns: said\n"
        "first_turn: 1\nevery: 1\njoin: true\nseed: null\n"
    )
    paths.source_file("toy").write_text(
        "kind: model\nclass: base\nfamily: toy\nweights: {backend: toy, word: so, varied: true}\n"
        "sampling: {generate: 3, min_characters: 1}\n"
    )
    study = "title: Talks\nsources: [toy]\ndatasets: [talks]\nscorers: [tiny-scorer]\n"
    paths.study_file("talks").write_text(study)
    given = {"model": "toy", "study": "talks", "dataset": "talks"}
    path = paths.texts("talks", "toy")

    make("texts", given)
    one = store.read_table(path, "").to_pylist()
    assert [row["doc_id"] for row in one] == ["talk-0", "talk-1", "talk-2"]
    assert [row["text"].count("\n\n") for row in one] == [4, 4, 4]

    paths.study_file("talks").write_text(study + "samples: 2\n")
    make("texts", given)  # to the rows that are there, whose places are between the others
    two = store.read_table(path, "").to_pylist()
    assert [(row["doc_id"], row["sample"]) for row in two] == [
        (f"talk-{i}", k) for i in range(3) for k in (0, 1)
    ]
    assert [row["text"] for row in two[::2]] == [row["text"] for row in one]

    path.unlink()
    monkeypatch.setattr(generate, "ROWS", 2)
    make("texts", given, "1/2")
    make("texts", given, "2/2")
    make("texts", given)
    assert store.read_table(path, "").to_pylist() == two
