"""Scoring with a GGUF file: logits are read row by row from llama.cpp."""

from collections.abc import Sequence

import numpy as np
import torch

from lib.backends.llama_cpp_context import Context
from lib.backends.llama_cpp_model import LlamaCppModel
from lib.backends.prompts import Sent
from lib.backends.scoring import Encoding, Request, Scores, tile
from lib.backends.softmax import Boundary, columns
from lib.backends.vocabulary import why_no_words, word_begins
from lib.backends.windowed import WindowedReader
from lib.params import LlamaCpp


class LlamaCppScoringModel(WindowedReader):
    """Reads one text at a time; memory is bounded by the batch, whatever the vocabulary."""

    def __init__(self, weights: LlamaCpp) -> None:
        self.model = LlamaCppModel(weights)
        self.context = Context(self.model, self.model.context_length, exact=True)
        self.bos = self.model.bos
        self.parameters = self.model.parameters
        self.context_length = self.model.context_length
        self.vocabulary = size = self.model.vocabulary
        special = {i for i in range(size) if self.model.is_special(i)}
        self.pieces = [self.model.piece(i) for i in range(size)]
        spelled = {i: piece.decode(errors="replace") for i, piece in enumerate(self.pieces)}
        self.why_no_words = why_no_words([spelled[i] for i in spelled if i not in special])
        self.word_begins = None
        self._boundary: Boundary | None = None
        if self.why_no_words is None:
            self.word_begins = word_begins(spelled, special, size)
            ends_word = self.word_begins.copy()
            ends_word[[i for i in special if self.model.is_end(i)]] = True
            self._boundary = Boundary.of(ends_word)

    def ids(self, sent: Sent) -> list[int]:
        """See `WindowedReader.ids`."""
        return self.model.ids(sent)

    def encode(self, texts: Sequence[str], after: Sequence[str] | None = None) -> list[Encoding]:
        """See `WindowedReader.encode`. A text that its tokens do not spell has no tokens."""
        before = after or [""] * len(texts)
        return [self._encoding(text, within=bool(prompt)) for text, prompt in zip(texts, before, strict=True)]

    def _encoding(self, text: str, *, within: bool) -> Encoding:
        ids = self.model.tokens(text, within=within)
        pieces = [self.pieces[i] for i in ids]
        raw, spelled = text.encode(), b"".join(pieces)
        if spelled == b" " + raw:  # SentencePiece puts a blank before every text
            pieces[0] = pieces[0][1:]
        elif spelled != raw:
            return Encoding(*(np.empty(0, dtype=np.int64) for _ in range(3)))
        # A character belongs to the token with its first byte.
        begins = np.frombuffer(raw, dtype=np.uint8) & 0xC0 != 0x80
        characters = np.concatenate([[0], np.cumsum(begins)])
        starts, ends = tile(len(text), characters[np.cumsum([len(piece) for piece in pieces], dtype=int)])
        return Encoding(np.asarray(ids, dtype=np.int64), starts, ends)

    def score(self, requests: Sequence[Request], *, entropy: bool) -> list[Scores | None]:
        """See `WindowedReader.score`."""
        found: list[Scores | None] = []
        for request in requests:
            try:
                found.append(self._scores(request, entropy))
            except MemoryError:
                found.append(None)
        return found

    def _scores(self, request: Request, entropy: bool) -> Scores:
        ids = request.ids
        # The row at position i predicts token i + 1; the last row predicts what follows the text.
        targets = torch.from_numpy(np.append(ids[1:], self.bos))
        first_row = request.scored - 1
        rows = []
        size = self.context.batch_size
        self.context.forget()
        for begin in range(0, len(ids), size):
            batch = ids[begin : begin + size]
            first = max(first_row - begin, 0)
            logits = torch.from_numpy(self.context.logits(batch, begin, first))
            if len(logits):
                wanted = targets[begin + first : begin + len(batch)]
                rows.append(columns(logits, wanted, entropy=entropy, boundary=self._boundary))
        words = self._boundary is not None
        return Scores.of(torch.cat(rows).numpy(), entropy=entropy, boundary=words)
