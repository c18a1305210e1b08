"""Texts written by a model of the library transformers, many at once."""

from collections.abc import Iterator, Sequence

import torch
from transformers import DynamicCache

from lib.backends import continuing, memory, transformers_models
from lib.backends.continuing import Continuation, Row
from lib.backends.drawing import draw, not_yet, uniforms
from lib.backends.generating import UNWATCHED, Completion, Request, Watch, why_not
from lib.errors import StudyError
from lib.params import Sampling, Transformers

# What a model raises that cannot be led through a text in this way.
FAULTS = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)


class TransformersGenerator:
    """Writes `continuing.BATCH` texts at once; a finished one's place is taken by the next."""

    at_once = 1024

    def __init__(self, weights: Transformers) -> None:
        self.name = weights.model
        opened = transformers_models.load(weights)
        self.model, self.tokens = opened.model, opened.tokens
        self.context = (
            transformers_models.context_length(self.model.config) or opened.tokens.tokenizer.model_max_length
        )
        weight: torch.Tensor = self.model.get_input_embeddings().weight  # type: ignore[assignment]
        self.vocabulary = len(weight)
        default = getattr(type(self.model.config), "eos_token_id", None)
        self.ends = self.tokens.ends(self.model.generation_config.eos_token_id, default, self.vocabulary)
        self._prepare()

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, watch: Watch = UNWATCHED
    ) -> list[Completion]:
        """A completion per request. One that leaves no room in the model's context is an error."""
        sent = [
            self.tokens.sent(request.prompt, request.system_prompt, chat=request.chat) for request in requests
        ]
        rows, completions = [], dict[int, Completion]()
        for number, (request, text) in enumerate(zip(requests, sent, strict=True)):
            ids = self.tokens.begun(text)
            limit = min(sampling.max_tokens, self.context - len(ids))
            if error := self._why_not(ids):
                completions[number] = Completion("", text, 0, None, error=error)
                watch.text(number, completions[number])
            else:
                rows.append(Row(number, ids, limit, request.seed))
        for row, new in self._finished(rows, sampling, watch):
            completions[row.number] = self._completion(row, new, sent[row.number])
            watch.text(row.number, completions[row.number])
        return [completions[number] for number in range(len(requests))]

    def _why_not(self, ids: list[int]) -> str | None:
        if ids and max(ids) >= self.vocabulary:
            return "the tokenizer makes a token of the prompt that the model does not have"
        return why_not(ids, self.context)

    @torch.inference_mode()
    def _prepare(self) -> None:
        """Pack the model; check it, and how texts are continued, against the model as it was."""
        device, half = self.model.device, self.model.dtype != torch.float32
        ids = torch.arange(8, device=device)
        expected = self.model(ids[None], use_cache=False).logits[0, -1].float()
        for weight in self.model.parameters():
            memory.page_out(weight)  # packing reads them again, one at a time
        continuing.prepare(self.model)
        tolerance = (3e-2 if half else 1e-3) * expected.abs().max().clamp(min=1.0)
        found = self.model(ids[None], use_cache=False).logits[0, -1].float()
        if (found - expected).abs().max() > tolerance:
            raise StudyError(
                f"{self.name!r} does not compute the same with its matrices packed; "
                f"please report it, with the model's name."
            )
        self.plain = continuing.continues(self.model, len(ids))
        if self.plain:
            row = Row(0, ids.tolist(), 1, 0)
            found = (
                Continuation(self.model, set(), [row, row], Sampling(), UNWATCHED.tokens).first()[0].float()
            )
            self.plain = bool((found - expected).abs().max() <= tolerance)
        self.apart = half and self.plain and not self._same_beside_others()
        self._check_written(0.1 if half else 1e-3)

    def _same_beside_others(self) -> bool:
        """Whether a prompt in half precision is read to the same bits alone and beside others."""
        row = Row(0, list(range(8)), 1, 0)
        alone, *beside = (
            Continuation(self.model, set(), [row] * count, Sampling(), UNWATCHED.tokens).read()
            for count in (1, 2, 4)
        )
        return all(torch.equal(alone, found) for found in beside)

    def _check_written(self, tolerance: float) -> None:
        """Raise StudyError unless what is written is what a forward pass foretells that keeps nothing."""
        rows = [Row(0, list(range(8)), 3, 0), Row(1, list(range(5)), 3, 0)]
        refused = (
            f"{self.name!r} ({self.model.config.model_type}) keeps what it has read in a way that step 01 "
            f"does not know; name another model, or ask a server that runs it."
        )
        try:
            written = list(self._finished(rows, Sampling(temperature=0), UNWATCHED))
        except torch.OutOfMemoryError:
            raise
        except FAULTS as error:
            raise StudyError(refused) from error
        for row, new in written:
            ids = torch.tensor([row.ids + new], device=self.model.device)
            logits = self.model(ids, use_cache=False).logits[0, len(row.ids) - 1 : -1].float()
            below = logits.amax(-1) - logits.gather(1, ids[0, len(row.ids) :, None])[:, 0]
            if below.max() > tolerance * logits.abs().max().clamp(min=1.0):
                raise StudyError(refused)

    def _finished(
        self, rows: Sequence[Row], sampling: Sampling, watch: Watch
    ) -> Iterator[tuple[Row, list[int]]]:
        """Each row with its new ids, up to and with its end marker."""
        if self.plain and continuing.continues(self.model, continuing.columns_of(rows)):
            yield from Continuation(
                self.model, self.ends, rows, sampling, watch.tokens, apart=self.apart
            ).finished()
            return
        ordered = sorted(rows, key=lambda row: len(row.ids))
        for first in range(0, len(ordered), continuing.BATCH):
            yield from self._continue(ordered[first : first + continuing.BATCH], sampling, watch)

    @torch.inference_mode()
    def _continue(
        self, rows: Sequence[Row], sampling: Sampling, watch: Watch
    ) -> Iterator[tuple[Row, list[int]]]:
        """As `Continuation`, with the cache that the model itself brings: a batch at a time, in its own way.

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
        numbers = torch.stack([uniforms(row.seed, longest) for row in rows])
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
            early = [step < sampling.min_tokens] * len(going)
            logits = not_yet(output.logits[:, -1], sorted(self.ends), early)
            drawn = draw(logits, numbers[:, step], sampling.temperature, sampling.top_p)
            watch.tokens(len(going))
            for i, token in zip(going, drawn.tolist(), strict=True):
                new[i].append(token)
            kept = [
                k for k, i in enumerate(going) if new[i][-1] not in self.ends and len(new[i]) < rows[i].limit
            ]
            yield from ((rows[i], new[i]) for k, i in enumerate(going) if k not in kept)
            if not kept:
                break
            if len(kept) < len(going):
                rest = torch.tensor(kept, device=device)
                cache.batch_select_indices(rest)
                going = [going[k] for k in kept]
                drawn, mask, positions = drawn[rest], mask[rest], positions[rest]
                numbers = numbers[kept]
            ids = drawn[:, None]
            mask = torch.cat([mask, mask.new_ones(len(going), 1)], dim=1)
            positions = positions[:, -1:] + 1

    def _completion(self, row: Row, new: list[int], sent: str) -> Completion:
        stopped = new[-1] in self.ends
        text = self.tokens.written(row.ids, new, stopped=stopped)
        return Completion(text, sent, len(new), "stop" if stopped else "length")
