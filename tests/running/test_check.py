"""What a study declares is looked at as a whole, before anything is made."""

import datetime
import shutil

import pytest
import yaml

from lib import paths
from lib.errors import StudyError
from lib.params import OpenAI, load_study
from lib.running import check, status, steps, study


def declare(name: str, **changed) -> None:
    content = yaml.safe_load(paths.study_file("small").read_text()) | changed
    paths.study_file(name).write_text(yaml.safe_dump(content, sort_keys=False))


def dataset(name: str, **content) -> None:
    paths.dataset_file(name).write_text(yaml.safe_dump(content))


def test_all_that_is_wrong_is_said_at_once_each_in_a_line(small_study):
    dataset("nowhere", kind="folder", folder="no-such-folder")
    (small_study / "empty").mkdir()
    dataset("empty", kind="folder", folder="empty")
    dataset("table", kind="chats", rows={"files": "none/*.jsonl"})
    dataset("words", kind="folder", folder="notes", words={"file": "none.csv"})
    declare(
        "broken",
        sources=["human", "tiny-bse"],
        datasets=["nowhere", "empty", "table", "words", "nots"],
        scorers=["tiny-screr"],
        comparisons={},
        hypotheses={},
        paper=False,
    )
    with pytest.raises(StudyError) as caught:
        check.checked_study("broken")
    said = str(caught.value).splitlines()
    for sentence in (
        "did you mean 'tiny-base'?",
        "did you mean 'tiny-scorer'?",
        "There is no folder no-such-folder",
        "The folder empty holds no .txt files",
        "There is no file 'none/*.jsonl'",
        "none.csv cannot be read",
        "did you mean 'notes'?",
    ):
        assert len([line for line in said if sentence in line]) == 1, sentence
    assert len(said) == 7


@pytest.mark.parametrize("entry", [study.main, status.main])
def test_a_study_that_cannot_be_made_fails_in_a_sentence_after_another_one_was(
    small_study, entry, monkeypatch, capsys
):
    for page in (paths.study_page("small"), paths.study_page("broken"), paths.index_page()):
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text("an earlier one")
    dataset("nowhere", kind="folder", folder="no-such-folder")
    declare("broken", datasets=["nowhere"])
    monkeypatch.setattr("sys.argv", ["study", "broken"])
    assert entry() == 1
    said = capsys.readouterr()
    assert said.err == "error: There is no folder no-such-folder; give one that holds .txt files.\n"
    assert said.out == ""


def test_names_that_would_be_patterns_are_refused(small_study):
    for name in ("tiny {base}", "tiny<base>", "tiny base", "-tiny"):
        paths.source_file(name).write_text(paths.source_file("tiny-base").read_text())
        declare("odd", sources=["human", name], comparisons={}, hypotheses={}, paper=False)
        with pytest.raises(StudyError, match="cannot be the name of a source"):
            check.checked_study("odd")


def test_a_study_with_any_file_names_in_its_folders_is_allowed(small_study):
    folder = small_study / "my texts (1) [2024]"
    folder.mkdir()
    for name in ("notes {draft}.txt", "a <b>.txt", "it's ü.txt"):
        (folder / name).write_text("A title\n\nOne sentence of it. And another sentence.\n")
    dataset("mine", kind="folder", folder="my texts (1) [2024]")
    declare("mine", datasets=["mine"])
    assert check.checked_study("mine").datasets == ("mine",)
    table = status.status("mine")
    assert set(table["state"]) == {"missing"}


def test_a_comparison_of_no_metric_and_a_hypothesis_about_none_are_refused(small_study):
    declare("odd", comparisons={"all": {"metrics": ["uid_varience"]}}, paper=False)
    with pytest.raises(StudyError, match="did you mean 'uid_variance'"):
        check.checked_study("odd")


def test_steps_follow_from_files_of_weights_and_from_lists_of_words(small_study):
    def follows() -> tuple[str, str, str]:
        steps.weights.cache_clear()
        declared = load_study("small")
        return (
            steps.texts("small", declared, "notes", "own"),
            steps.surprisal("small", "notes", "own", "tiny-scorer"),
            steps.surprisal("small", "notes", "human", "own"),
        )

    shutil.copytree(paths.root() / "data" / "models" / "tiny-base", small_study / "own model")
    text = paths.source_file("tiny-base").read_text().replace("data/models/tiny-base", '"own model"')
    paths.source_file("own").write_text(text)
    before = follows()
    assert follows() == before
    with (small_study / "own model" / "config.json").open("a") as stream:
        stream.write("\n")
    written, read, scored = follows()
    assert written != before[0]
    assert scored != before[2]
    assert read == before[1]
    dataset("notes", kind="folder", folder="notes", words={"file": "words.csv"})
    (small_study / "words.csv").write_text("doc_id,number,word\narrays,1,About\n")
    listed = steps.surprisal("small", "notes", "human", "tiny-scorer")
    (small_study / "words.csv").write_text("doc_id,number,word\narrays,1,Of\n")
    assert steps.surprisal("small", "notes", "human", "tiny-scorer") != listed


def test_weights_with_fields_of_any_kind_can_be_asked_for_what_they_need(small_study):
    served = OpenAI(backend="openai", model="m", extra_body={"a": {"b": [1]}})
    assert hash(served) == hash(served.model_copy())
    assert steps.weights(served) == steps.weights(served.model_copy(update={"extra_body": None}))
    for value in (float("nan"), datetime.date(2024, 1, 31)):
        with pytest.raises(ValueError, match="`extra_body` cannot be sent as JSON"):
            OpenAI(backend="openai", model="m", extra_body={"a": value})
