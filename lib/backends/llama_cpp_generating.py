"""Texts written by a GGUF file in llama.cpp."""

from collections.abc import Sequence
from functools import cached_property

import torch

from lib.backends import prompts
from lib.backends.drawing import draw, not_yet, uniforms
from lib.backends.generating import UNWATCHED, Completion, Request, Watch
from lib.backends.llama_cpp_model import LlamaCppModel
from lib.params import LlamaCpp, Sampling


class LlamaCppGenerator:
    """Writes one text after the other, so that none depends on what is written beside it."""

    at_once = 8

    def __init__(self, weights: LlamaCpp) -> None:
        self.model = LlamaCppModel(weights, dtype="float16")

    @cached_property
    def ends(self) -> list[int]:
        """Every id that ends a text."""
        return [id_ for id_ in range(self.model.vocabulary) if self.model.is_end(id_)]

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, watch: Watch = UNWATCHED
    ) -> list[Completion]:
        """A completion per request. One that leaves no room in the model's context is an error."""
        completions = []
        for number, request in enumerate(requests):
            completions.append(self._completion(request, sampling, watch))
            watch.text(number, completions[-1])
        return completions

    def _completion(self, request: Request, sampling: Sampling, watch: Watch) -> Completion:
        sent = self._sent(request)
        ids = self._begun(sent, request)
        limit = min(sampling.max_tokens, self.model.context_length - len(ids))
        if limit < 1:
            error = f"the prompt has {len(ids)} tokens and the model's context is {self.model.context_length}"
            return Completion("", sent, 0, None, error=error)
        new = self._continue(ids, limit, request.seed, sampling, watch)
        stopped = self.model.is_end(new[-1])
        written = b"".join(self.model.piece(id_) for id_ in new)
        # What is cut off may end within a character.
        text = written.decode(errors="replace")
        return Completion(
            text if stopped else text.rstrip("\ufffd"), sent, len(new), "stop" if stopped else "length"
        )

    def _begun(self, sent: str, request: Request) -> list[int]:
        """The ids of `sent`, with one BOS before them if the file wants one.

        Special tokens count as such only where a chat template wrote them, not in a prompt.
        """
        begin, prompt, end = prompts.around(sent, request.prompt) if request.chat else ("", sent, "")
        if not request.chat or any(token in prompt for token in self.model.special_texts):
            ids = [
                *self.model.tokens(begin, special=True),
                *self.model.tokens(prompt, within=bool(begin)),
                *self.model.tokens(end, special=True, within=True),
            ]
        else:
            ids = self.model.tokens(sent, special=True)
        return [self.model.bos, *ids] if self.model.adds_bos and ids[:1] != [self.model.bos] else ids

    def _continue(self, ids: list[int], limit: int, seed: int, sampling: Sampling, watch: Watch) -> list[int]:
        """The new ids, up to and with the end marker."""
        self.model.forget()
        numbers = uniforms(seed, limit)
        size = self.model.batch_size
        for begin in range(0, len(ids), size):
            batch = ids[begin : begin + size]
            row = self.model.logits(batch, begin, len(batch) - 1)
        new: list[int] = []
        ends = self.ends if sampling.min_tokens else []
        while True:
            step = len(new)
            drawn = draw(
                not_yet(torch.from_numpy(row), ends, [step < sampling.min_tokens]),
                numbers[step : step + 1],
                sampling.temperature,
                sampling.top_p,
            )
            new.append(int(drawn))
            watch.tokens(1)
            if self.model.is_end(new[-1]) or len(new) == limit:
                return new
            row = self.model.logits(new[-1:], len(ids) + step, 0)

    def _sent(self, request: Request) -> str:
        template = self._template if self.model.chat_template else None
        return prompts.sent(
            request.prompt, request.system_prompt, chat=request.chat, template=template, model=self.model.name
        )

    def _template(self, messages: list[prompts.Message], *, add_generation_prompt: bool) -> str:
        return prompts.rendered(
            self.model.chat_template or "",
            messages,
            add_generation_prompt=add_generation_prompt,
            bos_token=self.model.special_text(self.model.bos),
            eos_token=self.model.special_text(self.model.eos),
        )
