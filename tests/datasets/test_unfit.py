"""Inputs that people have: what is read as it stands, and what is named in one sentence."""

import json
import os
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lib import datasets
from lib.datasets import values, word_lists
from lib.datasets.openings import split_opening
from lib.datasets.rows import local_files
from lib.datasets.unfit import Unfit
from lib.errors import StudyError
from lib.params import Articles, Chats, Dialogues, Folder, Rows, WordList, language_of

LONG = (
    "The town stands on a river that rises in the hills, past mills, "
    + "and past bridges " * 9
    + "to the sea."
)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STUDY_ROOT", str(tmp_path))
    return tmp_path


def articles(files: str, **more: object) -> Articles:
    return Articles.model_validate({"kind": "articles", "rows": {"files": files}, "seed": None, **more})


def sentence(dataset: Articles | Dialogues | Chats | Folder) -> str:
    with pytest.raises(StudyError) as caught:
        datasets.load("bad", dataset)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def lines(path: Path, *rows: object) -> None:
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")


# Identifiers.


def test_identifiers_stay_as_they_are_written(root: Path) -> None:
    ids = ["001", "01", "1", "0010", "1.0", "1e3", "NA", "2024-01-01"]
    (root / "t.csv").write_text("id,text\n" + "".join(f'{name},"{LONG} Rest {name}."\n' for name in ids))
    assert [d.doc_id for d in datasets.load("csv", articles("t.csv", id="id"))] == ids
    lines(root / "t.jsonl", *({"id": name, "text": f"{LONG} Rest."} for name in ids))
    assert [d.doc_id for d in datasets.load("jsonl", articles("t.jsonl", id="id"))] == ids


def test_missing_and_repeated_identifiers_are_named_with_their_rows(root: Path) -> None:
    lines(root / "t.jsonl", *({"id": name, "text": f"{LONG} Rest."} for name in (None, "x", None, "x", "y")))
    said = sentence(articles("t.jsonl", id="id"))
    assert said.startswith("each of t.jsonl row 1, t.jsonl row 3 has no identifier in the column `id`; ")
    assert "t.jsonl row 4 has the identifier 'x' of t.jsonl row 2 again" in said
    assert len(datasets.load("all", articles("t.jsonl"))) == 5
    kept = datasets.load("some", articles("t.jsonl", id="id", skip_unfit=True))
    assert [d.doc_id for d in kept] == ["x", "y"]
    assert list(datasets.left_out("some")) == [f"t.jsonl row {n}" for n in (1, 3, 4)]
    assert len(datasets.left_out_table("some")) == 3


def test_blanks_are_no_identifier(root: Path) -> None:
    (root / "t.csv").write_text(f'id,text\n" ","{LONG} Rest."\n')
    assert "t.csv row 1 has no identifier" in sentence(articles("t.csv", id="id"))


def test_numbers_as_identifiers_meet_texts_that_spell_them(root: Path) -> None:
    lines(root / "t.jsonl", {"id": 1, "text": f"{LONG} A."}, {"id": "1", "text": f"{LONG} B."})
    assert "row 2 has the identifier '1' of t.jsonl row 1 again" in sentence(articles("t.jsonl", id="id"))


# Columns of another kind.


def test_a_year_or_a_day_as_a_title_is_a_title(root: Path) -> None:
    (root / "t.csv").write_text(f'title,text\n1984,"{LONG} One."\n')
    lines(root / "t.jsonl", {"title": 1984, "text": f"{LONG} One."})
    table = pd.DataFrame({"title": [1984, None], "text": [f"{LONG} One.", f"{LONG} Two."]})
    table.to_parquet(root / "t.parquet")
    for file in ("t.csv", "t.jsonl", "t.parquet"):
        assert datasets.load(file[2:], articles(file, title="title"))[0].title == "1984"
    days = pd.DataFrame({"title": [pd.Timestamp("2024-05-01").date()], "text": [f"{LONG} One."]})
    days.to_parquet(root / "d.parquet")
    assert datasets.load("days", articles("d.parquet", title="title"))[0].title == "2024-05-01"


@pytest.mark.parametrize("spell", [str, json.dumps, lambda turns: "[" + "\n ".join(map(repr, turns)) + "]"])
def test_turns_that_are_spelled_as_a_list_are_read(root: Path, spell) -> None:
    turns = ["Hello .", ' It\'s , "so" ? ', "Fine .", "And you ?", "Fine .", "See you .", "Yes ."]
    pd.DataFrame({"dialog": [spell(turns)], "act": ["[3 2]"]}).to_csv(root / "d.csv", index=False)
    found = datasets.load("d", Dialogues(kind="dialogues", rows=Rows(files="d.csv")))
    assert [(d.doc_id, d.text) for d in found] == [("000000/5", "See you .")]
    assert '"It\'s , "so" ?"' in found[0].prompt


