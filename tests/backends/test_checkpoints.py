"""Checkpoints as people have them: what is no whole causal language model is refused, the rest scored."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertLMHeadModel,
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    GPT2Config,
    GPT2LMHeadModel,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    MambaConfig,
    MambaForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from lib.backends.engines import open_generator, open_scoring_model
from lib.backends.generating import Request
from lib.backends.prompts import Sent, given_raw
from lib.backends.tokens import Tokens
from lib.errors import StudyError
from lib.params import Sampling, Scoring, Transformers
from lib.surprisal.rows import Text, score_rows
from tests.surprisal.test_scoring import MODELS, WIDTH, double, oracle

TEXTS = ["The list is sorted in place.", " Returns null, né?\n", "<|endoftext|> is written here"]


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(MODELS / "tiny-scorer")


def small(kind=LlamaForCausalLM, config=LlamaConfig, vocabulary: int = 4096, **more):
    torch.manual_seed(3)
    shape = {**WIDTH, "vocab_size": vocabulary, "max_position_embeddings": 256, "initializer_range": 0.2}
    return kind(config(**{**shape, **more}))


def saved(folder: Path, model, tokenizer) -> Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def opened(folder: Path):
    return open_scoring_model(Transformers(backend="transformers", model=str(folder)))


def rows(folder: Path, texts=TEXTS, prompts=("Sort it.",) * 3):
    given = [Text(str(i), p, t) for i, (p, t) in enumerate(zip(prompts, texts, strict=False))]
    return score_rows(opened(folder), Scoring(), given)


def renamed(folder: Path, name) -> None:
    file = folder / "model.safetensors"
    save_file({name(key): value for key, value in load_file(file).items()}, file, {"format": "pt"})


def changed(folder: Path, change) -> None:
    file = folder / "model.safetensors"
    weights = load_file(file)
    change(weights)
    save_file(weights, file, {"format": "pt"})


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: renamed(f, lambda key: f"_orig_mod.{key}"), "has others instead"),
        (lambda f: changed(f, lambda w: w.pop("lm_head.weight")), "lacks lm_head.weight"),
        (lambda f: changed(f, lambda w: w.pop("model.layers.1.mlp.up_proj.weight")), "lacks model.layers.1"),
        (lambda f: changed(f, lambda w: w.update(v_head=torch.ones(3))), "does not know \\(v_head\\)"),
        (lambda f: changed(f, lambda w: [v.fill_(torch.nan) for v in w.values()]), "no finite logits"),
        (lambda f: changed(f, lambda w: w.update({"lm_head.weight": torch.ones(7, 7)})), "other shapes"),
        (lambda f: (f / "config.json").write_text("{"), "cannot be loaded"),
        (lambda f: (f / "tokenizer.json").write_text('{"model": 3}'), "cannot be loaded"),
        (lambda f: (f / "tokenizer_config.json").write_text("[1"), "cannot be loaded"),
        (lambda f: (f / "generation_config.json").write_text("{"), "cannot be loaded"),
        (lambda f: (f / "model.safetensors").write_bytes(b"pickle"), "cannot be loaded"),
    ],
)
def test_a_spoilt_checkpoint_is_refused_in_one_sentence(spoil, said, tmp_path, tokenizer):
    saved(tmp_path, small(tie_word_embeddings=False), tokenizer)
    spoil(tmp_path)
    with pytest.raises(StudyError, match=said):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (lambda: small(LlamaForSequenceClassification, num_labels=1), "lacks lm_head"),
        (lambda: small(LlamaForSequenceClassification, num_labels=1, tie_word_embeddings=True), "score"),
        (lambda: small(tie_word_embeddings=False).model, "lacks lm_head"),
        (lambda: small(BertLMHeadModel, BertConfig), "not causal"),
        (lambda: small(MambaForCausalLM, MambaConfig), "keeps a state"),
        (lambda: T5ForConditionalGeneration(T5Config(vocab_size=4096, d_model=64)), "no language model that"),
    ],
)
def test_what_is_no_causal_language_model_is_refused(model, said, tmp_path, tokenizer):
    saved(tmp_path, model(), tokenizer)
    with pytest.raises(StudyError, match=said):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("kind", "config", "more"),
    [
        (Gemma2ForCausalLM, Gemma2Config, {"final_logit_softcapping": 3.0, "head_dim": 16}),
        (CohereForCausalLM, CohereConfig, {"logit_scale": 0.3}),
        (GraniteForCausalLM, GraniteConfig, {"logits_scaling": 5.0}),
    ],
)
def test_logits_are_scaled_and_capped_as_the_model_does(kind, config, more, tmp_path, tokenizer):
    ends = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0, "num_key_value_heads": 2}
    saved(tmp_path, small(kind, config, **more, **ends), tokenizer)
    found = rows(tmp_path)
    assert not found.not_scored
    before = [tokenizer.bos_token_id, *tokenizer.encode("Sort it.")]
    for doc_id, tokens in found.tokens.to_pandas().groupby("doc_id"):
        expected = oracle(double(tmp_path), [*before, *tokens["token_id"]])[-len(tokens) :]
        assert np.abs(tokens["surprisal"] - expected).max() < 1e-3, doc_id


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_tokenizer_without_bos_begins_with_eos_whatever_the_config_has(family, tmp_path, tokenizer):
    if family == "llama":
        model = small()
    else:
        model = GPT2LMHeadModel(GPT2Config(vocab_size=4096, n_embd=64, n_layer=2, n_head=4, n_positions=256))
    saved(tmp_path, model, tokenizer)
    file = tmp_path / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "bos_token": None}))
    assert opened(tmp_path).described(Scoring())["bos"] == tokenizer.eos_token_id


@pytest.mark.parametrize("rows_of_it", [4096, 4160])
@pytest.mark.parametrize("kind", ["GPT2TokenizerFast", "GPTNeoXTokenizerFast", "PreTrainedTokenizerFast"])
def test_nor_with_the_bos_that_the_tokenizers_class_has_by_default(kind, rows_of_it, tmp_path):
    """It would be a token more, of which a model with rows to spare has one that nothing has trained."""
    own = AutoTokenizer.from_pretrained(MODELS / "tiny-scorer")
    saved(tmp_path, small(vocabulary=rows_of_it), own)
    tokens, how = (tmp_path / name for name in ("tokenizer.json", "tokenizer_config.json"))
    tokens.write_text(tokens.read_text().replace("<|endoftext|>", "</end>"))
    how.write_text(json.dumps({"tokenizer_class": kind, "eos_token": "</end>"}))
    assert opened(tmp_path).bos == 0
    generator = open_generator(Transformers(backend="transformers", model=str(tmp_path)))
    assert generator.ends == {0}
    assert generator.tokens.begun(given_raw("Sort it.")) == own.encode("Sort it.", add_special_tokens=False)


def test_a_head_in_the_file_is_the_head_whatever_the_config_says_of_it(tmp_path, tokenizer):
    model = saved(tmp_path / "own", small(tie_word_embeddings=False), tokenizer)
    expected = rows(model).tokens
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": True}))
    assert rows(model).tokens.equals(expected)


def test_a_part_that_is_gone_is_missed(tmp_path, tokenizer):
    small(tie_word_embeddings=False).save_pretrained(tmp_path, max_shard_size="300KB")
    tokenizer.save_pretrained(tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    whole = json.loads(index.read_text())
    files = {name: file for name, file in whole["weight_map"].items() if name != "lm_head.weight"}
    assert len(set(files.values())) > 1
    index.write_text(json.dumps({**whole, "weight_map": files}))
    with pytest.raises(StudyError, match=r"lacks lm_head\.weight"):
        opened(tmp_path)
    index.write_text(json.dumps(whole))
    (tmp_path / whole["weight_map"]["lm_head.weight"]).unlink()
    with pytest.raises(StudyError, match="cannot be loaded"):
        opened(tmp_path)


def test_a_model_that_sees_pictures_too_is_scored_by_its_texts(tmp_path, tokenizer):
    shape = {"vocab_size": 4096, "max_position_embeddings": 256, "num_key_value_heads": 2, "head_dim": 16}
    marks = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    eye = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(3)
    model = Gemma3ForConditionalGeneration(
        Gemma3Config(
            text_config={**WIDTH, **shape, **marks},
            vision_config={**eye, "image_size": 28, "patch_size": 14},
            mm_tokens_per_image=4,
            **{f"{which}_token_index": 3 for which in ("image", "boi", "eoi")},
        )
    )
    saved(tmp_path, model, tokenizer)
    found = rows(tmp_path)
    assert not found.not_scored
    before = [tokenizer.bos_token_id, *tokenizer.encode("Sort it.")]
    for _, tokens in found.tokens.to_pandas().groupby("doc_id"):
        expected = oracle(double(tmp_path), [*before, *tokens["token_id"]])[-len(tokens) :]
        assert np.abs(tokens["surprisal"] - expected).max() < 1e-3
    assert open_generator(Transformers(backend="transformers", model=str(tmp_path))).context == 256


def test_a_tokenizer_with_tokens_more_than_the_model_scores_what_does_not_use_them(tmp_path, tokenizer):
    more = AutoTokenizer.from_pretrained(MODELS / "tiny-scorer")
    more.add_special_tokens({"pad_token": "[PAD]"})
    more.add_tokens(["[MINE]"])
    saved(tmp_path, small(), more)
    found = rows(tmp_path, [*TEXTS[:2], "A [MINE] token"])
    assert [doc_id for doc_id, _ in found.not_scored] == ["2"]
    assert "its model does not have" in next(iter(found.not_scored.values()))
    assert set(found.tokens.to_pandas()["doc_id"]) == {"0", "1"}


def sentence_piece(prefix: str) -> PreTrainedTokenizerFast:
    """Like Llama 2's (`normalizer`), or as newer ones write the same (`metaspace`)."""
    words = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), "▁", *"Ithelisorundx."]
    vocabulary = {token: i for i, token in enumerate([*words, "▁I", "▁t", "it"])}
    merges = [("▁", "I"), ("▁", "t"), ("i", "t")]
    backend = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    if prefix == "normalizer":
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


