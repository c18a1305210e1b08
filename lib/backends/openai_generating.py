"""Texts written by a model behind an OpenAI-compatible server: LM Studio, vLLM, llama.cpp and others."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from time import perf_counter
from typing import Any, NamedTuple

from lib.backends import prompts
from lib.backends.generating import UNWATCHED, Completion, Request, Watch
from lib.backends.openai_client import EmptyAnswerError, Server
from lib.errors import StudyError
from lib.params import OpenAI, Sampling


class _Written(NamedTuple):
    text: str
    tokens: int
    finish_reason: str


class ServerGenerator:
    """Asks for `concurrency` texts at a time. A text that cannot be had is a completion with an error."""

    def __init__(self, weights: OpenAI) -> None:
        self.server = Server(weights)
        self.model = weights.model
        self.concurrency = weights.concurrency
        self.at_once = 4 * weights.concurrency

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, watch: Watch = UNWATCHED
    ) -> list[Completion]:
        """A completion per request. Raises StudyError if the server refuses every text."""
        if sampling.min_tokens:
            raise StudyError(
                "A model behind a server cannot be kept from ending a text; take `min_tokens` out of its "
                "`sampling`."
            )
        with ThreadPoolExecutor(self.concurrency) as pool:
            asked = [pool.submit(self._completion, request, sampling) for request in requests]
            numbers = {one: number for number, one in enumerate(asked)}
            try:
                for one in as_completed(asked):
                    watch.tokens(one.result().tokens)
                    watch.text(numbers[one], one.result())
                return [one.result() for one in asked]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _completion(self, request: Request, sampling: Sampling) -> Completion:
        settings = {
            "model": self.model,
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": request.seed,
        }
        began = perf_counter()
        if request.chat:
            messages = prompts.conversation(request.prompt, request.system_prompt)
            sent = json.dumps(messages, ensure_ascii=False)  # the server puts them into its template
            asked = self.server.ask(
                lambda client: _chat_answer(client.chat.completions.create(messages=messages, **settings)),
                max_retries=sampling.max_retries,
            )
        else:
            sent = prompts.raw(request.prompt, request.system_prompt)
            asked = self.server.ask(
                lambda client: _answer(client.completions.create(prompt=sent, **settings)),
                max_retries=sampling.max_retries,
            )
        seconds = perf_counter() - began
        if asked.error:
            return Completion("", sent, 0, None, seconds, asked.retries, asked.error)
        written: _Written = asked.answer
        if written.finish_reason == "stop":
            return Completion(written.text, sent, written.tokens, "stop", seconds, asked.retries)
        if written.finish_reason == "length":
            text = written.text.rstrip("\ufffd")  # cut off within a character
            return Completion(text, sent, written.tokens, "length", seconds, asked.retries)
        error = f"the server ended the text for another reason: {written.finish_reason}"
        return Completion("", sent, written.tokens, None, seconds, asked.retries, error)


def _answer(completion: Any) -> _Written:
    choice = _first_choice(completion)
    return _written(choice.text, choice, completion)


def _chat_answer(completion: Any) -> _Written:
    choice = _first_choice(completion)
    return _written(getattr(choice.message, "content", None), choice, completion)


def _first_choice(completion: Any) -> Any:
    choices = getattr(completion, "choices", None)
    if not choices:
        raise EmptyAnswerError("the server's answer has no choice")
    return choices[0]


def _written(text: Any, choice: Any, completion: Any) -> _Written:
    if not isinstance(text, str):
        raise EmptyAnswerError("the server's answer has no text")
    usage = getattr(completion, "usage", None)
    return _Written(text, getattr(usage, "completion_tokens", 0) or 0, choice.finish_reason or "stop")
