"""Texts written by a model of the library transformers, many at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import DynamicCache

from lib.backends import prompts, transformers_models
from lib.backends.drawing import draw, uniforms
from lib.backends.generating import Completion, Request
from lib.params import Sampling, Transformers

BATCH = 32


@dataclass(frozen=True)
class _Row:
    """A request as ids: `limit` is how many tokens may follow them."""

    number: int
    ids: list[int]
    limit: int
    seed: int


class TransformersGenerator:
    """Writes in batches of `BATCH` rows of similar length; a finished row leaves its batch."""

    at_once = 2 * BATCH

    def __init__(self, weights: Transformers) -> None:
        self.name = weights.model
        self.opened = transformers_models.load(weights)
        self.model, self.tokenizer = self.opened.model, self.opened.tokenizer
        self.context = (
            getattr(self.model.config, "max_position_embeddings", None) or self.tokenizer.model_max_length
        )
        self.ends = _end_ids(self.model.generation_config.eos_token_id, self.tokenizer.eos_token_id)

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        """A completion per request. One that leaves no room in the model's context is an error."""
        sent = [self._sent(request) for request in requests]
        rows, completions = [], dict[int, Completion]()
        for number, (request, text) in enumerate(zip(requests, sent, strict=True)):
            ids = self.opened.begun(text, request.prompt, chat=request.chat)
            limit = min(sampling.max_tokens, self.context - len(ids))
            if limit < 1:
                error = f"the prompt has {len(ids)} tokens and the model's context is {self.context}"
                completions[number] = Completion("", text, 0, None, error=error)
            else:
                rows.append(_Row(number, ids, limit, request.seed))
        rows.sort(key=lambda row: len(row.ids))
        for first in range(0, len(rows), BATCH):
            batch = rows[first : first + BATCH]
            for row, new in zip(batch, self._continue(batch, sampling), strict=True):
                completions[row.number] = self._completion(row, new, sent[row.number])
        return [completions[number] for number in range(len(requests))]

    def _sent(self, request: Request) -> str:
        template = self._template if self.tokenizer.chat_template else None
        return prompts.sent(
            request.prompt, request.system_prompt, chat=request.chat, template=template, model=self.name
        )

    def _template(self, messages: list[prompts.Message], *, add_generation_prompt: bool) -> str:
        return str(
            self.tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=add_generation_prompt
            )
        )

    @torch.inference_mode()
    def _continue(self, rows: Sequence[_Row], sampling: Sampling) -> list[list[int]]:
        """The new ids of each row, up to and with its end marker.

        Rows are padded on the left, so that all go on at the same column, and their positions
        count from their own first token. Shapes: n rows, w columns of prompts, v entries.
        """
        device = self.model.device
        width, longest = max(len(row.ids) for row in rows), max(row.limit for row in rows)
        ids = torch.zeros(len(rows), width, dtype=torch.long)
        mask = torch.zeros(len(rows), width, dtype=torch.long)
        for i, row in enumerate(rows):
            ids[i, width - len(row.ids) :] = torch.tensor(row.ids)
            mask[i, width - len(row.ids) :] = 1
        ids, mask = ids.to(device), mask.to(device)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        numbers = torch.stack([uniforms(row.seed, longest) for row in rows]).to(device)
        cache = DynamicCache(config=self.model.config)
        new: list[list[int]] = [[] for _ in rows]
        going = list(range(len(rows)))
        for step in range(longest):
            output = self.model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            drawn = draw(output.logits[:, -1], numbers[:, step], sampling.temperature, sampling.top_p)
            for i, token in zip(going, drawn.tolist(), strict=True):
                new[i].append(token)
            kept = [
                k for k, i in enumerate(going) if new[i][-1] not in self.ends and len(new[i]) < rows[i].limit
            ]
            if not kept:
                break
            if len(kept) < len(going):
                rest = torch.tensor(kept, device=device)
                cache.batch_select_indices(rest)
                going = [going[k] for k in kept]
                drawn, mask, positions, numbers = drawn[rest], mask[rest], positions[rest], numbers[rest]
            ids = drawn[:, None]
            mask = torch.cat([mask, mask.new_ones(len(going), 1)], dim=1)
            positions = positions[:, -1:] + 1
        return new

    def _completion(self, row: _Row, new: list[int], sent: str) -> Completion:
        """The text is what the new ids add to the prompt's: decoded alone they may lose a space."""
        stopped = new[-1] in self.ends
        before = self._decoded(row.ids)
        text = self._decoded(row.ids + new).removeprefix(before)
        if not stopped:
            text = text.rstrip("\ufffd")  # a character whose last bytes were not written any more
        return Completion(text, sent, len(new), "stop" if stopped else "length")

    def _decoded(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def _end_ids(*declared: int | list[int] | None) -> set[int]:
    return {i for ids in declared if ids is not None for i in (ids if isinstance(ids, list) else [ids])}