@pytest.mark.parametrize("prefix", ["normalizer", "metaspace"])
def test_sentence_piece_adds_no_blank_between_prompt_and_text(prefix, tmp_path):
    own = sentence_piece(prefix)
    saved(tmp_path, small(vocabulary=len(own)), own)
    found = rows(tmp_path, [" It is", "It is", "  It"], ["The list."] * 3).tokens.to_pandas()
    ids = {doc_id: list(tokens["token_id"]) for doc_id, tokens in found.groupby("doc_id")}
    wanted = {"0": ["▁I", "t", "▁", "i", "s"], "1": ["I", "t", "▁", "i", "s"], "2": ["▁", "▁I", "t"]}
    assert {doc_id: own.convert_ids_to_tokens(each) for doc_id, each in ids.items()} == wanted
    spelled = found.groupby("doc_id")["token"].sum()
    assert list(spelled) == [" It is", "It is", "  It"]


@pytest.mark.parametrize("prefix", ["normalizer", "metaspace"])
def test_a_blank_that_begins_a_text_is_no_character_of_it(prefix):
    """Where it is a token by itself, that stands for nothing; the first character is the next token's."""
    given = ["\nx", " It", "  x", "It"]
    found = Tokens(sentence_piece(prefix), "m").encode(given)
    parts = [
        [text[start:end] for start, end in zip(each.starts, each.ends, strict=True)]
        for text, each in zip(given, found, strict=True)
    ]
    wanted = {
        "normalizer": [["", "\n", "x"], ["", " I", "t"], ["", " ", " ", "x"], ["I", "t"]],
        "metaspace": [["", "\n", "x"], [" I", "t"], [" ", " ", "x"], ["I", "t"]],
    }
    assert parts == wanted[prefix]


