"""Surprisal against a plain float64 forward pass, over texts that break things; tokens that tile them."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from lib import paths, store
from lib.backends.engines import open_scoring_model
from lib.backends.windows import windows
from lib.errors import StudyError
from lib.params import Scoring, Transformers
from lib.params.run import resolve
from lib.surprisal.rows import Text, score_rows
from lib.surprisal.scoring import score, score_texts

MODELS = Path(__file__).resolve().parents[2] / "data" / "models"
WIDTH = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
FAMILIES = {
    "gpt2": (GPT2Config, GPT2LMHeadModel, {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 1024}),
    "llama": (LlamaConfig, LlamaForCausalLM, {**WIDTH, "num_key_value_heads": 2}),
    "mistral": (MistralConfig, MistralForCausalLM, {**WIDTH, "num_key_value_heads": 2, "sliding_window": 48}),
    "neox": (GPTNeoXConfig, GPTNeoXForCausalLM, WIDTH),
    "qwen": (Qwen2Config, Qwen2ForCausalLM, {**WIDTH, "num_key_value_heads": 2}),
}
TINY = Transformers(backend="transformers", model=str(MODELS / "tiny-scorer"))


def nasty_texts() -> list[str]:
    """Over 200 texts: scripts, marks, controls, ends of lines, blanks, lengths from one character on."""
    given = [
        "a",
        " ",
        "     ",
        "\n\n\n",
        "\t",
        "\x00",
        "a\x00b\x00",
        "one\r\ntwo\r\n",
        "\r",
        "👩‍👩‍👧‍👦 family 🏳️‍🌈",
        "é vs. é, Å",
        "a" + "\u0301" * 20,
        "שלום עולם, this is עברית",
        "مرحبا بالعالم ١٢٣",
        "漢字とかな混じり文。",
        "ไทยไม่มีช่องว่าง",
        "\ufeffBOM first",
        "\ufffd\ufffd",
        "<|endoftext|>",
        "before<|endoftext|>after <s></s> [INST] <pad>",
        "null NA nan None",
        "\"quoted\", 'single', `ticks`",
        "trailing blanks   \n ",
        "   leading blanks",
        "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟙𝟚𝟛",
        "word" * 300,
        "x\u200by\u00a0z\u2028w",
    ]
    rng = np.random.default_rng(0)
    alphabet = [*"etaoin shrdlu\n.,<>|&\téß\u0301אع中👍\x00", "\r\n", "  "]
    given += ["".join(rng.choice(alphabet, size=int(n))) for n in rng.integers(1, 120, 190)]
    return given


def oracle(model, ids: list[int]) -> np.ndarray:
    """Bits of ids[1:], each given all before it: float64, one sequence, no padding."""
    with torch.inference_mode():
        log_p = model(torch.tensor([ids])).logits.double().log_softmax(-1)[0]
    return -log_p[torch.arange(len(ids) - 1), torch.tensor(ids[1:])].numpy() / np.log(2)


def double(folder) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float64, attn_implementation="eager"
    ).eval()


def random_model(folder: Path, family: str) -> Path:
    """A random model of `family` with the demo's tokenizer; weights large enough for peaked predictions."""
    tokenizer = AutoTokenizer.from_pretrained(TINY.model)
    config, kind, shape = FAMILIES[family]
    torch.manual_seed(7)
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    positions = {} if family == "gpt2" else {"max_position_embeddings": 512}
    model = kind(config(vocab_size=len(tokenizer), initializer_range=0.2, **shape, **ends, **positions))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def check_against_oracle(folder, texts, prompts=None) -> None:
    model = open_scoring_model(Transformers(backend="transformers", model=str(folder)))
    reference = double(folder)
    prompts = prompts or [""] * len(texts)
    rows = [Text(str(i), p, t) for i, (p, t) in enumerate(zip(prompts, texts, strict=True))]
    found = score_rows(model, Scoring(), rows)
    assert not found.not_scored
    table = found.tokens.to_pandas()
    for i, (prompt, text) in enumerate(zip(prompts, texts, strict=True)):
        own = table[table["doc_id"] == str(i)]
        assert "".join(own["token"]) == text
        before = [model.bos, *model.encode([prompt])[0].ids] if prompt else [model.bos]
        expected = oracle(reference, [*before, *own["token_id"]])[len(before) - 1 :]
        np.testing.assert_allclose(own["surprisal"], expected, atol=1e-3, rtol=0)
        assert own["context"].tolist() == list(range(len(before), len(before) + len(own)))


