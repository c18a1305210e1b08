"""GGUF files in llama.cpp, against the same weights in transformers on the same ids."""

import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from lib import paths
from lib.backends import extras, llama_cpp_generating, llama_cpp_model, llama_cpp_probe
from lib.backends.engines import deciding, identity, open_generator, open_scoring_model
from lib.backends.generating import Request, Watch
from lib.backends.llama_cpp_context import Context
from lib.errors import StudyError
from lib.generate import texts as generate
from lib.params import LlamaCpp, Sampling, Scoring, Transformers
from lib.params.run import resolve
from lib.running import resources
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
@pytest.mark.parametrize("slots", [1, 4, 8, 16])
def test_so_it_is_with_fewer_slots(slots, monkeypatch):
    monkeypatch.setattr(llama_cpp_generating, "SLOTS", (slots,))
    generator = open_generator(gguf(GGUF))
    requests = [Request(PROMPTS[i % 3], i) for i in range(11)]
    sampling = Sampling(max_tokens=20, min_tokens=4)
    together = generator.generate(requests, sampling)
    assert together == [generator.generate([request], sampling)[0] for request in requests]
    assert together[::-1] == generator.generate(requests[::-1], sampling)
    assert all(completion.tokens >= 4 for completion in together)


KINDS = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9}
KINDS |= {"Q3_K_M": 12, "Q4_K_M": 15, "Q5_K_M": 17, "Q6_K": 18, "IQ4_NL": 25, "BF16": 32}


def quantised(source: Path, file: Path, kind: str) -> Path:
    import ctypes

    import llama_cpp.llama_cpp as c

    how = c.llama_model_quantize_default_params()
    how.ftype, how.nthread = KINDS[kind], 1
    assert c.llama_model_quantize(str(source).encode(), str(file).encode(), ctypes.byref(how)) == 0
    return file


@needs_llama_cpp
@pytest.mark.parametrize("kind", KINDS)
def test_products_of_every_kind_give_a_text_the_same_in_any_company(kind, f32, tmp_path):
    """Alone, in every slot, beside few and beside many: llama.cpp multiplies in another way for each kind."""
    generator = open_generator(gguf(quantised(f32, tmp_path / "quantised.gguf", kind)))
    assert generator.slots == 16
    sampling = Sampling(max_tokens=24, temperature=1.0)
    mine = [Request(prompt, seed) for seed, prompt in enumerate(PROMPTS)]
    alone = [generator.generate([request], sampling)[0].text for request in mine]
    for beside in (1, 4, 14, 40):
        others = [Request(f"Another {i} " * (1 + i % 5), 100 + i) for i in range(beside)]
        for requests in ([*others, *mine], [*mine, *others]):
            found = generator.generate(requests, sampling)
            texts = {r.seed: completion.text for r, completion in zip(requests, found, strict=True)}
            assert [texts[request.seed] for request in mine] == alone, beside


@needs_llama_cpp
@pytest.mark.parametrize("kind", ["Q4_1", "Q8_0"])
def test_a_step_has_no_more_empty_rows_than_its_products_need(kind, f32, tmp_path, monkeypatch):
    """A long text alone is that of a crowd, whose attention has more threads than one row to share."""
    monkeypatch.setattr("lib.machine.threads", lambda: 2)
    generator = open_generator(gguf(quantised(f32, tmp_path / "quantised.gguf", kind)))
    rows: list[int] = []
    plain = Context.step

    def step(self, ids, positions):
        rows.append(len(ids))
        return plain(self, ids, positions)

    monkeypatch.setattr(Context, "step", step)
    sampling = Sampling(max_tokens=400, min_tokens=400, temperature=1.0)
    alone = generator.generate([Request(PROMPTS[0], 0)], sampling)
    fewest = generator._multiple
    assert fewest in (1, 2, 4, 8)
    alone_to, later = rows[-400 : -400 + 200], rows[-100:]
    assert (set(alone_to), set(later)) == ({fewest}, {max(fewest, 2)})
    crowd = [Request(PROMPTS[i % 3], i) for i in range(10)]
    assert generator.generate(crowd, sampling)[0] == alone[0]


