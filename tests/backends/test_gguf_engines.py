"""One GGUF file by both engines, made here with random weights: the same ids, nearly the same bits."""

from functools import partial
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from lib.backends import llama_cpp_probe
from lib.backends.engines import open_generator, open_scoring_model
from lib.backends.generating import Request
from lib.backends.scoring import Reader
from lib.errors import StudyError
from lib.params import LlamaCpp, Sampling, Scoring, Transformers
from lib.surprisal.rows import Text, score_rows
from tests.surprisal.test_scoring import MODELS, nasty_texts
from training import quantize

TROUBLE = llama_cpp_probe.trouble(str(MODELS / "tiny-base" / "q8_0.gguf"))
pytestmark = pytest.mark.skipif(TROUBLE is not None, reason=TROUBLE or "")

MARKS = ["<|im_start|>", "<|im_end|>"]
CHAT = (
    "{{ bos_token }}{{ strftime_now('%d %b %Y') }}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SHAPE = {
    "vocab_size": 4096 + len(MARKS),
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.2,
    "tie_word_embeddings": False,
}
NAMES = {**quantize.NAMES, "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm"}


def byte_level(writer: gguf.GGUFWriter) -> None:
    """The demo's tokens, a chat's marks, and an EOS that ends no answer; neither BOS nor a flag for it."""
    tokens, kinds, merges = quantize.vocabulary(MODELS / "tiny-base")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([*tokens, *MARKS])
    writer.add_token_types([*kinds, *[int(gguf.TokenType.CONTROL)] * len(MARKS)])
    writer.add_token_merges(merges)
    writer.add_eos_token_id(0)


def sentence_piece(writer: gguf.GGUFWriter, *, blank: bool | None) -> None:
    """As Llama 2's: marks, bytes, characters, the demo's words; `blank` says whether one begins a text."""
    kinds = gguf.TokenType
    words = [
        *((mark, kinds.CONTROL, 0.0) for mark in ("<unk>", "<s>", "</s>")),
        *((f"<0x{i:02X}>", kinds.BYTE, 0.0) for i in range(256)),
    ]
    tokens, _, merges = quantize.vocabulary(MODELS / "tiny-base")
    ascii_ = [chr(i) for i in range(33, 127)]
    pairs = {
        pair.replace(" ", "").replace("Ġ", "▁"): pair for pair in merges if pair.isascii() or "Ġ" in pair
    }
    whole = [word for word in pairs if all(each in (*ascii_, "▁") for each in word)]
    words += [(each, kinds.NORMAL, -1e6) for each in ["▁", *ascii_]]
    count = len(tokens) - len(words)
    assert len(whole) >= count
    words += [(word, kinds.NORMAL, -float(rank)) for rank, word in enumerate(whole[:count])]
    words += [(mark, kinds.CONTROL, 0.0) for mark in MARKS]
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([word for word, _, _ in words])
    writer.add_token_types([int(kind) for _, kind, _ in words])
    writer.add_token_scores([score for _, _, score in words])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    if blank is not None:
        writer.add_add_space_prefix(blank)


TOKENS = {
    "qwen2": byte_level,
    "qwen3": byte_level,
    "llama": partial(sentence_piece, blank=None),
    "llama without a blank": partial(sentence_piece, blank=False),
}


