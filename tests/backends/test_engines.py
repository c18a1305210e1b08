"""An engine is one module and one entry: a toy one writes and reads through steps 01 and 02."""

from collections.abc import Iterator

import pytest

from lib.backends import engines
from lib.backends.engine import Engine
from lib.errors import StudyError
from lib.generate import texts as generate
from lib.params import load_source
from lib.params.run import resolve
from lib.surprisal import scoring as surprisal
from tests.toy_engine import ENGINE


@pytest.fixture
def toy(small_study, monkeypatch) -> Iterator[None]:
    monkeypatch.setattr(engines, "ENGINES", dict(engines.ENGINES))
    engines.add(ENGINE)
    (small_study / "params" / "toy.yaml").write_text(
        "kind: model\nclass: base\nfamily: toy\nweights: {backend: toy, word: list}\n"
        "sampling: {generate: 3, max_tokens: 60}\n"
    )
    study = small_study / "params" / "studies" / "small.yaml"
    study.write_text(study.read_text().replace("scorers: [tiny-scorer]", "scorers: [toy]"))


def test_a_toy_engine_writes_and_reads_from_one_module_and_one_entry(toy):
    given = {"model": "toy", "study": "small"}
    generate.generate_texts(resolve("01_generate", given))
    texts = generate.read_texts(resolve("01_generate", given))
    assert set(texts["text"]) == {" list" * 60}
    run = resolve("02_surprisal", {**given, "scorer": "toy"})
    summary = surprisal.score_texts(run)
    tokens = surprisal.read_tokens(run)
    assert summary.measured["read"] == "letter by letter"
    assert len(tokens) == 3 * 300
    assert (tokens["surprisal"] == 1).all()
    assert tokens["rank"].isna().all()
    assert tokens["entropy"].isna().all()


def test_an_engine_that_only_reads_says_so(toy, monkeypatch):
    monkeypatch.setitem(engines.ENGINES, "toy", Engine(**{**ENGINE.__dict__, "writer": None}))
    with pytest.raises(StudyError, match="only read"):
        engines.open_generator(load_source("toy").weights)


def test_what_a_params_file_leaves_out_decides_nothing():
    from lib.params import OpenAI

    plain = OpenAI(backend="openai", model="m")
    assert set(engines.deciding(plain)) == {"backend", "model", "base_url"}
    assert engines.deciding(plain.model_copy(update={"extra_body": {"k": 1}}))["extra_body"] == {"k": 1}


def test_the_packages_that_decide_are_those_that_take_part():
    from lib.params import LlamaCpp, Transformers

    def needed(weights, reading=True):
        return engines.engine_of(weights).packages(weights, reading=reading)

    plain = Transformers(backend="transformers", model="data/models/tiny-base")
    always = ("torch", "transformers", "tokenizers")
    assert needed(plain) == needed(plain, reading=False) == always
    for more, package in (
        ({"adapter": "mine"}, "peft"),
        ({"quantization": "4bit"}, "bitsandbytes"),
        ({"model": "data/models/tiny-base/q8_0.gguf"}, "gguf"),
    ):
        weights = plain.model_copy(update=more)
        assert needed(weights) == needed(weights, reading=False) == (*always, package)
    assert set(needed(LlamaCpp(backend="llama_cpp", file="a.gguf"), reading=False)) == {
        "torch",
        "llama-cpp-python",
    }