@pytest.mark.parametrize("folder", [None, "gpt2"])
def test_every_token_is_within_a_thousandth_of_a_bit_of_the_oracle(folder, tmp_path):
    texts = nasty_texts()
    assert len(texts) > 200
    check_against_oracle(random_model(tmp_path, folder) if folder else TINY.model, texts)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_decoder_family_is_scored_right_with_its_prompt(family, tmp_path):
    texts = [*nasty_texts()[:40], "A longer text, with more words than the sliding window. " * 8]
    prompts = [("Title\n\nA first sentence." if i % 2 else "") for i in range(len(texts))]
    check_against_oracle(random_model(tmp_path, family), texts, prompts)


def test_order_and_company_change_nothing_that_matters():
    texts = [f"{text} {i}" for i, text in enumerate(nasty_texts()[20:60])]
    model = open_scoring_model(TINY)
    together = score_rows(model, Scoring(), [Text(t, "", t) for t in texts]).tokens.to_pandas()
    reverse = score_rows(model, Scoring(), [Text(t, "", t) for t in texts[::-1]]).tokens.to_pandas()
    for text in texts:
        alone = score_rows(model, Scoring(), [Text(text, "", text)]).tokens.to_pandas()["surprisal"]
        for other in (together, reverse):
            np.testing.assert_allclose(other.loc[other["doc_id"] == text, "surprisal"], alone, atol=1e-4)


def test_a_text_of_50_000_tokens_is_scored_in_windows_that_keep_half_their_context(tmp_path):
    folder = random_model(tmp_path, "gpt2")
    model = open_scoring_model(Transformers(backend="transformers", model=str(folder)))
    ids = np.random.default_rng(1).integers(10, 4000, 70_000).tolist()
    text = model.tokens.tokenizer.decode(ids)
    table = score_rows(model, Scoring(), [Text("long", "", text)]).tokens.to_pandas()
    assert len(table) >= 50_000
    assert "".join(table["token"]) == text
    window = model.context_length
    assert (table["context"].to_numpy()[window:] >= window // 2).all()
    assert table["context"].max() <= window - 1
    reference = double(folder)
    sequence = [model.bos, *table["token_id"]]
    for position in (0, 700, window, window + 1, 1_536, 25_000, len(table) - 1):
        context = int(table["context"][position])
        expected = oracle(reference, sequence[position + 1 - context : position + 2])[-1]
        assert table["surprisal"][position] == pytest.approx(expected, abs=1e-3)


def test_special_tokens_in_a_text_are_text(tmp_path):
    model = open_scoring_model(TINY)
    special = model.tokens.tokenizer.bos_token
    encoding = model.encode([f"before {special} after"])[0]
    assert not set(encoding.ids) & set(model.tokens.tokenizer.all_special_ids)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60))
def test_tokens_tile_any_text(text):
    model = open_tiny()
    encoding = model.encode([text])[0]
    assert encoding.starts[0] == 0
    assert encoding.ends[-1] == len(text)
    assert (encoding.starts[1:] == encoding.ends[:-1]).all()
    assert (encoding.ends >= encoding.starts).all()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.text("ab .\n\té👍,", min_size=1, max_size=50), min_size=1, max_size=4))
