"""A GGUF file opened by llama.cpp: its tokens, and the logits of its next ones.

The functions of llama.cpp itself are called, not the completions of llama-cpp-python, whose
log-probabilities belong to other tokens than they say where a model has no BOS.
"""

import ctypes
import weakref
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from lib import machine
from lib.backends import extras
from lib.backends.weights import gguf_file
from lib.errors import StudyError
from lib.params import LlamaCpp

TOKENS_PER_BATCH = 512
UNJOINED = "\x01"  # a character that SentencePiece writes as a byte of its own, joined with nothing
NUMBERS_OF_LOGITS = 512 * 32_768  # of a batch, at most: 64 MB


class LlamaCppModel:
    """One sequence at a time. `dtype` is that of the cache of keys and values.

    Raises StudyError if llama-cpp-python is not installed, or the file is missing or no model.
    """

    def __init__(self, weights: LlamaCpp, *, dtype: str = "float32") -> None:
        self.c: Any = extras.need("llama_cpp.llama_cpp", "gguf", "GGUF files")
        self._messages = _collect_messages(self.c)
        self.name = weights.file
        file = gguf_file(weights)
        self.c.llama_backend_init()
        self.model = self.c.llama_model_load_from_file(
            str(file).encode(), self.c.llama_model_default_params()
        )
        if not self.model:
            reason = "".join(self._messages).strip().splitlines()
            raise StudyError(
                f"llama.cpp cannot open {weights.file} ({reason[0] if reason else 'no reason given'}); "
                f"fetch the file again, or convert the model anew."
            )
        self.vocab = self.c.llama_model_get_vocab(self.model)
        self.vocabulary: int = self.c.llama_vocab_n_tokens(self.vocab)
        self.context_length = min(weights.context_length, self.c.llama_model_n_ctx_train(self.model))
        self.parameters: int = self.c.llama_model_n_params(self.model)
        self.batch_size = max(16, min(TOKENS_PER_BATCH, NUMBERS_OF_LOGITS // self.vocabulary))
        self.context = self._open_context(dtype)
        self.batch = self.c.llama_batch_init(self.batch_size, 0, 1)
        weakref.finalize(self, _free, self.c, self.batch, self.context, self.model)
        self.eos: int = self.c.llama_vocab_eos(self.vocab)
        self.adds_bos = bool(self.c.llama_vocab_get_add_bos(self.vocab))
        self._prefixed = self.c.llama_vocab_type(self.vocab) == self.c.LLAMA_VOCAB_TYPE_SPM
        self.bos: int = max(self.c.llama_vocab_bos(self.vocab), -1)
        if self.bos < 0:
            self.bos = self.eos
        if self.bos < 0:
            raise StudyError(
                f"{weights.file} has neither BOS nor EOS, so a first token has no context; name another."
            )

    def _open_context(self, dtype: str) -> Any:
        params = self.c.llama_context_default_params()
        params.n_ctx = self.context_length
        params.n_batch = params.n_ubatch = self.batch_size
        params.n_threads = params.n_threads_batch = machine.threads()
        if dtype == "float32":
            params.type_k = params.type_v = 0  # GGML_TYPE_F32
            params.flash_attn_type = 0  # off: it would round to half precision
        context = self.c.llama_init_from_model(self.model, params)
        if not context:
            raise StudyError(
                f"There is no memory for {self.context_length} positions of {self.name}; "
                f"set `context_length` lower."
            )
        return context

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

    def special_text(self, id_: int) -> str:
        """How a special token is written, as a chat template writes it."""
        return (self.c.llama_vocab_get_text(self.vocab, id_) or b"").decode() if id_ >= 0 else ""

    def is_end(self, id_: int) -> bool:
        return bool(self.c.llama_vocab_is_eog(self.vocab, id_))

    def is_special(self, id_: int) -> bool:
        return bool(self.c.llama_vocab_is_control(self.vocab, id_))

    @property
    def chat_template(self) -> str | None:
        found = self.c.llama_model_chat_template(self.model, None)
        return found.decode() if found else None

    def forget(self) -> None:
        """Begin a new sequence."""
        self.c.llama_memory_clear(self.c.llama_get_memory(self.context), False)

    def logits(self, ids: Sequence[int] | np.ndarray, position: int, first: int) -> np.ndarray:
        """Read `ids`, at most `batch_size`, as the positions from `position` on.

        Returns the logits after each of `ids[first:]`, [len(ids) - first, vocabulary] float32: a view
        that the next call overwrites. Raises MemoryError where llama.cpp finds no room.
        """
        count = len(ids)
        as_array = np.ctypeslib.as_array
        batch = self.batch
        batch.n_tokens = count
        as_array(batch.token, (count,))[:] = ids
        as_array(batch.pos, (count,))[:] = np.arange(position, position + count)
        as_array(batch.n_seq_id, (count,))[:] = 1
        as_array(batch.logits, (count,))[:] = np.arange(count) >= first
        for i in range(count):
            batch.seq_id[i][0] = 0
        if code := self.c.llama_decode(self.context, batch):
            raise MemoryError(f"llama_decode returned {code}")
        if first >= count:
            return np.empty((0, self.vocabulary), dtype=np.float32)
        return as_array(self.c.llama_get_logits(self.context), (count - first, self.vocabulary))


def _free(c: Any, batch: Any, context: Any, model: Any) -> None:
    c.llama_batch_free(batch)
    c.llama_free(context)
    c.llama_model_free(model)


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
