"""Scoring with a model of the library transformers."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from lib.backends import attention, memory, transformers_models
from lib.backends.devices import devices_of
from lib.backends.last_step import last_step
from lib.backends.packed import pack
from lib.backends.prompts import Sent
from lib.backends.scoring import Encoding, Request, Scores
from lib.backends.softmax import Boundary, columns
from lib.backends.vocabulary import BLANKS, why_no_words, word_begins
from lib.backends.windowed import WindowedReader
from lib.errors import StudyError
from lib.params import Scoring, Transformers

# How large the tensors of a batch may be: of its states [tokens, width], padding included, and of the
# logits [positions, vocabulary], of which there are never more than a chunk.
NUMBERS_OF_STATES = {"cpu": 1024 * 768, "cuda": 16384 * 4096, "mps": 4096 * 768}
NUMBERS_OF_LOGITS = {"cpu": 128 * 50_257, "cuda": 1024 * 50_257, "mps": 256 * 50_257}
MUCH = 0.9e9  # bytes: a smaller process keeps what it has, which makes small models a tenth faster
PADDING = 1 / 8  # of a batch, at most


class TransformersScoringModel(WindowedReader):
    """Reads texts side by side, padded on the right; the head runs only where a score is wanted.

    No mask is given: attention is causal and positions count from the left, so that nothing to the
    right of a token, padding or not, can reach it.
    """

    def __init__(self, weights: Transformers) -> None:
        opened = transformers_models.load(weights)
        self.model, self.tokens = opened.model, opened.tokens
        tokenizer = self.tokens.tokenizer
        self.tokens.check_offsets()
        self.parameters = self.model.num_parameters()
        self.context_length = transformers_models.context_length(self.model.config)
        vocabulary, width = self.model.get_output_embeddings().weight.shape
        self.vocabulary = vocabulary
        self.bos = self.tokens.bos(vocabulary)
        self.tokens_per_batch = max(1024, NUMBERS_OF_STATES[self.model.device.type] // width)
        self.chunk = max(128, NUMBERS_OF_LOGITS[self.model.device.type] // vocabulary)
        self._prepare(weights.model)

        self.word_begins = None
        self._boundary: Boundary | None = None
        spelled = _spelled(tokenizer)
        added = tokenizer.added_tokens_decoder
        self.why_no_words = why_no_words([token for i, token in spelled.items() if i not in added])
        if self.why_no_words is None:
            self.word_begins = word_begins(spelled, tokenizer.all_special_ids, vocabulary)
            ends_word = self.word_begins.copy()
            if (tokenizer.eos_token_id or 0) < vocabulary and tokenizer.eos_token_id is not None:
                ends_word[tokenizer.eos_token_id] = True
            self._boundary = Boundary.of(ends_word, self.model.device)

    @torch.inference_mode()
    def _prepare(self, name: str) -> None:
        """Pack the model and find its head; check both against the model as it was."""
        ids = torch.arange(8, device=self.model.device)[None]
        expected = self.model(ids, use_cache=False).logits[0].float()
        for weight in self.model.parameters():
            memory.page_out(weight)  # packing reads them again, one at a time
        self.products = pack(self.model, self.model.dtype)
        attention.use(self.model)
        unknown = StudyError(
            f"What {name!r} does after its last layer, step 02 does not know how to do; name another scorer."
        )
        try:
            states = self.model.base_model(ids, use_cache=False).last_hidden_state[0]
        except (AttributeError, TypeError) as error:
            raise unknown from error
        tolerance = 1e-3 if self.model.dtype == torch.float32 else 3e-2
        allowed = tolerance * expected.abs().max().clamp(min=1.0)
        # Most models end in a matrix; some scale or cap what comes of it.
        for head in (self.model.get_output_embeddings(), last_step(self.model)):
            if (head(states).float() - expected).abs().max() <= allowed:
                self.head = head
                return
        raise unknown

    def encode(self, texts: Sequence[str], after: Sequence[str] | None = None) -> list[Encoding]:
        """See `WindowedReader.encode`."""
        return self.tokens.encode(texts, after)

    def ids(self, sent: Sent) -> list[int]:
        """See `WindowedReader.ids`."""
        return self.tokens.ids(sent)

    def described(self, scoring: Scoring) -> dict[str, Any]:
        """See `Reader.described`: what `WindowedReader` says, the devices, and each product's kernel."""
        found = {**super().described(scoring), "device": devices_of(self.model)}
        return {**found, "products": self.products} if self.products else found

    def score(self, requests: Sequence[Request], *, entropy: bool) -> list[Scores | None]:
        """See `WindowedReader.score`. A batch that does not fit into memory is halved and tried again."""
        found: list[Scores | None] = [None] * len(requests)
        waiting = list(batches([len(request.ids) for request in requests], self.tokens_per_batch))[::-1]
        while waiting:
            batch = waiting.pop()
            try:
                scores = self._score_batch([requests[i] for i in batch], entropy=entropy)
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
                if len(batch) > 1:
                    self.tokens_per_batch = max(self.tokens_per_batch // 2, 1)
                    waiting += [batch[len(batch) // 2 :], batch[: len(batch) // 2]]
                continue
            for i, score in zip(batch, scores, strict=True):
                found[i] = score
            self._trim()
        return found

    def _trim(self) -> None:
        """Keep float32 lean; in half precision the peak is the opening of the model."""
        if self.model.dtype == torch.float32:
            memory.trim(above=MUCH)

    @torch.inference_mode()
    def _score_batch(self, requests: Sequence[Request], *, entropy: bool) -> list[Scores]:
        longest = max(len(request.ids) for request in requests)
        ids = np.full((len(requests), longest), self.bos)
        for row, request in enumerate(requests):
            ids[row, : len(request.ids)] = request.ids
        device = self.model.device
        hidden = self.model.base_model(
            input_ids=torch.from_numpy(ids).to(device), use_cache=False
        ).last_hidden_state  # [rows, longest, width]

        # The state at position i predicts token i + 1; the last state predicts what follows the text.
        counts = [len(r.ids) - r.scored + 1 for r in requests]
        states = torch.cat([hidden[row, r.scored - 1 : len(r.ids)] for row, r in enumerate(requests)])
        targets = np.concatenate([[*r.ids[r.scored :], self.bos] for r in requests])
        del hidden
        self._trim()  # what the layers took, before the logits take as much
        found = self._columns(states, torch.from_numpy(targets).to(device), entropy)
        words = self._boundary is not None
        return [
            Scores.of(rows, entropy=entropy, boundary=words)
            for rows in np.split(found, np.cumsum(counts)[:-1])
        ]

    def _columns(self, states: torch.Tensor, targets: torch.Tensor, entropy: bool) -> np.ndarray:
        """`lib.backends.softmax.columns` of states [n, width] and targets [n], some positions at a time.

        Softmax in float32 whatever the model's dtype.
        """
        found = []
        for rows, wanted in zip(states.split(self.chunk), targets.split(self.chunk), strict=True):
            # The product likes many rows; the passes over what comes of it, what fits near the processor.
            parts = (each.split(max(1, self.chunk // 4)) for each in (self.head(rows), wanted))
            found += [
                columns(logits, some, entropy=entropy, boundary=self._boundary)
                for logits, some in zip(*parts, strict=True)
            ]
        return torch.cat(found).cpu().numpy()


def batches(lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """The indices of `lengths` in groups of like length, each at most `tokens` in all with padding.

    The longest first: what it took has room for all others, and what does not fit shows at once.
    """
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i], reverse=True):
        if batch:
            total = (len(batch) + 1) * lengths[batch[0]]
            padding = total - lengths[i] - sum(lengths[j] for j in batch)
            if total > tokens or padding > PADDING * total:
                yield batch
                batch = []
        batch.append(i)
    if batch:
        yield batch


def _is_out_of_memory(error: BaseException) -> bool:
    kinds = (torch.OutOfMemoryError, MemoryError)
    return isinstance(error, kinds) or "can't allocate memory" in str(error)


# How a tokenizer writes the blanks of `lib.surprisal.words` into its vocabulary.
_BYTE_LEVEL = {"Ġ": " ", "ĉ": "\t", "Ċ": "\n", "č": "\r", "ċ": "\v", "Č": "\f"}
_SENTENCE_PIECE = {"▁": " "} | {f"<0x{ord(blank):02X}>": blank for blank in BLANKS}


def _spelled(tokenizer: PreTrainedTokenizerBase) -> dict[int, str]:
    """The vocabulary with its blanks as blanks (other characters as the tokenizer writes them)."""
    decoder = str(tokenizer.backend_tokenizer.decoder)
    written = _BYTE_LEVEL if "ByteLevel" in decoder else _SENTENCE_PIECE if "▁" in decoder else {}
    added = set(tokenizer.added_tokens_decoder)
    pattern = re.compile("|".join(map(re.escape, written)) or r"(?!)")
    return {
        i: token if i in added else pattern.sub(lambda found: written[found[0]], token)
        for token, i in tokenizer.get_vocab().items()
    }
