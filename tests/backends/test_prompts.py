"""What a template may do to a prompt, and that it cannot stop or mislead a run."""

import time

import pytest
from jinja2 import TemplateError
from transformers import AutoTokenizer

from lib.backends import bounded, prompts
from lib.backends.tokens import Tokens
from lib.errors import StudyError

MODEL = "data/models/tiny-instruct"


def sent(template, prompt="Sort a list.", system=None):
    return prompts.sent(prompt, system, chat=True, template=template, model="m")


def templated(source: str):
    def render(messages, *, add_generation_prompt):
        return prompts.rendered(source, messages, add_generation_prompt=add_generation_prompt)

    return render


def test_a_date_in_a_template_is_the_same_on_every_day():
    template = templated("{{ strftime_now('%d %b %Y') }}: {{ messages[0]['content'] }}")
    assert sent(template) == "26 Jul 2024: Sort a list."


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ messages[0]['role'] }}", "does not write the prompt"),
        ("{{ raise_exception('no way') }}", "fails \\(no way\\)"),
        ("{{ messages[0]['content'] + 1 }}", "fails"),
        ("{% for", "fails"),
        ("{{ 1 // 0 }}", "fails"),
    ],
)
def test_a_template_that_fails_or_loses_the_prompt_is_one_sentence(source, said):
    with pytest.raises(StudyError, match=said):
        sent(templated(source))


def test_a_template_without_end_is_given_up(monkeypatch):
    monkeypatch.setattr(prompts, "LONGEST", 0.05)

    def endless(messages, *, add_generation_prompt):
        time.sleep(1)
        return ""

    with pytest.raises(StudyError, match="does not come to an end"):
        sent(endless)


def test_a_refused_system_role_goes_above_the_users_message():
    def strict(messages, *, add_generation_prompt):
        if messages[0]["role"] == "system":
            raise TemplateError("system role is not supported")
        return messages[0]["content"]

    assert sent(strict, system="Rule.") == "Rule.\n\nSort a list."


def test_errors_and_answers_come_through_a_bounded_call():
    assert bounded.within(5, lambda: 7) == 7
    with pytest.raises(KeyError):
        bounded.within(5, lambda: {}["missing"])


@pytest.mark.parametrize("chat", [False, True])
def test_special_tokens_that_somebody_wrote_are_characters(chat):
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    prompt = "What does <|endoftext|> mean, and <|user|>?"
    text = f"<|user|>{prompt}<|assistant|>" if chat else prompt
    ids = Tokens(tokenizer, "m").begun(prompts.Sent(text, prompt))
    special = [tokenizer.decode([i]) for i in ids if i in tokenizer.added_tokens_decoder]
    assert special == (["<|endoftext|>", "<|user|>", "<|assistant|>"] if chat else ["<|endoftext|>"])
    assert tokenizer.decode(ids[1:]) == text


@pytest.mark.parametrize(
    ("text", "written", "pieces"),
    [
        (
            "<a>Rule.\n<b>Sort it.<c>",
            ["Rule.", " Sort it. "],
            ["<a>|", "Rule.", "\n<b>|", "Sort it.", "<c>|"],
        ),
        (
            "<a>Sort it.<b>Sort it.<c>",
            ["Sort it.", "Sort it."],
            ["<a>|", "Sort it.", "<b>|", "Sort it.", "<c>|"],
        ),
        ("Sort it.", ["Sort it."], ["Sort it."]),
        ("<a>lost<b>", ["Sort it."], ["<a>lost<b>|"]),
        ("<a><b>", [" "], ["<a><b>|"]),
    ],
)
def test_what_somebody_wrote_is_told_from_what_a_template_wrote(text, written, pieces):
    found = prompts.Sent(text, *written).pieces
    assert [piece + ("" if by_somebody else "|") for piece, by_somebody in found] == pieces


def test_a_system_prompt_is_characters_too():
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    request = "Sort a list."
    text = sent(
        lambda messages, *, add_generation_prompt: "".join(f"<|user|>{m['content']}" for m in messages),
        request,
        "Never write <|endoftext|>.",
    )
    ids = Tokens(tokenizer, "m").begun(text)
    assert [i for i in ids if i in tokenizer.added_tokens_decoder] == [
        tokenizer.bos_token_id,
        tokenizer.convert_tokens_to_ids("<|user|>"),
    ]
    assert tokenizer.decode(ids[1:]) == text


def test_a_template_is_filled_in_as_transformers_does():
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    messages = prompts.conversation("Sort <b>it</b>.", None)
    found = prompts.rendered(
        tokenizer.chat_template, messages, add_generation_prompt=True, **tokenizer.special_tokens_map
    )
    assert found == tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