@pytest.mark.parametrize("prefix", ["normalizer", "metaspace"])
def test_special_tokens_in_a_chats_prompt_are_characters_and_bring_no_blank(prefix):
    own = sentence_piece(prefix)
    text = "<s>It It </s> is it</s>it"
    found = own.convert_ids_to_tokens(Tokens(own, "m").begun(Sent(text, "It </s> is")))
    written = ["I", "t", "▁I", "t", "▁", "<0x3C>", "<0x2F>", "s", "<0x3E>", "▁", "i", "s", "▁", "it"]
    if prefix == "normalizer":  # puts a blank behind <s> and </s>, too
        written[0] = "▁I"
    assert found == ["<s>", *written, "</s>", *(["▁"] if prefix == "normalizer" else []), "it"]


class Cut(Sent):
    """As if somebody had written EOS behind it."""

    @property
    def pieces(self) -> list[tuple[str, bool]]:
        return [(str(self), False), (self.written[0], True)]


@pytest.mark.parametrize("prefix", ["normalizer", "metaspace", None])
def test_a_chat_is_cut_at_its_marks_as_the_tokenizer_cuts_it(prefix, tokenizer):
    own = tokenizer if prefix is None else sentence_piece(prefix)
    text = f"{own.bos_token}It is {own.eos_token} It is  in the list. it {own.eos_token}\n it{own.eos_token}"
    whole = own.encode(text, add_special_tokens=False)
    found = Tokens(own, "m").ids(Cut(text, own.eos_token))
    assert found[: len(whole)] == whole
    assert own.eos_token_id not in found[len(whole) :] != []


