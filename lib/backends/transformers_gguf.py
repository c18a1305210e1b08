"""GGUF files read by transformers: weights dequantised, tokenizer and chat template from the file.

Needs no compiler. transformers leaves out of a file what it does not know, so this module lets through
only the architectures and tokenizers that were compared with llama.cpp or with the model that the file
was made of (tests/backends/test_transformers_gguf.py); others stay with llama.cpp.
"""

import re
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gguf import GGUFReader
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers

from lib import paths
from lib.backends.vocabulary import mark
from lib.errors import StudyError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Of each architecture, the tensors of a layer that transformers reads beside those of all.
ARCHITECTURES = {"llama": (), "qwen2": (r"attn_[qkv]\.bias",), "qwen3": (r"attn_[qk]_norm\.weight",)}
TENSORS = (r"attn_(norm|q|k|v|output)\.weight", r"ffn_(norm|gate|up|down)\.weight")
# What a file says of its model and transformers reads, or what llama.cpp works out by itself.
SETTINGS = {
    *("context_length", "block_count", "embedding_length", "feed_forward_length", "vocab_size"),
    *("attention.head_count", "attention.head_count_kv", "attention.layer_norm_rms_epsilon"),
    *("attention.key_length", "attention.value_length", "rope.dimension_count", "rope.freq_base"),
    *("rope.scaling.type", "attention.causal"),
}
# What a file has for positions beyond the plain rotation; transformers would pass over it.
OTHER_ROTATION = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")
# How llama.cpp splits text before merging, by the name that the file gives: as GPT-2 does, ...
AS_GPT2 = ("gpt-2", "mpt", "olmo", "jais", "trillion")
# ... digit by digit before that, ...
DIGITS_APART = ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b")
# ... or as transformers knows by itself.
KNOWN = ("llama3", "llama-v3", "llama-bpe", "qwen2", "deepseek-r1-qwen", "tekken")


# What llama.cpp takes for the end of a text wherever a vocabulary has it, beside what the file names.
ENDS = (
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "<|end_of_text|>",
    "<eos>",
    "<|fim_pad|>",
    "<fim-pad>",
    "<fim_pad>",
    "<PAD>",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<fim-repo>",
    "<REPO>",
    "<reponame>",
    "<|file_sep|>",
    "<｜end▁of▁sentence｜>",
)


