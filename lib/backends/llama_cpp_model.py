"""A GGUF file opened by llama.cpp: its tokens, its marks, its chat template.

The functions of llama.cpp itself are called, not the completions of llama-cpp-python, whose
log-probabilities belong to other tokens than they say where a model has no BOS.
"""

import ctypes
import weakref
from functools import cache, cached_property
from typing import Any

from lib.backends import extras
from lib.backends.prompts import Sent
from lib.backends.vocabulary import mark
from lib.backends.weights import gguf_file
from lib.errors import StudyError
from lib.params import LlamaCpp

UNJOINED = "\x01"  # a character that SentencePiece writes as a byte of its own, joined with nothing


@cache
def offloads() -> bool:
    """Whether llama.cpp is installed and built for a GPU."""
    try:
        from llama_cpp import llama_cpp
    except ImportError:
        return False
    return bool(llama_cpp.llama_supports_gpu_offload())


class LlamaCppModel:
    """Weights and vocabulary; `lib.backends.llama_cpp_context` reads with them.

    Raises StudyError if llama-cpp-python is not installed, or the file is missing or no model.
    """

    def __init__(self, weights: LlamaCpp) -> None:
        self.c: Any = extras.need("llama_cpp.llama_cpp", "gguf", "GGUF files")
        self._messages = _collect_messages(self.c)
        self.name = weights.file
        file = gguf_file(weights)
        self.c.llama_backend_init()
        params = self.c.llama_model_default_params()
        if weights.gpu_layers is not None:
            params.n_gpu_layers = weights.gpu_layers
        self.model = self.c.llama_model_load_from_file(str(file).encode(), params)
        if not self.model:
            reason = "".join(self._messages).strip().splitlines()
            raise StudyError(
                f"llama.cpp cannot open {weights.file} ({reason[0] if reason else 'no reason given'}); "
                f"fetch the file again, or convert the model anew."
            )
        weakref.finalize(self, self.c.llama_model_free, self.model)
        self.on_gpu = weights.gpu_layers != 0 and offloads()
        self.vocab = self.c.llama_model_get_vocab(self.model)
        self.vocabulary: int = self.c.llama_vocab_n_tokens(self.vocab)
        self.context_length = min(weights.context_length, self.c.llama_model_n_ctx_train(self.model))
        self.parameters: int = self.c.llama_model_n_params(self.model)
        self.eos = self._declared("eos")
        self.adds_bos = bool(self.c.llama_vocab_get_add_bos(self.vocab))
        self._prefixed = self.c.llama_vocab_type(self.vocab) == self.c.LLAMA_VOCAB_TYPE_SPM
        self.own_bos = self._declared("bos")
        found = self.eos if self.own_bos is None else self.own_bos
        if found is None:
            raise StudyError(
                f"{weights.file} has neither BOS nor EOS, so a first token has no context; name another."
            )
        self.bos = found

    def _declared(self, which: str) -> int | None:
        """The BOS or EOS that the file itself names, if any: never llama.cpp's own default."""
        written = ctypes.create_string_buffer(16)
        key = f"tokenizer.ggml.{which}_token_id".encode()
        there = self.c.llama_model_meta_val_str(self.model, key, written, len(written)) >= 0
        return mark(which, int(written.value) if there else None, self.vocabulary, self.name)

    def tokens(self, text: str, *, special: bool = False, within: bool = False) -> list[int]:
        """The ids of `text` without BOS; special tokens in it are taken literally unless `special`.

        SentencePiece puts a blank before a text; not if it stands `within` another.
        """
        if within and self._prefixed and text:
            before = self.tokens(UNJOINED)
            ids = self.tokens(UNJOINED + text, special=special)
            if ids[: len(before)] == before:
                return ids[len(before) :]
        raw = text.encode()
        room = len(raw) + 8
        ids = (self.c.llama_token * room)()
        count = self.c.llama_tokenize(self.vocab, raw, len(raw), ids, room, False, special)
        return list(ids[:count])

    def ids(self, sent: Sent) -> list[int]:
        """The ids of `sent` without BOS. Special tokens that somebody wrote are characters."""
        special = self.special_texts
        if not any(token in piece for piece, written in sent.pieces if written for token in special):
            return self.tokens(sent, special=True)
        parts = (self.tokens(part, special=marks) for part, marks in sent.segments(special))
        return [id_ for ids in parts for id_ in ids]

    @cached_property
    def special_texts(self) -> list[str]:
        """How the special tokens are written."""
        found = (self.special_text(i) for i in range(self.vocabulary) if self.is_special(i))
        return [text for text in found if text]

    def piece(self, id_: int) -> bytes:
        """The bytes that a token stands for; none for special ones."""
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = self.c.llama_token_to_piece(self.vocab, id_, buffer, size, 0, False)
            if length >= 0:
                return buffer.raw[:length]
            size = -length

    def special_text(self, id_: int | None) -> str:
        """How a special token is written, as a chat template writes it."""
        return "" if id_ is None else (self.c.llama_vocab_get_text(self.vocab, id_) or b"").decode()

    def is_end(self, id_: int) -> bool:
        """Whether a text ends with it; llama.cpp's own default of an EOS may be any word."""
        ends = bool(self.c.llama_vocab_is_eog(self.vocab, id_))
        return ends and (id_ == self.eos or self.is_special(id_))

    def is_special(self, id_: int) -> bool:
        return bool(self.c.llama_vocab_is_control(self.vocab, id_))

    @property
    def chat_template(self) -> str | None:
        found = self.c.llama_model_chat_template(self.model, None)
        return found.decode() if found else None

    @property
    def bytes_of_a_position(self) -> int:
        """What the keys and values of one token take in half precision, at most."""
        heads, width = self.c.llama_model_n_head(self.model), self.c.llama_model_n_embd(self.model)
        numbers = 2 * self.c.llama_model_n_layer(self.model) * self.c.llama_model_n_head_kv(self.model)
        return int(2 * numbers * max(1, width // max(1, heads)))


def _collect_messages(c: Any) -> list[str]:
    """Send llama.cpp's errors, of which it writes many to the terminal, to a list instead."""
    messages: list[str] = []

    @c.llama_log_callback
    def keep(level: int, text: bytes, _: ctypes.c_void_p) -> None:
        if level == 4:  # GGML_LOG_LEVEL_ERROR
            messages.append(text.decode(errors="replace"))

    c.llama_log_set(keep, ctypes.c_void_p(0))
    _CALLBACKS.append(keep)
    return messages


_CALLBACKS: list[Any] = []  # llama.cpp calls them as long as the process lives
