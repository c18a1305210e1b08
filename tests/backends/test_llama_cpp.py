"""GGUF files in llama.cpp, against the same weights in transformers on the same ids."""

import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from lib import paths
from lib.backends import extras, llama_cpp_probe
from lib.backends.engines import identity, open_generator, open_scoring_model
from lib.backends.generating import Request
from lib.errors import StudyError
from lib.generate import texts as generate
from lib.params import LlamaCpp, Sampling, Scoring, Transformers
from lib.params.run import resolve
from lib.surprisal import scoring as surprisal
from lib.surprisal.rows import Text, score_rows
from lib.uid import measures as uid
from tests.surprisal.test_scoring import nasty_texts

REPOSITORY = Path(__file__).resolve().parents[2]
MODELS = REPOSITORY / "data" / "models"
GGUF = MODELS / "tiny-base" / "q8_0.gguf"
BASE = Transformers(backend="transformers", model=str(MODELS / "tiny-base"))
PROMPTS = [f"numpy.{name}\n\nReturn the {name} of an array along an axis." for name in ("sum", "mean", "max")]

# It may be built for another processor and die: that is found out in a process of its own.
TROUBLE = llama_cpp_probe.trouble(str(GGUF))
needs_llama_cpp = pytest.mark.skipif(TROUBLE is not None, reason=TROUBLE or "")


def gguf(file: Path) -> LlamaCpp:
    return LlamaCpp(backend="llama_cpp", file=str(file))