@pytest.mark.parametrize("cell", ["Hello. Hi.", "['a', ... 'b']", "[1, 2]", "['a'] + ['b']", "{}", "[f'x']"])
def test_a_text_in_a_column_of_turns_is_named(root: Path, cell: str) -> None:
    pd.DataFrame({"dialog": [cell]}).to_csv(root / "d.csv", index=False)
    said = sentence(Dialogues(kind="dialogues", rows=Rows(files="d.csv")))
    assert said.startswith("d.csv row 1 has a text in the column `dialog`, where a list of turns")


def test_messages_with_other_keys_are_named_with_file_and_column(root: Path) -> None:
    lines(root / "c.jsonl", {"conversation": [{"from": "human", "value": "How tall?"}]})
    said = sentence(Chats(kind="chats", rows=Rows(files="c.jsonl")))
    assert "c.jsonl row 1 has messages with `from` and `value` in the column `conversation`" in said
    assert "`role` and `content`" in said


def test_conversations_without_a_turn_of_the_user_are_passed_over_or_named(root: Path) -> None:
    said = [("user", "How tall?"), ("assistant", "Tall."), ("user", "And how wide?")]
    talk = [{"role": role, "content": content, "language": "English"} for role, content in said]
    french = [{**message, "language": "French"} for message in talk]
    lines(root / "c.jsonl", *({"conversation": each} for each in (french, [], None, talk)))
    chats = Chats(kind="chats", rows=Rows(files="c.jsonl"), seed=None)
    assert [d.doc_id for d in datasets.load("c", chats)] == ["000003/1", "000003/2"]
    others = [{**message, "role": message["role"].replace("user", "human")} for message in talk]
    lines(root / "c.jsonl", {"conversation": others})
    assert "row 1 has messages of `assistant` and `human`" in sentence(chats)


def test_a_day_that_no_calendar_has_is_named(root: Path) -> None:
    days = pa.array([2**62], pa.timestamp("us"))
    pq.write_table(pa.table({"text": [LONG], "title": days}), root / "t.parquet")
    assert "t.parquet cannot be read" in sentence(articles("t.parquet", title="title"))


@pytest.mark.parametrize(
    ("cell", "kind"), [(3, "a number"), (True, "true or false"), (["x"], "a list"), ({"a": 1}, "a group")]
)
def test_what_is_no_text_is_named(root: Path, cell: object, kind: str) -> None:
    lines(root / "t.jsonl", {"text": cell})
    assert f"row 1 has {kind}" in sentence(articles("t.jsonl"))
    with pytest.raises(Unfit):
        values.messages(cell, "c")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('text\n"a\nb,c\n', "cannot be read"),
        ("text,x\na,b,c\n", "row of 3 fields under 2 columns"),
        ("text,text\na,b\n", "'text' is there twice"),
        ("", "no column 'text'"),
        (b"text\nGr\xfcn\n", "is not UTF-8 text"),
    ],
)
def test_tables_that_cannot_be_read_are_named(root: Path, content: str | bytes, said: str) -> None:
    (root / "t.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert said in sentence(articles("t.csv"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"text": "a"}\n[1]\n', "line 2 is not an object"),
        ('{"text": ' + "1" * 5000 + "}\n", "line 1 is not JSON"),
        ('{"text": ' + "[" * 100_000 + "}\n", "line 1 is not JSON"),
        ('{"text": "\\ud800 half"}\n', "half a character"),
    ],
)
def test_lines_that_are_no_rows_are_named(root: Path, content: str, said: str) -> None:
    (root / "t.jsonl").write_text(content)
    assert said in sentence(articles("t.jsonl"))


# Line ends, hidden copies, names.


