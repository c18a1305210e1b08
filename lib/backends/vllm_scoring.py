"""Scoring by a model that vLLM serves: the log-probabilities of a prompt's tokens.

Prompt and text are made into tokens here, so they tile the text and BOS stands there once. vLLM gives each
token's log-probability and rank; it gives no entropy and no sums over the vocabulary, so no words.
"""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from lib.backends import vllm_server
from lib.backends.openai_client import EmptyAnswerError, first_choice, part
from lib.backends.openai_scoring import is_logprob
from lib.backends.prompts import Sent
from lib.backends.scoring import Encoding, Request, Scores
from lib.backends.vllm_client import Served
from lib.backends.windowed import WindowedReader
from lib.errors import StudyError
from lib.params import Scoring, Vllm

MAX_RETRIES = 3
LEAST = -9_000.0  # what vLLM gives in place of minus infinity is below


class VllmScoringModel(WindowedReader):
    """Asks for `concurrency` readings at a time."""

    parameters: int | None = None
    word_begins = None
    why_no_words: str | None = (
        "vLLM does not say how probable the end of a word is, so words have no surprisal."
    )

    def __init__(self, weights: Vllm) -> None:
        self.served = Served(weights)
        self.served.tokens.check_offsets()
        self.concurrency = weights.concurrency
        self.vocabulary = int(self.served.config.get_text_config().vocab_size)
        self.context_length = self.served.lease.longest - 1  # vLLM writes one token more
        self.bos = self.served.tokens.bos(self.vocabulary)

    def described(self, scoring: Scoring) -> dict[str, Any]:
        """See `Reader.described`: what `WindowedReader` says, vLLM's version and where it ran."""
        where = {"device": vllm_server.device(), "vllm": vllm_server.version()}
        return {**super().described(scoring), **where}

    def encode(self, texts: Sequence[str], after: Sequence[str] | None = None) -> list[Encoding]:
        """See `WindowedReader.encode`."""
        return self.served.tokens.encode(texts, after)

    def ids(self, sent: Sent) -> list[int]:
        """See `WindowedReader.ids`."""
        return self.served.tokens.ids(sent)

    def score(self, requests: Sequence[Request], *, entropy: bool) -> list[Scores | None]:
        """See `WindowedReader.score`. Raises StudyError if the server gives no answer to one."""
        if entropy:
            raise StudyError("A scorer behind vLLM gives no entropy; take `entropy` out of its `scoring`.")
        with ThreadPoolExecutor(self.concurrency) as pool:
            return list(pool.map(self._scores, requests))

    def _scores(self, request: Request) -> Scores:
        ids = request.ids.tolist()
        asked = self.served.server.ask(
            lambda client: _ranked(
                client.completions.create(
                    model=self.served.server.weights.model,
                    prompt=ids,
                    max_tokens=1,
                    temperature=0,
                    extra_body={"prompt_logprobs": 0, "add_special_tokens": False},
                ),
                ids,
                request.scored,
            ),
            max_retries=MAX_RETRIES,
        )
        if asked.error:
            self.served.lease.check()
            raise StudyError(f"The vLLM server cannot score a text: {asked.error}.")
        found = np.asarray(asked.answer)
        surprisal = np.maximum(-found[:, 0] / math.log(2), 0.0)
        return Scores(surprisal, found[:, 1].astype(np.int32), None, None)


def _ranked(completion: Any, ids: list[int], scored: int) -> list[tuple[float, int]]:
    """The log-probability and the rank of each of `ids` from `scored` on."""
    given = part(first_choice(completion), "prompt_logprobs")
    if not isinstance(given, list) or len(given) != len(ids):
        raise EmptyAnswerError("the answer has not as many log-probabilities as tokens")
    found = []
    for token, told in zip(ids[scored:], given[scored:], strict=True):
        own = part(told, str(token))
        value, rank = part(own, "logprob"), part(own, "rank")
        if not is_logprob(value) or value <= LEAST or not isinstance(rank, int):
            raise EmptyAnswerError(f"the answer gives the token {token} no log-probability, but {own}")
        found.append((float(value), rank))
    return found