class GGUFFile:
    """What a GGUF file says of itself, and why transformers would read it wrongly (None if it would not).

    Raises StudyError for one that is not whole.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        try:
            reader = GGUFReader(file)
        except (OSError, ValueError, IndexError, KeyError) as error:
            raise StudyError(
                f"{paths.shown(file)} is no whole GGUF file ({error or 'it breaks off'}); fetch it again."
            ) from error
        # Of the long lists, a token or merge each, nothing is asked here.
        self.fields = {
            name: field.contents() for name, field in reader.fields.items() if len(field.data) < 64
        }
        tokens = reader.fields.get("tokenizer.ggml.tokens")
        self.vocabulary = len(tokens.data) if tokens else 0
        self.architecture = str(self.fields.get("general.architecture"))
        self.why_not = self._why_not({tensor.name for tensor in reader.tensors})

    def _why_not(self, tensors: set[str]) -> str | None:
        if self.architecture not in ARCHITECTURES:
            return f"has the architecture {self.architecture!r}"
        rotation = self.fields.get(f"{self.architecture}.rope.scaling.type", "none")
        if rotation != "none" or tensors & set(OTHER_ROTATION):
            return "stretches its positions"
        if passed_over := self._passed_over(tensors):
            return f"has something of its own ({passed_over[0]}, {len(passed_over)} in all)"
        kind, split = self.fields.get("tokenizer.ggml.model"), self.fields.get("tokenizer.ggml.pre")
        if kind == "gpt2" and split not in (*AS_GPT2, *DIGITS_APART, *KNOWN):
            return f"splits text in a way of its own ({split!r})"
        if kind not in ("gpt2", "llama"):
            return f"has a tokenizer of another kind ({kind!r})"
        return None

    def _passed_over(self, tensors: Collection[str]) -> list[str]:
        """What of the file transformers would leave out without a word: tensors, then settings."""
        parts = "|".join((*TENSORS, *ARCHITECTURES[self.architecture]))
        known = re.compile(rf"(token_embd|output_norm|output)\.weight|blk\.\d+\.({parts})")
        prefix = f"{self.architecture}."
        settings = (name for name, value in self.fields.items() if value and name.startswith(prefix))
        return [
            *sorted(name for name in tensors if not known.fullmatch(name)),
            *sorted(name for name in settings if name.removeprefix(prefix) not in SETTINGS),
        ]

    def check(self) -> None:
        """Raise StudyError, with the way to llama.cpp, for a file that transformers would read wrongly.

        Raises it, too, for one whose BOS or EOS is beyond its vocabulary.
        """
        if self.why_not is not None:
            raise StudyError(
                f"{self.file.name} {self.why_not}, which transformers does not read from a GGUF file as "
                f"llama.cpp does; write `weights: {{backend: llama_cpp, file: {self.file}}}` (`make extras`)."
            )
        for which in ("bos", "eos"):
            self._mark(which)

    def _mark(self, which: str) -> int | None:
        return mark(
            which, self.fields.get(f"tokenizer.ggml.{which}_token_id"), self.vocabulary, self.file.name
        )

    @property
    def adds_bos(self) -> bool:
        """Whether the file wants BOS before what the model is given; llama.cpp's default without a word."""
        default = self.fields.get("tokenizer.ggml.model") == "llama"
        return bool(self.fields.get("tokenizer.ggml.add_bos_token", default))

    def ends(self, tokenizer: "PreTrainedTokenizerBase") -> frozenset[int]:
        """The ids that end a text beside EOS: a file may call EOS what ends no answer of a chat."""
        vocabulary = tokenizer.get_vocab()
        named = [self.fields.get(f"tokenizer.ggml.{which}_token_id") for which in ("eot", "eom")]
        return frozenset(
            [vocabulary[mark] for mark in ENDS if mark in vocabulary]
            + [int(id_) for id_ in named if id_ is not None]
        )

    def options(self) -> dict[str, Any]:
        """What `from_pretrained` is told beside the folder."""
        return {"gguf_file": self.file.name}

    def mend(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        """Begin, end and split text as the file says, where transformers passes over it."""
        for which in ("bos", "eos"):
            id_ = self._mark(which)
            setattr(
                tokenizer, f"{which}_token", None if id_ is None else tokenizer.convert_ids_to_tokens(id_)
            )
        backend: Tokenizer = tokenizer.backend_tokenizer
        if self.fields.get("tokenizer.ggml.model") == "llama":
            self._begin_with_a_blank(backend)
        elif self.fields.get("tokenizer.ggml.pre") in DIGITS_APART:
            backend.pre_tokenizer = pre_tokenizers.Sequence(
                [
                    pre_tokenizers.Split(Regex(r"\p{N}"), "isolated"),
                    pre_tokenizers.ByteLevel(add_prefix_space=False),
                ]
            )

    def _begin_with_a_blank(self, backend: Tokenizer) -> None:
        """SentencePiece puts a blank before a text, whatever that begins with, unless the file says no."""
        blanks, back = normalizers.Replace(" ", "▁"), decoders.Replace("▁", " ")
        bytes_ = [back, decoders.ByteFallback(), decoders.Fuse()]
        prefix = bool(self.fields.get("tokenizer.ggml.add_space_prefix", True))
        backend.pre_tokenizer = None
        backend.normalizer = normalizers.Sequence([*[normalizers.Prepend("▁")] * prefix, blanks])
        backend.decoder = decoders.Sequence([*bytes_, *[decoders.Strip(" ", 1, 0)] * prefix])