@needs_llama_cpp
def test_whoever_watches_hears_of_every_token_and_of_a_text_before_the_last_is_there():
    generator = open_generator(gguf(GGUF))
    requests = [Request("A list is", seed=i) for i in range(20)]
    told: list[int] = []
    heard: dict[int, int] = {}
    made = generator.generate(
        requests,
        Sampling(max_tokens=6),
        Watch(told.append, lambda number, _: heard.update({number: sum(told)})),
    )
    assert sum(told) == sum(completion.tokens for completion in made)
    assert heard.keys() == set(range(20))
    assert min(heard.values()) == 6 * 16  # whoever had a slot at once


@needs_llama_cpp
def test_texts_have_fewer_slots_where_their_keys_and_values_are_large(monkeypatch):
    model = open_generator(gguf(GGUF)).model
    each = model.bytes_of_a_position * model.context_length
    assert each == 2 * 2 * 4 * 4 * 64 * 512  # two bytes, keys and values, layers, heads, width, positions
    for room, slots in ((40 * each, 16), (15 * each, 8), (7 * each, 4), (3 * each, 1), (each // 2, 1)):
        monkeypatch.setattr(llama_cpp_generating, "BYTES_OF_CACHE", room)
        assert llama_cpp_generating.slots_for(model) == slots


@needs_llama_cpp
def test_a_file_that_names_no_marks_has_none_of_llama_cpps_own(tmp_path):
    """Its defaults for byte-level tokenizers, 11 and 11, are a word here."""
    from training import quantize

    class Nameless(quantize.gguf.GGUFWriter):
        def add_bos_token_id(self, *_: int) -> None: ...
        def add_add_bos_token(self, *_: bool) -> None: ...

    monkey = pytest.MonkeyPatch()
    monkey.setattr(quantize.gguf, "GGUFWriter", Nameless)
    quantize.write(MODELS / "tiny-base", tmp_path / "eos.gguf", "Q8_0")
    monkey.setattr(Nameless, "add_eos_token_id", lambda *_: None)
    quantize.write(MODELS / "tiny-base", tmp_path / "none.gguf", "Q8_0")
    monkey.undo()
    generator = open_generator(gguf(tmp_path / "eos.gguf"))
    assert (generator.model.bos, generator.ends) == (0, [0])
    with pytest.raises(StudyError, match="neither BOS nor EOS"):
        open_generator(gguf(tmp_path / "none.gguf"))


@needs_llama_cpp
def test_layers_on_a_gpu_are_as_many_as_the_params_file_says(monkeypatch):
    import llama_cpp.llama_cpp as c

    asked = []
    load = c.llama_model_load_from_file

    def loaded(file, params):
        asked.append(params.n_gpu_layers)
        return load(file, params)

    monkeypatch.setattr(c, "llama_model_load_from_file", loaded)
    for layers in (None, 0, 3):
        weights = LlamaCpp(backend="llama_cpp", file=str(GGUF), gpu_layers=layers)
        assert not llama_cpp_model.LlamaCppModel(weights).on_gpu or llama_cpp_model.offloads()
        assert resources.gpus_of(weights) == int(layers != 0 and llama_cpp_model.offloads())
        assert ("gpu_layers" in deciding(weights)) == (layers is not None)
    assert asked == [-1, 0, 3]  # -1: as many as there are


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
    assert sent == theirs.tokens.sent(request.prompt, None, chat=chat)
    ids = ours._begun(sent)
    assert ids == theirs.tokens.begun(sent)
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
    for steps in (["01_generate", "02_surprisal", "03_uid"], ["04_compare"]):
        command = [
            "-m",
            "lib.running.execute",
            *steps,
            "-p",
            "model",
            "tiny-base@q8_0",
            "-p",
            "study",
            "small",
        ]
        done = subprocess.run([sys.executable, *command], cwd=small_study, capture_output=True, text=True)
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
