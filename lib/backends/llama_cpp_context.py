"""What llama.cpp keeps of the texts that it reads and writes: keys and values, several texts side by side.

Each text is a sequence with memory of its own (`kv_unified` is off). What a text's tokens give then does not
depend on what lies beside it, as long as the products that they are part of are made in the same way:
docs/notes/writing.md says where that holds.
"""

import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from lib import machine
from lib.backends.llama_cpp_model import LlamaCppModel
from lib.errors import StudyError

TOKENS_PER_BATCH = 512
NUMBERS_OF_LOGITS = 512 * 32_768  # of a batch, at most: 64 MB


class Context:
    """Room for `sequences` texts of at most `length` tokens each; `exact` keeps keys and values in float32.

    Raises StudyError if there is no memory for it.
    """

    def __init__(
        self, opened: LlamaCppModel, length: int, sequences: int = 1, *, exact: bool = False
    ) -> None:
        self.opened, self.c = opened, opened.c
        self.length, self.sequences = length, sequences
        self.batch_size = max(16, sequences, min(TOKENS_PER_BATCH, NUMBERS_OF_LOGITS // opened.vocabulary))
        self.context = self._open(exact)
        self.batch = self.c.llama_batch_init(self.batch_size, 0, 1)
        weakref.finalize(self, _free, self.c, self.batch, self.context)

    def _open(self, exact: bool) -> Any:
        params = self.c.llama_context_default_params()
        params.n_ctx = self.length * self.sequences
        params.n_seq_max = self.sequences
        params.kv_unified = False
        params.n_batch = params.n_ubatch = self.batch_size
        params.n_threads = params.n_threads_batch = machine.threads()
        if exact:
            params.type_k = params.type_v = 0  # GGML_TYPE_F32
            params.flash_attn_type = 0  # off: it would round to half precision
        context = self.c.llama_init_from_model(self.opened.model, params)
        if not context:
            raise StudyError(
                f"There is no memory for {self.length * self.sequences} positions of {self.opened.name}; "
                f"set `context_length` lower."
            )
        return context

    def forget(self, sequence: int = 0, begin: int = -1) -> None:
        """Let a new text begin in the place of `sequence`, or it go on anew from the position `begin`."""
        self.c.llama_memory_seq_rm(self._memory, sequence, begin, -1)

    def move(self, source: int, target: int) -> None:
        """Let the text of sequence `source` go on as `target`, whose own is forgotten."""
        self.forget(target)
        self.c.llama_memory_seq_cp(self._memory, source, target, -1, -1)
        self.forget(source)

    @property
    def _memory(self) -> Any:
        return self.c.llama_get_memory(self.context)

    def logits(
        self, ids: Sequence[int] | np.ndarray, position: int, first: int, sequence: int = 0
    ) -> np.ndarray:
        """Read `ids`, at most `batch_size`, as the positions from `position` on of one sequence.

        Returns the logits after each of `ids[first:]`, [len(ids) - first, vocabulary] float32: a view
        that the next call overwrites. Raises MemoryError where llama.cpp finds no room.
        """
        count = len(ids)
        return self._decoded(
            ids, np.arange(position, position + count), [sequence] * count, np.arange(count) >= first
        )

    def step(self, ids: Sequence[int], positions: Sequence[int]) -> np.ndarray:
        """Read one token of each of the first n sequences, at its position; the logits after it, [n, v].

        A view, as of `logits`.
        """
        return self._decoded(ids, positions, range(len(ids)), np.ones(len(ids), dtype=bool))

    def _decoded(
        self,
        ids: Sequence[int] | np.ndarray,
        positions: Sequence[int] | np.ndarray,
        sequences: Sequence[int],
        wanted: np.ndarray,
    ) -> np.ndarray:
        count, batch = len(ids), self.batch
        as_array = np.ctypeslib.as_array
        batch.n_tokens = count
        as_array(batch.token, (count,))[:] = ids
        as_array(batch.pos, (count,))[:] = positions
        as_array(batch.n_seq_id, (count,))[:] = 1
        as_array(batch.logits, (count,))[:] = wanted
        for i, sequence in enumerate(sequences):
            batch.seq_id[i][0] = sequence
        if code := self.c.llama_decode(self.context, batch):
            raise MemoryError(f"llama_decode returned {code}")
        rows = int(wanted.sum())
        if not rows:
            return np.empty((0, self.opened.vocabulary), dtype=np.float32)
        return as_array(self.c.llama_get_logits(self.context), (rows, self.opened.vocabulary))


def _free(c: Any, batch: Any, context: Any) -> None:
    c.llama_batch_free(batch)
    c.llama_free(context)
