"""Texts written by a model that vLLM serves.

The prompt is made into tokens here, as for a model that runs here: one BOS, the chat template of the
tokenizer with its date, special tokens of a prompt as characters. vLLM draws from the request's seed; what
it draws depends, in the last digits of its sums, on what else is in its batch.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lib.backends.generating import UNWATCHED, Completion, Request, Watch, why_not
from lib.backends.openai_client import EmptyAnswerError, first_choice, part
from lib.backends.openai_generating import completions
from lib.backends.vllm_client import Served
from lib.params import Sampling, Vllm


class VllmGenerator:
    """Asks for `concurrency` texts at a time, which vLLM writes in one batch, a new one as one ends."""

    def __init__(self, weights: Vllm) -> None:
        self.served = Served(weights)
        self.concurrency = weights.concurrency
        self.at_once = max(1024, 16 * weights.concurrency)

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, watch: Watch = UNWATCHED
    ) -> list[Completion]:
        """A completion per request. Raises StudyError if the server has ended."""
        with ThreadPoolExecutor(self.concurrency) as pool:
            return completions(pool, lambda request: self._completion(request, sampling), requests, watch)

    def _completion(self, request: Request, sampling: Sampling) -> Completion:
        tokens = self.served.tokens
        sent = tokens.sent(request.prompt, request.system_prompt, chat=request.chat)
        ids = tokens.begun(sent)
        limit = min(sampling.max_tokens, self.served.lease.longest - len(ids))
        if error := why_not(ids, self.served.lease.longest):
            return Completion("", sent, 0, None, error=error)
        asked = self.served.server.ask(
            lambda client: _answer(
                client.completions.create(
                    model=self.served.server.weights.model,
                    prompt=ids,
                    max_tokens=limit,
                    temperature=sampling.temperature,
                    top_p=sampling.top_p,
                    seed=request.seed,
                    extra_body={
                        "min_tokens": min(sampling.min_tokens, limit),
                        "stop_token_ids": self.served.ends,
                        "return_token_ids": True,
                        "add_special_tokens": False,
                    },
                )
            ),
            max_retries=sampling.max_retries,
        )
        if asked.error:
            self.served.lease.check()
            return Completion("", sent, 0, None, None, asked.retries, asked.error)
        new, reason = asked.answer
        stopped = reason == "stop"
        text = tokens.written(ids, new, stopped=stopped)
        return Completion(text, sent, len(new), "stop" if stopped else "length", None, asked.retries)


def _answer(completion: Any) -> tuple[list[int], str]:
    choice = first_choice(completion)
    new, reason = part(choice, "token_ids"), part(choice, "finish_reason")
    if not isinstance(new, list) or not new or reason not in ("stop", "length"):
        raise EmptyAnswerError(f"the server's answer has no tokens, or no end ({reason})")
    return new, reason