def test_what_a_config_has_by_default_ends_no_text(tmp_path, tokenizer):
    """LlamaConfig names token 2 as EOS, GPT2Config one beyond this vocabulary; the tokenizer has its own."""
    words = sentence_piece("normalizer")
    words.eos_token = "<s>"
    gpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=4096, n_embd=64, n_layer=2, n_head=4, n_positions=256))
    for name, model, own in (
        ("marks", small(), tokenizer),
        ("words", small(vocabulary=len(words)), words),
        ("gpt2", gpt2, tokenizer),
    ):
        folder = saved(tmp_path / name, model, own)
        generator = open_generator(Transformers(backend="transformers", model=str(folder)))
        assert generator.model.generation_config.eos_token_id not in (None, own.eos_token_id)
        assert generator.ends == {own.eos_token_id}


def test_ends_that_a_checkpoint_names_beside_eos_are_ends(tmp_path):
    more = AutoTokenizer.from_pretrained(MODELS / "tiny-scorer")
    more.add_special_tokens({"additional_special_tokens": ["<|im_end|>"]})
    model = small(vocabulary=4097)
    model.generation_config.eos_token_id = [0, 4096]
    saved(tmp_path, model, more)
    assert open_generator(Transformers(backend="transformers", model=str(tmp_path))).ends == {0, 4096}


def test_a_prompt_without_a_token_is_an_error_of_its_own(tmp_path):
    own = AutoTokenizer.from_pretrained(MODELS / "tiny-scorer")
    own.bos_token = None
    saved(tmp_path, small(), own)
    generator = open_generator(Transformers(backend="transformers", model=str(tmp_path)))
    empty, good = generator.generate([Request("", 0), Request("A list", 0)], Sampling(max_tokens=3))
    assert "no tokens, and the model no BOS" in (empty.error or "")
    assert good.error is None


def test_a_prompt_with_a_token_that_the_model_does_not_have_is_an_error_of_its_own(tmp_path):
    more = AutoTokenizer.from_pretrained(MODELS / "tiny-scorer")
    more.add_tokens(["[MINE]"])
    saved(tmp_path, small(), more)
    generator = open_generator(Transformers(backend="transformers", model=str(tmp_path)))
    bad, good = generator.generate(
        [Request("A [MINE] list", 0), Request("A list", 0)], Sampling(max_tokens=3, min_tokens=1)
    )
    assert "a token of the prompt that the model does not have" in (bad.error or "")
    assert good.error is None