def test_line_ends_are_the_same_in_a_folder_and_in_tables(root: Path) -> None:
    text = f"Title\r\n\r\n{LONG} Then\r\nmore.\r\rLast.\r\n"
    (root / "mine").mkdir()
    (root / "mine" / "a.txt").write_bytes(text.encode())
    (root / "t.csv").write_bytes(f'text\r\n"{text}"\r\n'.encode())
    lines(root / "t.jsonl", {"text": text})
    pd.DataFrame({"text": [text]}).to_parquet(root / "t.parquet")
    of_folder = datasets.load("mine", Folder(kind="folder", folder="mine"))[0]
    assert "\r" not in of_folder.prompt + of_folder.text
    for file in ("t.csv", "t.jsonl", "t.parquet"):
        found = datasets.load(file[2:], articles(file, opening={"shortest": 0}))[0]
        assert (found.prompt, found.text) == (of_folder.prompt, of_folder.text)


def test_hidden_files_and_editors_copies_are_no_texts(root: Path) -> None:
    for name in (
        "essay.txt",
        "deep/other.txt",
        "._essay.txt",
        ".ipynb_checkpoints/essay-checkpoint.txt",
        ".git/x/y.txt",
        "__MACOSX/._essay.txt",
        "~$essay.txt",
        "essay~.txt",
        "essay.txt~",
        "#essay.txt#",
        "essay.sync-conflict-20240131-101010-ABCDEFG.txt",
        "essay (Ann's conflicted copy 2024-01-31).txt",
        "@eaDir/essay.txt",
    ):
        file = root / ".hidden above" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"\xb0" if "_essay" in name else b"T\nOne is here. Two.")
    found = datasets.load("mine", Folder(kind="folder", folder=".hidden above"))
    assert [d.doc_id for d in found] == ["deep/other", "essay"]


def test_the_lock_of_a_spreadsheet_is_no_table(root: Path) -> None:
    for name in ("a.csv", "b.CSV", "~$a.csv", "._a.csv", ".~lock.a.csv#"):
        (root / name).write_text(f'text\n"{LONG} Rest."\n')
    assert [file.name for file in local_files("*.csv")] == ["a.csv"]
    assert [file.name for file in local_files("*")] == ["a.csv", "b.CSV"]
    assert len(datasets.load("two", articles("*"))) == 2


