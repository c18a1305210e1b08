"""Every family that docs/models.md lists: what it writes and reads is a plain float64 forward's.

That forward keeps nothing, pads nothing and packs nothing: the whole text is read anew for every token.
"""

import re

import numpy as np
import pytest
import torch
import yaml
from pydantic import TypeAdapter
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from lib.backends import continuing
from lib.backends.engines import open_generator, open_scoring_model
from lib.backends.generating import Request
from lib.errors import StudyError
from lib.params import Sampling, Scoring, Transformers, Weights
from lib.surprisal.rows import Text, score_rows
from tests.conftest import REPOSITORY
from tests.surprisal.test_scoring import MODELS, WIDTH, oracle

TOKENIZER = MODELS / "tiny-scorer"
GROUPED = {**WIDTH, "num_key_value_heads": 2}
# By the `model_type` of config.json; windows so short that the texts here outgrow them.
FAMILIES = {
    "gpt2": {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 256},
    "gpt_neox": WIDTH,
    "llama": GROUPED,
    "mistral": {**GROUPED, "sliding_window": 12},
    "mixtral": {**GROUPED, "num_local_experts": 4},
    "qwen2": GROUPED,
    "qwen3": {**GROUPED, "head_dim": 16},
    "gemma2": {**GROUPED, "head_dim": 16, "sliding_window": 12, "final_logit_softcapping": 3.0},
    "gemma3_text": {**GROUPED, "head_dim": 16, "sliding_window": 12},
    "phi3": GROUPED,
    "olmo2": GROUPED,
    "cohere": {**GROUPED, "logit_scale": 0.3},
    "granite": {**GROUPED, "logits_scaling": 5.0},
    "opt": {**WIDTH, "ffn_dim": 128, "word_embed_proj_dim": 64},
    "bloom": {"hidden_size": 64, "n_layer": 2, "n_head": 4},
    "falcon": {**WIDTH, "alibi": False},
    "gpt_neo": {
        "hidden_size": 64,
        "num_layers": 2,
        "num_heads": 4,
        "attention_types": [[["global", "local"], 1]],
        "window_size": 12,
    },
    "starcoder2": GROUPED,
    "olmo3": {**GROUPED, "sliding_window": 12},
    "cohere2": {**GROUPED, "head_dim": 16, "sliding_window": 12},
    "exaone4": {**GROUPED, "sliding_window": 12, "sliding_window_pattern": 2},
    "gpt_oss": {
        **GROUPED,
        "head_dim": 16,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "sliding_window": 12,
    },
    "lfm2": {**GROUPED, "layer_types": ["conv", "full_attention"], "block_multiple_of": 16},
}
PROMPTS = [
    "A list is",
    "Sorts the elements of a list in place, and returns nothing at all to whoever asks.",
    "x",
]
LENGTH = 10


@pytest.fixture(params=FAMILIES)
def model(request, tmp_path, monkeypatch):
    """A random model whose predictions are peaked, so that the most probable token is beyond doubt."""
    monkeypatch.setattr(continuing, "BATCH", 2)  # so that places are taken over
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    ends = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    length = {} if request.param == "gpt2" else {"max_position_embeddings": 256}
    config = AutoConfig.for_model(
        request.param, vocab_size=4096, initializer_range=0.2, **ends, **length, **FAMILIES[request.param]
    )
    torch.manual_seed(5)
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    return Transformers(backend="transformers", model=str(tmp_path))


def double(folder: str) -> torch.nn.Module:
    """Experts one after the other: torch has no grouped products of float64."""
    plain = {"attn_implementation": "eager", "experts_implementation": "eager"}
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, **plain).eval()