def written(file: Path, name: str) -> Path:
    """A file of the architecture in `name`, with random weights and the tokens that `TOKENS` has for it."""
    torch.manual_seed(7)
    architecture = name.split()[0]
    # All of Qwen 3 have heads of 128, and transformers takes them to have.
    shape = {**SHAPE, "head_dim": 128 if architecture == "qwen3" else 16}
    config = AutoConfig.for_model(architecture, **shape)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    writer = gguf.GGUFWriter(file, architecture)
    writer.add_context_length(SHAPE["max_position_embeddings"])
    writer.add_embedding_length(SHAPE["hidden_size"])
    writer.add_block_count(SHAPE["num_hidden_layers"])
    writer.add_feed_forward_length(SHAPE["intermediate_size"])
    writer.add_head_count(SHAPE["num_attention_heads"])
    writer.add_head_count_kv(SHAPE["num_key_value_heads"])
    writer.add_key_length(shape["head_dim"])
    writer.add_value_length(shape["head_dim"])
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(SHAPE["vocab_size"])
    TOKENS[name](writer)
    writer.add_chat_template(CHAT)
    for key, tensor in model.state_dict().items():
        values = tensor.float() + 0.1 * torch.randn_like(tensor) if key.endswith("bias") else tensor.float()
        if architecture == "llama" and ("q_proj" in key or "k_proj" in key):
            values = quantize.interleaved(values, 4 if "q_proj" in key else 2)
        writer.add_tensor(quantize.name_of(key, NAMES), values.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


@pytest.fixture(scope="module", params=list(TOKENS))
def engines(request, tmp_path_factory) -> tuple[Transformers, LlamaCpp]:
    """Of one file the same model in either engine."""
    file = str(written(tmp_path_factory.mktemp("gguf") / f"{request.param}.gguf", request.param))
    return Transformers(backend="transformers", model=file), LlamaCpp(backend="llama_cpp", file=file)


def scored(reader: Reader):
    texts = [text for text in nasty_texts() if len(text) < 1000 and "\0" not in text]
    rows = [Text(str(i), "Sort it.\n" if i % 2 else "", text) for i, text in enumerate(texts)]
    found = score_rows(reader, Scoring(), rows)
    assert not found.not_scored
    return found.tokens.to_pandas()


def test_both_read_alike(engines):
    readers = [open_scoring_model(weights) for weights in engines]
    bos = readers[0].bos
    assert [reader.bos for reader in readers] == [bos, bos]
    assert bos in (0, 1)  # EOS where there is no BOS; 11 is llama.cpp's default
    ours, theirs = (scored(reader) for reader in readers)
    same = ["doc_id", "position", "token_id", "token", "start", "end", "context"]
    assert len(ours) > 3000
    assert ours[same].equals(theirs[same])
    assert np.abs(ours["surprisal"] - theirs["surprisal"]).max() < 1e-3


@pytest.mark.parametrize("chat", [False, True])
def test_both_write_alike(engines, chat):
    generators = [open_generator(weights) for weights in engines]
    assert generators[0].ends == set(generators[1].ends)
    assert 4097 in generators[0].ends
    prompts = ["Sort it.", "What is <|im_end|> for, and <|endoftext|>?", "In 1984 and 12345.6"]
    requests = [Request(prompt, i, chat=chat, system_prompt="Go on.") for i, prompt in enumerate(prompts)]
    for request in requests:
        theirs = generators[1]._sent(request)
        ours = generators[0].tokens.sent(request.prompt, request.system_prompt, chat=chat)
        assert ours == theirs
        assert ours.startswith(("26 Jul 2024<|im_start|>", "<s>26 Jul 2024<|im_start|>")) == chat
        assert generators[0].tokens.begun(ours) == generators[1]._begun(theirs)
    texts = [
        [(each.text, each.tokens, each.finish_reason) for each in generator.generate(requests, sampling)]
        for generator in generators
        for sampling in (Sampling(max_tokens=6, temperature=0),)
    ]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("which", ["bos", "eos"])
def test_a_mark_beyond_the_vocabulary_is_named_and_not_replaced_by_a_word(which, tmp_path, monkeypatch):
    plain = getattr(gguf.GGUFWriter, f"add_{which}_token_id")
    monkeypatch.setattr(gguf.GGUFWriter, f"add_{which}_token_id", lambda self, _: plain(self, 9_999))
    quantize.write(MODELS / "tiny-base", tmp_path / "a.gguf", "Q8_0")
    for opened in (open_generator, open_scoring_model):
        with pytest.raises(StudyError, match=f"the token 9999 as its {which.upper()}, and has 4096 tokens"):
            opened(LlamaCpp(backend="llama_cpp", file=str(tmp_path / "a.gguf")))


def test_a_bias_that_transformers_would_pass_over_is_llama_cpps(tmp_path, monkeypatch):
    """llama.cpp reads it; transformers would give other numbers without a word."""
    plain = gguf.GGUFWriter.add_tensor

    def biased(self, name, tensor, **how):
        plain(self, name, tensor, **how)
        if name.endswith("attn_q.weight"):
            plain(self, name.replace("weight", "bias"), np.ones(len(tensor), dtype=np.float32))

    quantize.write(MODELS / "tiny-base", tmp_path / "plain.gguf", "F32")
    monkeypatch.setattr(gguf.GGUFWriter, "add_tensor", biased)
    quantize.write(MODELS / "tiny-base", tmp_path / "biased.gguf", "F32")
    files = [str(tmp_path / f"{name}.gguf") for name in ("plain", "biased")]
    found = [scored(open_scoring_model(LlamaCpp(backend="llama_cpp", file=file))) for file in files]
    assert np.abs(found[0]["surprisal"] - found[1]["surprisal"]).mean() > 0.1
    with pytest.raises(StudyError, match=r"attn_q\.bias"):
        open_scoring_model(Transformers(backend="transformers", model=files[1]))
