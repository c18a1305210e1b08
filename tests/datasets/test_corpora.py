"""Corpora: tables with the schemas of the hub's, as local files, and the original study's prompt rules."""

import json
import os
import subprocess
import sys

import pandas as pd
import pytest

from lib import datasets, paths
from lib.errors import StudyError
from lib.generate.texts import generate_texts, read_texts
from lib.params import Articles, Chats, Dialogues, Rows, load_dataset
from lib.params.run import resolve
from tests.conftest import REPOSITORY

SENTENCE = "A council of the old town met on Monday and decided, after " + "long " * 40 + "talks, to mend it."


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("STUDY_ROOT", str(tmp_path))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return tmp_path


def declared(kind, like, files, **changes):
    """The repository's declaration `like` on local `files`, with its columns."""
    own = like.model_dump() | {"rows": {"files": files}} | changes
    return kind.model_validate(own)


def repository_dataset(name, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("STUDY_ROOT", str(REPOSITORY))
        return load_dataset(name)


def test_articles_have_their_first_highlight_as_title_and_fitting_openings(root, monkeypatch):
    rows = [
        {"article": f"{SENTENCE} The rest follows.", "highlights": "Town mends it .\nMore .", "id": "a1"},
        {"article": "Short. " + "Many words follow here. " * 30, "highlights": "Short .", "id": "a2"},
        {"article": "x" * 600 + ". The rest.", "highlights": "Long .", "id": "a3"},
        {"article": "Nothing follows.", "highlights": "None .", "id": "a4"},
    ]
    pd.DataFrame(rows).to_parquet(root / "test.parquet")
    like = repository_dataset("cnn_dailymail", monkeypatch)
    found = {d.doc_id: d for d in datasets.load("news", declared(Articles, like, "test.parquet"))}
    assert found["a1"].title == "Town mends it ."
    assert found["a1"].prompt == f"Town mends it .\n\n{SENTENCE}"
    assert found["a1"].text == " The rest follows."
    for name in ("a2", "a3"):
        article = next(row["article"] for row in rows if row["id"] == name)
        assert found[name].prompt.partition("\n\n")[2] == article[:200]
        assert found[name].text == article[200:].rstrip()
    assert set(found) == {"a1", "a2", "a3"}


def test_stories_come_from_csv_and_words_for_nothing_are_words(root, monkeypatch):
    table = pd.DataFrame({"prompt": ["NA", "null"], "story": [f"{SENTENCE} One.", f"{SENTENCE} Two."]})
    table.to_csv(root / "stories.csv", index=False)
    like = repository_dataset("writingprompts", monkeypatch)
    found = datasets.load("stories", declared(Articles, like, "stories.csv", seed=None))
    assert [(d.title, d.text) for d in found] == [("NA", " One."), ("null", " Two.")]


def test_dialogues_quote_the_turns_so_far_from_the_fifth_on_every_second_one(root, monkeypatch):
    turns = [f" Turn {i} . " for i in range(1, 10)]
    pd.DataFrame({"dialog": [turns], "act": [[0] * 9], "emotion": [[0] * 9]}).to_parquet(root / "d.parquet")
    like = repository_dataset("daily_dialog", monkeypatch)
    found = datasets.load("talk", declared(Dialogues, like, "d.parquet"))
    assert [d.doc_id for d in found] == ["000000/5", "000000/7"]
    assert [d.text for d in found] == ["Turn 6 .", "Turn 8 ."]
    assert found[0].prompt == "\n".join(
        [
            "Help me write the next turn in this dialog with no explanation or format changes.",
            "",
            *(f'"Turn {i} ."' for i in range(1, 6)),
        ]
    )


def chats(root, conversations):
    lines = [
        {
            "conversation_hash": name,
            "conversation": [dict(m, language=m.get("language", "English")) for m in c],
        }
        for name, c in conversations.items()
    ]
    (root / "chats.jsonl").write_text("\n".join(map(json.dumps, lines)))


def message(role, content, **more):
    return {"role": role, "content": content, **more}


def test_each_english_turn_of_a_user_is_a_prompt(root, monkeypatch):
    conversation = [
        message("user", "How do ships float?"),
        message("assistant", "They displace water."),
        message("user", "Et en français ?", language="French"),
        message("assistant", "Oui."),
        message("user", "And submarines?"),
    ]
    chats(root, {"c1": conversation})
    like = repository_dataset("wildchat", monkeypatch)
    found = datasets.load("chats", declared(Chats, like, "chats.jsonl"))
    assert [(d.doc_id, d.prompt, d.text) for d in found] == [
        ("c1/1", "How do ships float?", "And submarines?"),
        ("c1/2", "And submarines?", ""),
    ]


def test_joined_conversations_are_one_row_each_in_the_order_of_their_turns(small_study, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(small_study / "cache"))
    many = {
        f"c{k}": [message("user", f"The function of array {k} and axis {i} returns") for i in range(k + 1)]
        for k in range(1, 4)
    }
    chats(small_study, many)
    paths.dataset_file("talks").write_text(
        "kind: chats\nrows: {files: chats.jsonl}\nid: conversation_hash\nseed: null\njoin: true\n"
    )
    study = paths.study_file("small")
    study.write_text(study.read_text().replace("[notes]", "[notes, talks]"))
    given = {"model": "tiny-base", "study": "small", "dataset": "talks", "generate": 2, "max_tokens": 16}
    generate_texts(resolve("01_generate", given))
    rows = read_texts(resolve("01_generate", given))
    assert rows["doc_id"].tolist() == ["c1", "c2"]
    assert [text.count("\n\n") >= n for text, n in zip(rows["text"], (1, 2), strict=True)] == [True, True]
    assert rows["tokens"].tolist() == [2 * 16, 3 * 16] or (rows["finish_reason"] == "stop").any()
    assert rows.loc[0, "prompt"] == "The function of array 1 and axis 0 returns"
    people = {**given, "model": "human", "max_tokens": None}
    generate_texts(resolve("01_generate", people))
    (first, second) = read_texts(resolve("01_generate", people))["text"]
    assert first == "The function of array 1 and axis 1 returns"
    assert second.split("\n\n") == [f"The function of array 2 and axis {i} returns" for i in (1, 2)]


def test_the_seed_decides_the_order_and_fewer_rows_are_the_first_ones(root):
    table = pd.DataFrame({"text": [f"Title {i}\n{SENTENCE} Rest {i}." for i in range(30)]})
    table.to_parquet(root / "t.parquet")
    rows = Rows(files="t.parquet")
    whole = datasets.load("a", Articles(kind="articles", rows=rows))
    assert [d.title for d in whole] != [f"Title {i}" for i in range(30)]
    assert datasets.load("b", Articles(kind="articles", rows=rows, texts=7)) == whole[:7]
    other = datasets.load("c", Articles(kind="articles", rows=rows, seed=1))
    assert sorted(other, key=str) == sorted(whole, key=str) != whole
    assert other != whole


@pytest.mark.parametrize(
    ("make", "files", "sentence"),
    [
        (lambda root: None, "none/*.jsonl", "There is no file 'none/"),
        (lambda root: (root / "a.txt").write_text("x"), "a.txt", r"names \.txt files"),
        (lambda root: (root / "a.jsonl").write_text("{not json"), "a.jsonl", "a.jsonl cannot be read"),
        (lambda root: (root / "a.parquet").write_bytes(b"PAR1 cut"), "a.parquet", "a.parquet cannot be read"),
        (
            lambda root: pd.DataFrame({"texts": ["a"]}).to_parquet(root / "b.parquet"),
            "b.parquet",
            "no column 'text'; did you mean 'texts'",
        ),
        (
            lambda root: pd.DataFrame({"text": ["One sentence."]}).to_parquet(root / "c.parquet"),
            "c.parquet",
            "No row of the table",
        ),
    ],
)
def test_bad_tables_end_in_one_sentence(root, make, files, sentence):
    make(root)
    with pytest.raises(StudyError, match=sentence) as caught:
        datasets.load("bad", Articles(kind="articles", rows=Rows(files=files)))
    assert "\n" not in str(caught.value)


def test_without_network_and_cache_one_sentence_says_what_to_do(root):
    offline = {**os.environ, "STUDY_ROOT": str(root), "HF_HUB_OFFLINE": "1", "HF_HOME": str(root / "hf")}

    def found():
        command = [sys.executable, "-m", "lib.datasets", "cnn_dailymail"]
        return subprocess.run(command, capture_output=True, text=True, env=offline, check=False)

    done = found()
    assert done.returncode == 1
    assert "There is no dataset 'cnn_dailymail'" in done.stderr
    (root / "params").mkdir()
    (root / "params" / "datasets").symlink_to(REPOSITORY / "params" / "datasets")
    done = found()
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert "abisee/cnn_dailymail" in line
    assert "connect to the network once" in line
