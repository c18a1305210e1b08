"""GGUF files read without a compiler, against the model that the file was made of; and what is refused."""

from pathlib import Path

import gguf
import numpy as np
import pytest
from transformers import AutoTokenizer

from lib.backends.engines import identity, open_generator, open_scoring_model
from lib.backends.generating import Request
from lib.backends.transformers_gguf import GGUFFile
from lib.backends.transformers_models import load
from lib.errors import StudyError
from lib.params import Sampling, Scoring, Transformers
from lib.surprisal.rows import Text, score_rows
from tests.surprisal.test_scoring import nasty_texts

MODELS = Path(__file__).resolve().parents[2] / "data" / "models"
GGUF = MODELS / "tiny-base" / "q8_0.gguf"


def weights(model: Path) -> Transformers:
    return Transformers(backend="transformers", model=str(model))


def scored(model: Path):
    texts = [text for text in nasty_texts()[:60] if len(text) < 1500]
    rows = [
        Text(str(i), "numpy.sum\n\nReturn the sum." if i % 2 else "", text) for i, text in enumerate(texts)
    ]
    found = score_rows(open_scoring_model(weights(model)), Scoring(), rows)
    assert not found.not_scored
    return found.tokens.to_pandas()


def test_a_file_has_the_ids_of_its_model_and_nearly_its_surprisals():
    found, expected = scored(GGUF), scored(MODELS / "tiny-base")
    same = ["doc_id", "position", "token_id", "token", "start", "end", "context"]
    assert found[same].equals(expected[same])
    apart = np.abs(found["surprisal"] - expected["surprisal"])
    assert 1e-4 < apart.mean() < 0.1  # Q8_0


def test_a_file_writes_in_its_own_template(tmp_path):
    from training.quantize import write

    file = tmp_path / "instruct.gguf"
    write(MODELS / "tiny-instruct", file, "F32")
    request = Request("numpy.sum\n\nReturn the sum of an array.", 0, chat=True, system_prompt="Go on:")
    sampling = Sampling(max_tokens=12, temperature=0)
    texts = [
        open_generator(weights(m)).generate([request], sampling)[0] for m in (file, MODELS / "tiny-instruct")
    ]
    assert texts[0] == texts[1]
    assert len(identity(weights(file))) == 64


def header(file: Path, architecture: str = "llama", tensors: tuple[str, ...] = (), **fields: object) -> Path:
    writer = gguf.GGUFWriter(file, architecture)
    for name, value in {"tokenizer__ggml__model": "gpt2", "tokenizer__ggml__pre": "gpt-2", **fields}.items():
        key = name.replace("__", ".")
        if isinstance(value, list):
            writer.add_array(key, value)
        else:
            kinds = {bool: writer.add_bool, int: writer.add_uint32, str: writer.add_string}
            kinds[type(value)](key, value)
    for name in tensors:
        writer.add_tensor(name, np.ones(4, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({"architecture": "mamba"}, "has the architecture 'mamba'"),
        ({"tokenizer__ggml__pre": "viking"}, "splits text in a way of its own"),
        ({"tokenizer__ggml__model": "bert"}, "tokenizer of another kind"),
        ({"tensors": ("rope_freqs.weight",)}, "stretches its positions"),
        ({"llama__rope__scaling__type": "yarn"}, "stretches its positions"),
        ({"tensors": ("blk.0.attn_q.weight", "blk.0.attn_q.bias")}, r"its own \(blk\.0\.attn_q\.bias, 1 in"),
        ({"tensors": ("blk.0.ffn_gate_exps.weight",)}, "something of its own"),
        ({"architecture": "qwen2", "tensors": ("blk.0.attn_q_norm.weight",)}, "something of its own"),
        ({"llama__expert_count": 8}, r"its own \(llama\.expert_count"),
        ({"qwen2__attention__sliding_window": 64, "architecture": "qwen2"}, "something of its own"),
    ],
)
def test_what_would_be_read_wrongly_is_refused_with_the_way_to_llama_cpp(made, said, tmp_path):
    with pytest.raises(StudyError, match=said) as error:
        load(weights(header(tmp_path / "other.gguf", **made)))
    assert "backend: llama_cpp" in str(error.value)


def test_a_broken_file_and_a_missing_one_are_named(tmp_path):
    (tmp_path / "cut.gguf").write_bytes(GGUF.read_bytes()[:5000])
    with pytest.raises(StudyError, match=r"cut\.gguf is no whole GGUF file"):
        load(weights(tmp_path / "cut.gguf"))
    with pytest.raises(StudyError, match=r"There is no .*none\.gguf"):
        load(weights(tmp_path / "none.gguf"))


@pytest.mark.parametrize("which", ["bos", "eos"])
def test_a_mark_beyond_the_vocabulary_is_named(which, tmp_path):
    marks = {f"tokenizer__ggml__{which}_token_id": 7, "tokenizer__ggml__tokens": ["a", "b"]}
    with pytest.raises(StudyError, match=f"names the token 7 as its {which.upper()}, and has 2 tokens"):
        load(weights(header(tmp_path / "a.gguf", **marks)))


@pytest.mark.parametrize(
    ("flag", "expected"), [({}, False), ({"tokenizer__ggml__add_bos_token": True}, True)]
)
def test_the_files_own_flag_says_whether_bos_is_given(flag, expected, tmp_path):
    assert GGUFFile(header(tmp_path / "a.gguf", **flag)).adds_bos == expected


def test_digits_stand_apart_where_the_file_says_so(tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(MODELS / "tiny-base")
    GGUFFile(header(tmp_path / "a.gguf", tokenizer__ggml__pre="smollm")).mend(tokenizer)
    split = tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str("a  12")
    assert [word for word, _ in split] == ["a", "ĠĠ", "1", "2"]