def test_words_sum_to_the_tokens_and_the_boundary_terms(texts):
    model = open_tiny()
    rows = [Text(str(i), "", text) for i, text in enumerate(texts)]
    found = score_rows(model, Scoring(), rows)
    tokens, words = found.tokens.to_pandas(), found.words.to_pandas()
    reference = open_double()
    begins = [i for i, yes in enumerate(model.word_begins) if yes] + [model.tokens.tokenizer.eos_token_id]
    for i, text in enumerate(texts):
        own, own_words = tokens[tokens["doc_id"] == str(i)], words[words["doc_id"] == str(i)]
        assert own_words["surprisal_uncorrected"].sum() == pytest.approx(own["surprisal"].sum(), abs=1e-3)
        spans = zip(own_words["start"], own_words["end"], strict=True)
        assert [text[a:b] for a, b in spans] == own_words["word"].tolist()
        assert own_words["word"].tolist() == (text.split() or [""])
        with torch.inference_mode():
            ids = torch.tensor([[model.bos, *own["token_id"]]])
            p = reference(ids).logits.double().softmax(-1)[0]
        inside = p[:, begins].sum(-1).clamp(1e-300, 1)
        first = inside[0] if model.word_begins[own["token_id"].iloc[0]] else 1 - inside[0]
        last = 1.0 if text[-1].isspace() else inside[-1]
        expected = own["surprisal"].sum() + float(np.log2(float(first)) - np.log2(float(last)))
        assert own_words["surprisal"].sum() == pytest.approx(expected, abs=5e-3)


def model_with(tokenizer: Tokenizer, folder: Path):
    """A random Llama whose tokenizer is `tokenizer`, trained on a few words, as a scorer and in float64."""
    prose = ["The old town met on Monday. People of the town sat, talked and left."] * 20
    special = ["<unk>", "<s>", "</s>"]
    tokenizer.train_from_iterator(prose, BpeTrainer(vocab_size=120, special_tokens=special))
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )
    torch.manual_seed(3)
    config = LlamaConfig(vocab_size=len(wrapped), bos_token_id=1, eos_token_id=2, **WIDTH)
    LlamaForCausalLM(config).save_pretrained(folder)
    wrapped.save_pretrained(folder)
    return open_scoring_model(Transformers(backend="transformers", model=str(folder))), double(folder)