def test_no_text_of_a_folder_is_passed_over_in_silence(root: Path) -> None:
    mine, elsewhere = root / "mine", root / "elsewhere"
    for name in ("mine/a.txt", "mine/B.TXT", "elsewhere/deep/c.Txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("T\nOne is here. Two.")
    (mine / "linked").symlink_to(elsewhere)
    (elsewhere / "round").symlink_to(mine)  # which leads back to where it began
    dataset = Folder(kind="folder", folder="mine")
    assert [d.doc_id for d in datasets.load("mine", dataset)] == ["B", "a", "linked/deep/c"]
    (mine / "a.TXT").write_text("T\nAnother is here. Two.")
    assert "mine/a.txt has the name of mine/a.TXT but for its ending" in sentence(dataset)
    (mine / "a.TXT").unlink()
    (mine / "gone.txt").symlink_to(root / "nowhere.txt")
    assert "mine/gone.txt is a link to a file that is not there" in sentence(dataset)


def test_brackets_and_braces_in_names_stand_for_themselves(root: Path) -> None:
    for name in ("news [2024]/b [1].jsonl", "news [2024]/c {x}.jsonl", "q?/d.jsonl"):
        (root / name).parent.mkdir(exist_ok=True)
        lines(root / name, {"text": f"{LONG} Rest."})
    assert len(datasets.load("all", articles("news [2024]/*.jsonl"))) == 2
    assert len(datasets.load("one", articles("news [2024]/b [1].jsonl"))) == 1
    assert len(local_files("q?/*.jsonl")) == 1
    (root / "texts {a} [b]").mkdir()
    (root / "texts {a} [b]" / "notes {draft} <x>.txt").write_text("T\nOne is here. Two.")
    (found,) = datasets.load("mine", Folder(kind="folder", folder="texts {a} [b]"))
    assert found.doc_id == "notes {draft} <x>"


# One unfit text of many.


def test_all_unfit_files_are_listed_at_once_or_left_out_and_counted(root: Path) -> None:
    (root / "mine").mkdir()
    for number in range(40):
        (root / "mine" / f"{number:02}.txt").write_text(f"T {number}\nOne is here. Two.")
    (root / "mine" / "07.txt").write_bytes(b"T\n\xfc. Two.")
    (root / "mine" / "11.txt").write_text("T\nOne.")
    (root / "mine" / "12.txt").write_text("")
    dataset = Folder(kind="folder", folder="mine")
    said = sentence(dataset)
    assert said.startswith(
        "mine/07.txt is not UTF-8 text; each of mine/11.txt, mine/12.txt has no text after"
    )
    assert said.endswith("or leave such out with `skip_unfit: true` in the dataset.")
    kept = datasets.load("mine", dataset.model_copy(update={"skip_unfit": True}))
    assert len(kept) == 37
    assert list(datasets.left_out("mine")) == ["mine/07.txt", "mine/11.txt", "mine/12.txt"]
    assert datasets.left_out_said(["mine", "none"]) == "Left out as unfit: 3 texts of the dataset mine."
    assert datasets.left_out_said(["none"]) == ""
    for number in range(40):
        (root / "mine" / f"{number:02}.txt").write_text("")
    assert "each of mine/00.txt" in sentence(dataset.model_copy(update={"skip_unfit": True}))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_named(root: Path) -> None:
    (root / "mine").mkdir()
    (root / "mine" / "a.txt").write_text("T\nOne is here. Two.")
    (root / "mine" / "a.txt").chmod(0)
    assert "mine/a.txt may not be read" in sentence(Folder(kind="folder", folder="mine"))


# Languages.


@pytest.mark.parametrize(
    ("body", "opening"),
    [
        ("Река берёт начало в холмах. Летом она медленная.", "Река берёт начало в холмах."),
        (
            "Ο ποταμός πηγάζει από τους λόφους. Το καλοκαίρι είναι αργός.",
            "Ο ποταμός πηγάζει από τους λόφους.",
        ),
        ("这条河发源于山区，向南流入大海。夏天水流缓慢。", "这条河发源于山区，向南流入大海。"),
        ("「はい。」と言った。次。", "「はい。」"),
        ("यह नदी है। वह पहाड़ है।", "यह नदी है।"),
        ("هل هذا نهر؟ نعم.", "هل هذا نهر؟"),
        ("Das ist gut. Übrigens auch das.", "Das ist gut."),
        ("Er ging. „Warum?“ fragte sie.", "Er ging."),
        ("He left. “Why?” she said.", "He left."),
        ("Bien. «Oui» dit-il.", "Bien."),
        ("He went. 3 men came.", "He went."),
        ("Sí. ¿Qué? No.", "Sí."),
        ("1. The first is here. The second.", "1. The first is here."),
        ("Dr. Smith paid 1.5 euros. He left.", "Dr. Smith paid 1.5 euros."),
    ],
)
def test_openings_end_after_the_first_sentence_in_any_script(body: str, opening: str) -> None:
    found, rest = split_opening(body)
    assert found == opening
    assert found + rest == body


def test_the_language_of_a_dataset_decides_where_sentences_end(root: Path) -> None:
    (root / "mine").mkdir()
    (root / "mine" / "a.txt").write_text("T\nAm 3. Mai kam er. Dann ging er.")
    english = Folder(kind="folder", folder="mine")
    german = english.model_copy(update={"language": "de"})
    assert datasets.load("en", english)[0].prompt == "T\n\nAm 3."
    assert datasets.load("de", german)[0].prompt == "T\n\nAm 3. Mai kam er."
    assert language_of(german) == "de"
    assert language_of(Chats(kind="chats", rows=Rows(files="x"), language="Chinese")) == "zh"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("doc_id,number,word\n001,1,a,b\n", "line 2 ends a row of 4 fields under 3 columns"),
        ("doc_id,number,word,word\n001,1,a,b\n", "the column 'word' is there twice"),
        ("doc_id,number,wrd\n001,1,a\n", "has no column 'word'; did you mean 'wrd'?"),
        ("doc_id,number,word\n001,inf,a\n", "wrong in row 1: the word 'a' of text '001' has no number"),
        ("doc_id,number,word\n1,1,a\n1,1.0,b\n", "wrong in row 2: the word 'b' of text '1' is there twice"),
        ("doc_id,number,word\n001,1,Gr\xfcn\n".encode("latin-1"), "words.csv is not UTF-8 text"),
    ],
)
def test_tables_of_words_that_cannot_be_used_are_named(root: Path, content: str | bytes, said: str) -> None:
    (root / "words.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(StudyError) as caught:
        word_lists.read(WordList(file="words.csv"))
    assert said in str(caught.value)


def test_a_table_of_words_is_read_as_it_is_written(root: Path) -> None:
    (root / "w.tsv").write_bytes(b"doc_id\tnumber\tword\r\n001\t2\tNA\r\n001\t1\tnull\r\n01\t1.5\t \r\n")
    assert word_lists.read(WordList(file="w.tsv")) == {"001": ("null", "NA"), "01": (" ",)}
