"""Step 01: each flag of the original study has its effect; a batch costs less than its texts one by one."""

import shutil

import pandas as pd
import pytest
import torch

from lib import paths, store
from lib.backends import continuing
from lib.backends.drawing import not_yet
from lib.backends.engines import open_generator
from lib.backends.generating import Request
from lib.datasets.document import Document
from lib.errors import StudyError
from lib.generate import texts as generate
from lib.generate.rows import SCHEMA, joined, tasks_of
from lib.params import Sampling, Transformers
from lib.params.run import resolve
from tests.conftest import SMALL_STUDY

GIVEN = {"model": "tiny-base", "study": "small", "max_tokens": 24, "generate": 4, "max_retries": 0}


def written(**given: object) -> pd.DataFrame:
    run = resolve("01_generate", {**GIVEN, **given})
    generate.generate_texts(run)
    return generate.read_texts(run)


def texts(**given: object) -> list[str]:
    return list(written(**given)["text"])


def test_generate_is_how_many(small_study):
    four, six = texts(), texts(generate=6)
    assert (len(four), len(six)) == (4, 6)
    assert six[:4] == four  # more texts change none


def test_temperature_and_top_p_change_what_is_drawn(small_study):
    usual = texts()
    assert texts() == usual
    coldest, narrowest = texts(temperature=0), texts(top_p=1e-9)
    assert coldest == narrowest  # both take the most probable token
    assert coldest != usual
    assert texts(temperature=3.0) != usual


def test_max_tokens_bounds_a_text(small_study):
    rows = written(max_tokens=7)
    assert rows["tokens"].max() == 7
    assert set(rows.loc[rows["tokens"] == 7, "finish_reason"]) <= {"length", "stop"}
    assert "length" in set(rows["finish_reason"])


def test_a_least_length_changes_the_end_markers_alone():
    logits = torch.randn(3, 7)
    held = not_yet(logits, [0, 4], [True, False, True])
    assert held[[0, 2]][:, [0, 4]].isneginf().all()
    assert torch.equal(held[1], logits[1])
    assert torch.equal(held[:, [1, 2, 3, 5, 6]], logits[:, [1, 2, 3, 5, 6]])


@pytest.mark.parametrize("plain", [True, False])
def test_no_text_ends_before_its_least_length(plain):
    generator = open_generator(Transformers(backend="transformers", model="data/models/tiny-base"))
    generator.plain = plain  # both ways of going on
    requests = [Request("Arrays\n\nAn array has", seed=seed) for seed in range(24)]
    free = generator.generate(requests, Sampling(max_tokens=24))
    held = generator.generate(requests, Sampling(max_tokens=24, min_tokens=12))
    assert min(each.tokens for each in free) < 12 <= min(each.tokens for each in held)
    # Where chance has no part in it, a text that may not end goes on from where it would have.
    greedy = Sampling(max_tokens=24, temperature=0)
    [free_one] = generator.generate(requests[:1], greedy)
    [held_one] = generator.generate(requests[:1], greedy.model_copy(update={"min_tokens": 12}))
    assert free_one.tokens < 12 <= held_one.tokens
    assert held_one.text.startswith(free_one.text)


def test_max_retries_is_how_often_a_short_text_is_tried_again(small_study):
    assert set(written()["retries"]) == {0}
    rows = written(max_retries=2, max_tokens=3)  # too few for 200 characters
    assert set(rows["retries"]) == {2}
    assert set(rows["status"]) == {"short"}


def test_a_system_prompt_is_sent(small_study):
    rows = written(system_prompt="Go on with this:")
    assert rows["sent"].str.startswith("Go on with this:").all()
    assert not rows["prompt"].str.contains("Go on with this:").any()
    chat = written(model="tiny-rlhf", system_prompt="Go on with this:")
    assert chat["sent"].str.contains("<|user|>", regex=False).all()
    assert chat["sent"].str.contains("Go on with this:").all()


def test_regenerate_writes_again_what_is_there(small_study):
    def count(**given: object) -> int:
        return generate.generate_texts(resolve("01_generate", {**GIVEN, **given})).written

    assert [count(), count(), count(regenerate=True), count()] == [4, 0, 4, 0]


def test_verbose_tells_of_each_text(small_study, capsys):
    texts()
    quiet = capsys.readouterr()
    rows = written(verbose=True, regenerate=True)
    told = capsys.readouterr()
    assert all(doc_id in told.out + told.err for doc_id in rows["doc_id"])
    assert not any(doc_id in quiet.out + quiet.err for doc_id in rows["doc_id"])


def test_human_dir_is_read_in_place_of_the_dataset(small_study):
    folder = small_study / "mine"
    folder.mkdir()
    (folder / "one.txt").write_text("A title\n\nThe first sentence is here. And what follows is the text.\n")
    run = resolve("01_generate", {"model": "human", "study": "small", "human_dir": str(folder)})
    generate.generate_texts(run)
    rows = generate.read_texts(run)
    assert list(rows["title"]) == ["A title"]
    assert "what follows" in rows["text"][0]


