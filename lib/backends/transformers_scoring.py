"""Scoring with a model of the library transformers."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from lib.backends import transformers_models
from lib.backends.scoring import Encoding, Request, Scores, tile
from lib.errors import StudyError
from lib.params import Transformers

TOKENS_PER_BATCH = 4096  # padding included
POSITIONS_PER_CHUNK = 256  # of the head: [chunk, vocabulary] is all that is ever kept of the logits
WHITE_SPACE = ("Ġ", "Ċ", "ĉ", "č", "▁", " ", "\n", "\t", "\r")


class TransformersScoringModel:
    """Reads batches padded on the right; the head runs only where a score is wanted."""

    def __init__(self, weights: Transformers) -> None:
        self.model, self.tokenizer = transformers_models.load(weights)
        if not self.tokenizer.is_fast:
            raise StudyError(
                f"The tokenizer of {weights.model!r} gives no character offsets; "
                f"save it as a fast tokenizer (tokenizer.json) and name that folder."
            )
        bos = self.tokenizer.bos_token_id
        bos = self.tokenizer.eos_token_id if bos is None else bos
        if bos is None:
            raise StudyError(
                f"The tokenizer of {weights.model!r} has neither BOS nor EOS, so the first token of a text "
                f"would have no context; name another scorer."
            )
        self.bos: int = bos
        self.context_length = _context_length(self.model.config)
        self.tokens_per_batch = TOKENS_PER_BATCH
        begins_word = self._word_beginnings()
        self.marks_words = bool(begins_word.any())
        if self.tokenizer.eos_token_id is not None:
            begins_word[self.tokenizer.eos_token_id] = True
        self.begins_word = begins_word.to(self.model.device)

    def encode(self, text: str) -> Encoding:
        """The tokens of `text`, special ones that occur in it taken literally; no BOS is added."""
        if not text:
            return Encoding([], [], [])
        encoded = self.tokenizer(
            text,
            add_special_tokens=False,
            return_offsets_mapping=True,
            split_special_tokens=True,
            verbose=False,
        )
        starts, ends = tile(text, [end for _, end in encoded["offset_mapping"]])
        return Encoding(encoded["input_ids"], starts, ends)

    def score(self, requests: Sequence[Request], *, entropy: bool) -> list[Scores]:
        """See `ScoringModel.score`. A batch that does not fit into memory is halved and tried again."""
        order = sorted(range(len(requests)), key=lambda i: len(requests[i].ids))
        found: dict[int, Scores] = {}
        waiting = list(_batches(order, [len(request.ids) for request in requests], self.tokens_per_batch))
        while waiting:
            batch = waiting.pop(0)
            try:
                scores = self._score_batch([requests[i] for i in batch], entropy=entropy)
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if len(batch) == 1 or "memory" not in str(error).lower():
                    raise
                self.tokens_per_batch = max(self.tokens_per_batch // 2, 1)
                waiting[:0] = [batch[: len(batch) // 2], batch[len(batch) // 2 :]]
                continue
            found.update(zip(batch, scores, strict=True))
        return [found[i] for i in range(len(requests))]

    @torch.inference_mode()
    def _score_batch(self, requests: Sequence[Request], *, entropy: bool) -> list[Scores]:
        device = self.model.device
        longest = max(len(request.ids) for request in requests)
        ids = torch.full((len(requests), longest), self.bos)
        mask = torch.zeros_like(ids)
        for row, request in enumerate(requests):
            ids[row, : len(request.ids)] = torch.tensor(request.ids)
            mask[row, : len(request.ids)] = 1
        hidden = self.model.base_model(
            input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False
        ).last_hidden_state  # [rows, longest, width]

        wanted = [
            (row, position) for row, r in enumerate(requests) for position in range(r.scored, len(r.ids))
        ]
        before = [(row, position) for row, r in enumerate(requests) for position in r.boundaries]
        targets = torch.tensor([requests[row].ids[position] for row, position in wanted])
        surprisal, entropies = self._surprisal(_predicting(hidden, wanted), targets.to(device), entropy)
        boundary = self._boundary(_predicting(hidden, before))

        lengths = [len(r.ids) - r.scored for r in requests]
        cuts, boundary_cuts = np.cumsum(lengths)[:-1], np.cumsum([len(r.boundaries) for r in requests])[:-1]
        per_row = zip(
            np.split(surprisal, cuts),
            np.split(entropies, cuts) if entropies is not None else [None] * len(requests),
            np.split(boundary, boundary_cuts),
            strict=True,
        )
        return [Scores(*row) for row in per_row]

    def _surprisal(
        self, hidden: torch.Tensor, targets: torch.Tensor, entropy: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Bits of each target given its hidden state; logsumexp in float32 whatever the model's dtype."""
        surprisals, entropies = [], []
        for states, chunk in zip(
            hidden.split(POSITIONS_PER_CHUNK), targets.split(POSITIONS_PER_CHUNK), strict=True
        ):
            logits = self._head(states)
            total = logits.logsumexp(dim=-1)
            surprisals.append(total - logits.gather(1, chunk[:, None])[:, 0])
            if entropy:
                entropies.append(total - (torch.softmax(logits, dim=-1) * logits).sum(dim=-1))
        return _bits(surprisals), _bits(entropies) if entropy else None

    def _boundary(self, hidden: torch.Tensor) -> np.ndarray:
        """Bits of "the next token begins a word, or the text ends", given each hidden state."""
        found = []
        for states in hidden.split(POSITIONS_PER_CHUNK):
            logits = self._head(states)
            found.append(logits.logsumexp(dim=-1) - logits[:, self.begins_word].logsumexp(dim=-1))
        return _bits(found)

    def _head(self, states: torch.Tensor) -> torch.Tensor:
        return self.model.get_output_embeddings()(states).float()

    def _word_beginnings(self) -> torch.Tensor:
        """Which entries of the vocabulary [vocabulary] begin with white space."""
        size = self.model.get_output_embeddings().weight.shape[0]
        begins = torch.zeros(size, dtype=torch.bool)
        special = set(self.tokenizer.all_special_ids)
        for token, i in self.tokenizer.get_vocab().items():
            if i < size and i not in special and token.startswith(WHITE_SPACE):
                begins[i] = True
        return begins


def _context_length(config: object) -> int:
    for name in ("max_position_embeddings", "n_positions", "n_ctx"):
        if length := getattr(config, name, None):
            return int(length)
    raise StudyError(
        "The scorer's config.json does not say how many positions it has; set `scoring: window`."
    )


def _batches(order: Sequence[int], lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Groups of `order` whose padded size stays within `tokens`; `lengths` rise along `order`."""
    batch: list[int] = []
    for i in order:
        if batch and (len(batch) + 1) * lengths[i] > tokens:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _predicting(hidden: torch.Tensor, positions: Sequence[tuple[int, int]]) -> torch.Tensor:
    """The hidden states [positions, width] from which the tokens at (row, position) are predicted."""
    if not positions:
        return hidden.new_empty((0, hidden.shape[-1]))
    rows, columns = torch.tensor(positions, device=hidden.device).T
    return hidden[rows, columns - 1]


def _bits(nats: list[torch.Tensor]) -> np.ndarray:
    if not nats:
        return np.empty(0, dtype=np.float32)
    return (torch.cat(nats) / math.log(2)).cpu().numpy()