def test_words_of_a_sentencepiece_tokenizer_are_corrected_too(tmp_path):
    tokenizer = Tokenizer(BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    model, reference = model_with(tokenizer, tmp_path)
    text = "People met on Monday, talked and left."
    found = score_rows(model, Scoring(), [Text("0", "", text)])
    tokens, words = found.tokens.to_pandas(), found.words.to_pandas()
    assert "".join(tokens["token"]) == text
    assert words["word"].tolist() == text.split()
    begins = [i for token, i in tokenizer.get_vocab().items() if token.startswith("▁")] + [2]
    with torch.inference_mode():
        p = reference(torch.tensor([[1, *tokens["token_id"]]])).logits.double().softmax(-1)[0]
    first, last = np.log2(p[[0, -1]][:, begins].sum(-1).numpy())
    expected = tokens["surprisal"].sum() + first - last  # the first token has its blank in the vocabulary
    assert words["surprisal"].sum() == pytest.approx(expected, abs=1e-3)
    assert words["surprisal_uncorrected"].sum() == pytest.approx(tokens["surprisal"].sum(), abs=1e-3)


def test_a_tokenizer_that_marks_no_words_gives_none_and_says_why(tmp_path):
    tokenizer = Tokenizer(BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    model, _ = model_with(tokenizer, tmp_path)
    found = score_rows(model, Scoring(), [Text("0", "", "People met on Monday.")])
    assert "".join(found.tokens["token"].to_pylist()) == "People met on Monday."
    assert found.words.num_rows == 0
    assert "No token of this scorer's vocabulary begins with white space" in model.why_no_words


@pytest.mark.parametrize("family", [None, "gpt2"])
def test_entropy_and_rank_are_those_of_the_distribution_at_each_position(family, tmp_path):
    folder = random_model(tmp_path, family) if family else TINY.model
    model = open_scoring_model(Transformers(backend="transformers", model=str(folder)))
    texts = [Text("0", "", "Entropy at every position, please."), Text("1", "", "é👍 NA\n" * 20)]
    rows = score_rows(model, Scoring(entropy=True), texts).tokens.to_pandas()
    for _, table in rows.groupby("doc_id"):
        ids = torch.tensor([model.bos, *table["token_id"]])
        with torch.inference_mode():
            log_p = double(folder)(ids[None]).logits.double().log_softmax(-1)[0, :-1]
        expected = -(log_p.exp() * log_p).sum(-1).numpy() / np.log(2)
        np.testing.assert_allclose(table["entropy"], expected, atol=1e-3)
        own = log_p.gather(1, ids[1:, None])
        # Where another token is as probable to float32's last digits, either may come first.
        fewest, most = (1 + (log_p > own + apart).sum(1).numpy() for apart in (1e-4, -1e-4))
        assert ((fewest <= table["rank"]) & (table["rank"] <= most)).all()
        assert len(set(table["rank"])) > 5


def test_the_library_scores_strings_and_warns_of_those_it_cannot():
    with pytest.warns(UserWarning, match=r"Text [12] is not scored: (the text is empty|it has half a surr)"):
        table = score(["One text.", "", "half \ud83dx"], "tiny-scorer")
    assert table["doc_id"].unique().tolist() == ["0"]
    assert table["entropy"].isna().all()


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_windows_score_each_token_once_with_enough_context(data):
    length = data.draw(st.integers(2, 300))
    window = data.draw(st.integers(2, 80))
    stride = data.draw(st.integers(1, window - 1))
    first = data.draw(st.integers(1, length - 1))
    found = list(windows(length, first, window, stride))
    assert [i for w in found for i in range(w.scored, w.end)] == list(range(first, length))
    assert all(w.end - w.start <= window and w.start < w.scored for w in found)
    assert all(w.start == 0 or w.scored - w.start >= window - stride for w in found)


def test_bfloat16_is_a_choice_whose_deviation_is_in_the_record(small_study):
    scorer = paths.source_file("tiny-scorer")
    scorer.write_text(scorer.read_text().replace("tiny-scorer}", "tiny-scorer, dtype: bfloat16}"))
    given = {"model": "human", "study": "small"}
    from lib.generate.texts import generate_texts

    generate_texts(resolve("01_generate", given))
    summary = score_texts(resolve("02_surprisal", given))
    deviation = store.measured(paths.surprisals("tiny-scorer", "notes", "human"))["deviation"]
    assert 0 < deviation["mean_absolute"] < 0.2
    assert deviation["tokens"] > 50
    assert "bits a token" in summary.table()["deviation from float32"][0]


def test_texts_that_cannot_be_scored_are_listed_with_the_reason(small_study):
    from lib.generate import texts as generate

    given = {"model": "human", "study": "small"}
    generate.generate_texts(resolve("01_generate", given))
    path = paths.texts("notes", "human")
    rows = store.read(path, "")
    rows.loc[0, ["text", "status", "error"]] = ["", "error", "the server was gone"]
    rows.loc[1, "text"] = ""
    store.write(path, rows, generate.SCHEMA, store.read_record(path))
    summary = score_texts(resolve("02_surprisal", given))
    assert list(summary.not_scored.values()) == ["the server was gone", "the text is empty"]
    assert summary.texts == len(rows) - 2
    assert len(summary.not_scored_table()) == 2


@pytest.mark.parametrize(
    ("scoring", "sentence"),
    [
        (Scoring(window=5000), "`scoring: window` is 5000, but the scorer has 512 positions"),
        (Scoring(window=64, stride=64), "`scoring: stride` is 64, but must be below the window of 64"),
    ],
)
def test_windows_that_do_not_suit_the_scorer_are_refused(scoring, sentence):
    with pytest.raises(StudyError, match=sentence):
        score_rows(open_tiny(), scoring, [Text("0", "", "text")])


def test_a_batch_that_does_not_fit_is_halved(monkeypatch):
    model = open_scoring_model(TINY)
    real, sizes = model._score_batch, []

    def at_most_two(requests, **options):
        sizes.append(len(requests))
        if len(requests) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return real(requests, **options)

    texts = [Text(str(i), "", f"Some text number {i}.") for i in range(16)]
    expected = score_rows(model, Scoring(), texts).tokens
    monkeypatch.setattr(model, "_score_batch", at_most_two)
    found = score_rows(model, Scoring(), texts).tokens
    np.testing.assert_allclose(found["surprisal"], expected["surprisal"], atol=1e-4)
    assert max(sizes) > 2
    assert min(sizes) <= 2


@cache
def open_tiny():
    return open_scoring_model(TINY)


@cache
def open_double():
    return double(TINY.model)