def test_samples_have_seeds_of_their_own_and_the_first_is_what_one_alone_would_be(small_study):
    def sampled(count: int, **given: object) -> pd.DataFrame:
        file = paths.study_file("small")
        file.write_text(f"{SMALL_STUDY}samples: {count}\n")
        return written(**given)

    alone = sampled(1)
    three = sampled(3)
    assert three["doc_id"].tolist() == [doc_id for doc_id in alone["doc_id"] for _ in range(3)]
    assert three["sample"].tolist() == [0, 1, 2] * 4
    assert three["seed"].nunique() == 12
    assert three["text"].nunique() >= 8  # some stop at once
    columns = ["doc_id", "text", "seed", "sample"]
    pd.testing.assert_frame_equal(
        three[three["sample"] == 0][columns].reset_index(drop=True), alone[columns], check_exact=True
    )
    again = sampled(3, regenerate=True)  # all at once, none kept
    pd.testing.assert_frame_equal(again, three, check_exact=True)
    assert set(sampled(3, temperature=0)["sample"]) == {0}  # without chance the others would be the same
    people = sampled(3, model="human", **dict.fromkeys(("max_tokens", "max_retries")))
    assert set(people["sample"]) == {0}


def test_texts_that_are_there_stay_when_only_their_number_changes(small_study, monkeypatch):
    def count(samples: int, **given: object) -> int:
        paths.study_file("small").write_text(f"{SMALL_STUDY}samples: {samples}\n")
        return generate.generate_texts(resolve("01_generate", {**GIVEN, **given})).written

    assert [count(1), count(2), count(2, generate=6), count(1, generate=3)] == [4, 4, 4, 0]
    assert count(1, generate=3, temperature=0.5) == 3
    # A file from before there were samples: its texts stay, and get the column.
    path = paths.texts("notes", "tiny-base")
    before = store.read(path, "x")
    record = store.read_record(path)
    del record["parameters"]["samples"]
    schema = SCHEMA.remove(SCHEMA.get_field_index("sample"))
    store.write(path, before.drop(columns="sample"), schema, record)
    assert count(1, generate=3, temperature=0.5) == 0
    pd.testing.assert_frame_equal(store.read(path, "x"), before)
    (small_study / "notes" / "arrays.txt").write_text("Arrays\n\nAnother opening. Another text.\n")
    assert count(1, generate=3, temperature=0.5) == 1


def test_a_study_without_a_sample_is_refused_in_a_sentence(small_study):
    paths.study_file("small").write_text(f"{SMALL_STUDY}samples: 0\n")
    with pytest.raises(StudyError, match=r"small.yaml: `samples` is 0, but it should be greater"):
        resolve("01_generate", GIVEN)


def test_each_sample_of_a_conversation_is_joined_by_itself():
    parts = [Document(f"c/{i}", "", f"prompt {i}", "", joined_as="c") for i in range(2)]
    tasks = list(tasks_of([*parts, Document("d", "", "prompt", "")], samples=2))
    assert [(task.document.doc_id, task.sample) for task in tasks] == [
        *(("c/0", 0), ("c/1", 0), ("c/0", 1), ("c/1", 1)),
        *(("d", 0), ("d", 1)),
    ]
    rows = [
        {**dict.fromkeys(SCHEMA.names), "doc_id": task.document.doc_id, "sample": task.sample}
        | {"status": "ok", "text": f"{task.document.doc_id} {task.sample}"}
        for task in tasks
    ]
    found = {(row["doc_id"], row["sample"]): row["text"] for row in joined(rows, tasks)}
    assert found == {
        ("c", 0): "c/0 0\n\nc/1 0",
        ("c", 1): "c/0 1\n\nc/1 1",
        ("d", 0): "d 0",
        ("d", 1): "d 1",
    }


@pytest.mark.parametrize("size", [1, 3, 32])
def test_neither_batch_nor_order_changes_a_text(size, monkeypatch):
    monkeypatch.setattr(continuing, "BATCH", size)
    generator = open_generator(Transformers(backend="transformers", model="data/models/tiny-base"))
    requests = [Request(f"Part {i}" * (1 + i % 4), seed=i) for i in range(8)]
    sampling = Sampling(max_tokens=30)
    found = [completion.text for completion in generator.generate(requests[::-1], sampling)][::-1]
    monkeypatch.undo()
    assert found == [completion.text for completion in generator.generate(requests, sampling)]


def test_a_template_that_writes_the_date_writes_the_one_in_the_record(small_study):
    """As Llama 3.2's and Granite's do: the texts of two days are the same."""
    folder = small_study / "dated"
    shutil.copytree(paths.resolve("data/models/tiny-instruct"), folder)
    (folder / "chat_template.jinja").write_text(
        "{{ bos_token }}{% set date = strftime_now('%d %b %Y') %}Today is {{ date }}.\n"
        "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    file = paths.source_file("tiny-rlhf")
    file.write_text(file.read_text().replace("data/models/tiny-rlhf", str(folder)))
    rows = written(model="tiny-rlhf")
    assert rows["sent"].str.contains("Today is 26 Jul 2024.", regex=False).all()
    record = store.read_record(paths.texts("notes", "tiny-rlhf"))
    assert record["parameters"]["today_in_templates"] == "2024-07-26"