def test_it_writes_and_reads_as_a_plain_forward_does(model):
    tokenizer, plain = AutoTokenizer.from_pretrained(model.model), double(model.model)
    requests = [Request(prompt, seed=i) for i, prompt in enumerate(PROMPTS)]
    written = open_generator(model).generate(requests, Sampling(max_tokens=LENGTH, temperature=0))
    for prompt, completion in zip(PROMPTS, written, strict=True):
        begun = [tokenizer.bos_token_id, *tokenizer.encode(prompt, add_special_tokens=False)]
        ids = list(begun)
        with torch.inference_mode():
            while len(ids) < len(begun) + LENGTH and ids[len(begun) :][-1:] != [tokenizer.eos_token_id]:
                ids.append(int(plain(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
        before, whole = (tokenizer.decode(each, skip_special_tokens=True) for each in (begun, ids))
        assert completion.text == whole.removeprefix(before).rstrip("\ufffd")
        assert completion.tokens == len(ids) - len(begun)

    texts = [" Returns the list, sorted.", " A much longer text than any window of these families. " * 2]
    rows = [Text(text, prompt, text) for prompt, text in zip(PROMPTS, texts, strict=False)]
    found = score_rows(open_scoring_model(model), Scoring(), rows)
    assert not found.not_scored
    for text, own in found.tokens.to_pandas().groupby("doc_id", sort=False):
        prompt = PROMPTS[texts.index(text)]
        before = [tokenizer.bos_token_id, *tokenizer.encode(prompt, add_special_tokens=False)]
        expected = oracle(plain, [*before, *own["token_id"]])[len(before) - 1 :]
        np.testing.assert_allclose(own["surprisal"], expected, atol=1e-3, rtol=0)


def test_a_family_that_keeps_what_it_read_in_a_way_of_its_own_is_one_sentence(tmp_path):
    shape = {**GROUPED, "head_dim": 16, "layer_types": ["linear_attention", "full_attention"]}
    config = AutoConfig.for_model("minimax", vocab_size=4096, num_local_experts=2, block_size=8, **shape)
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(TOKENIZER).save_pretrained(tmp_path)
    with pytest.raises(StudyError, match=r"\(minimax\) keeps what it has read in a way that step 01"):
        open_generator(Transformers(backend="transformers", model=str(tmp_path)))


@pytest.mark.parametrize("opened", [open_generator, open_scoring_model])
def test_what_was_no_plain_forward_is_refused(opened, tmp_path):
    config = AutoConfig.for_model("falcon", vocab_size=4096, **{**WIDTH, "alibi": True})
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(TOKENIZER).save_pretrained(tmp_path)
    with pytest.raises(StudyError, match="is a Falcon with ALiBi"):
        opened(Transformers(backend="transformers", model=str(tmp_path)))


def test_a_family_whose_layers_are_not_found_is_one_sentence(tmp_path):
    shape = {**GROUPED, "head_dim": 16, "intermediate_size_mlp": 128, "attention_chunk_size": 16}
    config = AutoConfig.for_model("llama4_text", vocab_size=4096, num_local_experts=2, **shape)
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(TOKENIZER).save_pretrained(tmp_path)
    with pytest.raises(StudyError, match="does after its last layer, step 02 does not know"):
        open_scoring_model(Transformers(backend="transformers", model=str(tmp_path)))


DOCUMENT = (REPOSITORY / "docs" / "models.md").read_text()


def test_the_table_of_what_runs_lists_these_families():
    (line,) = re.findall(r"^\| families .*$", DOCUMENT, re.M)
    assert set(re.findall(r"`(\w+)`", line.split("|")[2])) == set(FAMILIES)


def test_its_commands_name_tests_and_its_declarations_are_allowed():
    named = set(re.findall(r"tests/[\w/]+\.py", DOCUMENT))
    assert len(named) > 8
    assert not [file for file in named if not (REPOSITORY / file).is_file()]
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.S)]
    declared = [TypeAdapter(Weights).validate_python(block["weights"]) for block in blocks]
    assert {each.backend for each in declared} == {"transformers", "llama_cpp", "openai", "vllm"}
    (rows,) = re.findall(r"^\| field .*?\n\n", DOCUMENT, re.M | re.S)
    fields = set(re.findall(r"`(\w+)`", " ".join(row.split("|")[1] for row in rows.strip().splitlines())))
    assert fields == set(Transformers.model_fields) - {"backend"}