@pytest.fixture(scope="module")
def f32(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from training.quantize import write

    file = tmp_path_factory.mktemp("gguf") / "f32.gguf"
    write(MODELS / "tiny-base", file, "F32")
    return file


@cache
def by_transformers():
    return score_rows(open_scoring_model(BASE), Scoring(entropy=True), rows())


def rows() -> list[Text]:
    texts = [text for text in nasty_texts() if len(text) < 3000]
    return [Text(str(i), PROMPTS[i % 3] if i % 2 else "", text) for i, text in enumerate(texts)]


@needs_llama_cpp
def test_an_f32_file_scores_as_transformers_does(f32):
    found = score_rows(open_scoring_model(gguf(f32)), Scoring(entropy=True), rows())
    expected = by_transformers()
    assert found.not_scored == expected.not_scored
    tokens, oracle = found.tokens.to_pandas(), expected.tokens.to_pandas()
    exact = ["doc_id", "position", "token_id", "token", "start", "end", "context"]
    assert tokens[exact].equals(oracle[exact])
    assert tokens["doc_id"].nunique() > 190
    assert np.abs(tokens["surprisal"] - oracle["surprisal"]).max() < 1e-3
    assert np.abs(tokens["entropy"] - oracle["entropy"]).max() < 1e-3
    words, oracle_words = found.words.to_pandas(), expected.words.to_pandas()
    assert list(words["word"]) == list(oracle_words["word"])
    assert np.abs(words["surprisal"] - oracle_words["surprisal"]).max() < 1e-2  # boundaries add up


@needs_llama_cpp
def test_the_committed_q8_0_file_is_near(f32):
    found = score_rows(open_scoring_model(gguf(GGUF)), Scoring(), rows()).tokens.to_pandas()
    apart = np.abs(found["surprisal"] - by_transformers().tokens.to_pandas()["surprisal"])
    assert 1e-4 < apart.mean() < 0.1
    assert GGUF.stat().st_size < f32.stat().st_size / 3


@needs_llama_cpp
def test_the_committed_file_is_what_make_models_writes(tmp_path):
    from training.quantize import write

    write(MODELS / "tiny-base", tmp_path / "again.gguf", "Q8_0")
    assert (tmp_path / "again.gguf").read_bytes() == GGUF.read_bytes()


@needs_llama_cpp
def test_a_seed_decides_a_text_whatever_is_written_beside_it():
    requests = [Request(prompt, seed) for prompt in PROMPTS for seed in range(6)]
    sampling = Sampling(max_tokens=60, temperature=0.9, top_p=0.9)
    generator = open_generator(gguf(GGUF))
    together = [completion.text for completion in generator.generate(requests, sampling)]
    alone = [generator.generate([request], sampling)[0].text for request in reversed(requests)]
    assert together == alone[::-1]
    assert len(set(together)) > 4


@needs_llama_cpp
def test_the_most_probable_text_is_that_of_transformers(f32):
    requests = [Request(prompt, 0) for prompt in PROMPTS]
    sampling = Sampling(max_tokens=40, temperature=0)
    texts = [completion.text for completion in open_generator(gguf(f32)).generate(requests, sampling)]
    assert texts == [completion.text for completion in open_generator(BASE).generate(requests, sampling)]


@needs_llama_cpp
def test_a_chat_model_gets_its_own_template_and_a_base_model_none(tmp_path):
    from training.quantize import write

    write(MODELS / "tiny-instruct", tmp_path / "instruct.gguf", "F32")
    request = Request(PROMPTS[0], 0, chat=True, system_prompt="Go on:")
    sampling = Sampling(max_tokens=30, temperature=0)
    chat = open_generator(gguf(tmp_path / "instruct.gguf")).generate([request], sampling)[0]
    instruct = Transformers(backend="transformers", model=str(MODELS / "tiny-instruct"))
    assert chat == open_generator(instruct).generate([request], sampling)[0]
    assert "<|user|>" in chat.sent
    with pytest.raises(StudyError, match="has no chat template"):
        open_generator(gguf(GGUF)).generate([request], sampling)


@needs_llama_cpp
@pytest.mark.parametrize("chat", [False, True])
def test_special_tokens_that_somebody_wrote_are_characters_as_in_transformers(chat, tmp_path):
    from training.quantize import write

    file = tmp_path / "instruct.gguf"
    write(MODELS / "tiny-instruct", file, "F32")
    request = Request("What does <|endoftext|> mean, and <|user|>?", 0, chat=chat)
    ours = open_generator(gguf(file))
    theirs = open_generator(Transformers(backend="transformers", model=str(MODELS / "tiny-instruct")))
    sent = ours._sent(request)
    assert sent == theirs._sent(request)
    ids = ours._begun(sent, request)
    assert ids == theirs.opened.begun(sent, request.prompt, chat=chat)
    special = [ours.model.special_text(i) for i in ids if ours.model.is_special(i)]
    assert special == (["<|endoftext|>", "<|user|>", "<|assistant|>"] if chat else ["<|endoftext|>"])


@needs_llama_cpp
def test_a_prompt_that_fills_the_context_is_an_error_of_its_own():
    weights = LlamaCpp(backend="llama_cpp", file=str(GGUF), context_length=16)
    long, short = open_generator(weights).generate(
        [Request(PROMPTS[0], 0), Request("A", 0)], Sampling(max_tokens=40)
    )
    assert "context is 16" in long.error
    assert short.error is None
    assert short.tokens <= 15


@needs_llama_cpp
def test_a_long_text_is_read_in_windows(f32):
    model = open_scoring_model(gguf(f32))
    text = Text("long", "", "The array has a shape. " * 400)
    scoring = Scoring(window=256, stride=128)
    found = score_rows(model, scoring, [text]).tokens.to_pandas()
    expected = score_rows(open_scoring_model(BASE), scoring, [text]).tokens.to_pandas()
    assert len(found) > 1500
    assert found["context"].equals(expected["context"])
    assert np.abs(found["surprisal"] - expected["surprisal"]).max() < 1e-3


@needs_llama_cpp
def test_what_is_no_model_ends_in_one_sentence(tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(GGUF.read_bytes()[:100_000])
    for file in (broken, MODELS / "tiny-base" / "config.json"):
        with pytest.raises(StudyError, match=r"llama\.cpp cannot open"):
            open_scoring_model(gguf(file))
    with pytest.raises(StudyError, match=r"There is no .*missing\.gguf"):
        open_scoring_model(gguf(tmp_path / "missing.gguf"))


@needs_llama_cpp
def test_step_02_says_how_far_a_quantised_scorer_is_from_its_reference(small_study):
    weights = "{backend: llama_cpp, file: data/models/tiny-base/q8_0.gguf, reference: data/models/tiny-base}"
    (small_study / "params" / "judge.yaml").write_text(f"kind: scorer\nweights: {weights}\n")
    run = resolve("02_surprisal", {"model": "human", "study": "small", "scorer": "judge"})
    generate.generate_texts(run)
    summary = surprisal.score_texts(run)
    assert 1e-4 < summary.measured["deviation"]["mean_absolute"] < 0.1
    assert "bits a token" in summary.table()["deviation from float32"][0]
    assert surprisal.score_texts(run).scored_now == 0


@needs_llama_cpp
@pytest.mark.whole_study(2)
def test_the_notebooks_run_with_the_gguf_source(small_study):
    file = small_study / "params" / "tiny-base@q8_0.yaml"
    file.write_text(file.read_text().replace("generate: 150", "generate: 10").replace("320", "48"))
    measure_people()  # whom the last notebook compares the model with
    for step in ("01_generate", "02_surprisal", "03_uid", "04_compare"):
        command = ["-m", "papermill", f"notebooks/{step}.ipynb", "OUT.ipynb", "-p", "model", "tiny-base@q8_0"]
        done = subprocess.run(
            [sys.executable, *command, "-p", "study", "small"],
            cwd=small_study,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-2000:]
    assert paths.uid("tiny-scorer", "notes", "tiny-base@q8_0").exists()
    assert paths.comparison("small", "human-vs-tiny-base-q8_0", "tests").exists()


def measure_people():
    """Steps 01 to 03 for the people of the small study."""
    for step, work in (
        ("01_generate", generate.generate_texts),
        ("02_surprisal", surprisal.score_texts),
        ("03_uid", uid.measure),
    ):
        work(resolve(step, {"model": "human", "study": "small"}))


@pytest.mark.parametrize(("module", "extra"), [("llama_cpp.llama_cpp", "gguf"), ("openai", "server")])
def test_a_missing_extra_ends_in_one_sentence_with_the_command(module, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(StudyError, match=r"make extras.*requirements-extras\.lock.*\[" + extra):
        extras.need(module, extra, "Such models")


@pytest.mark.parametrize("opened", [open_generator, open_scoring_model])
def test_both_uses_of_a_gguf_file_need_the_extra(opened, monkeypatch):
    monkeypatch.setitem(sys.modules, "llama_cpp.llama_cpp", None)
    with pytest.raises(StudyError, match="GGUF files need the package"):
        opened(gguf(GGUF))


def test_the_identity_of_a_gguf_file_is_its_content(tmp_path):
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(GGUF.read_bytes())
    assert identity(gguf(copy)) == identity(gguf(GGUF))
    copy.write_bytes(GGUF.read_bytes() + b"\0")
    assert identity(gguf(copy)) != identity(gguf(GGUF))
