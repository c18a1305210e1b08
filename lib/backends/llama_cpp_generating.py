"""Texts written by a GGUF file in llama.cpp, several at once."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch

from lib.backends import prompts
from lib.backends.drawing import draw, not_yet, uniforms
from lib.backends.generating import UNWATCHED, Completion, Request, Watch, why_not
from lib.backends.llama_cpp_context import Context
from lib.backends.llama_cpp_model import LlamaCppModel
from lib.errors import StudyError
from lib.params import LlamaCpp, Sampling

SLOTS: tuple[int, ...] = (16, 8, 4, 1)  # texts that are written at once: as many of these as have room
ROWS = 8  # steps of a multiple of so many rows give a row the same bits, as far as is known
TRIED = (1, 2, 3, 4, 5, 6, 12)  # numbers of rows, of which it is tried whether they do, too
ALONE = 256  # from this position on a single row's attention is summed in another way
BYTES_OF_CACHE = 1 << 32  # keys and values of all slots, at most


@dataclass
class Going:
    """A prompt as ids, a number to draw each token that may follow, and those that do."""

    number: int
    ids: list[int]
    numbers: torch.Tensor
    new: list[int] = field(default_factory=list)

    @property
    def last(self) -> int:
        """The token that is read next."""
        return self.new[-1] if self.new else self.ids[-1]

    @property
    def position(self) -> int:
        """Of that token."""
        return len(self.ids) + len(self.new) - 1


class LlamaCppGenerator:
    """Writes up to 16 texts side by side; a finished one's place is taken by the next."""

    at_once = 1024

    def __init__(self, weights: LlamaCpp) -> None:
        self.model = LlamaCppModel(weights)
        self.slots = slots_for(self.model)
        self._context: Context | None = None
        self._multiple = ROWS  # of which a step's rows are one, in this context

    @cached_property
    def ends(self) -> list[int]:
        """Every id that ends a text."""
        return [id_ for id_ in range(self.model.vocabulary) if self.model.is_end(id_)]

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, watch: Watch = UNWATCHED
    ) -> list[Completion]:
        """A completion per request. One that leaves no room in the model's context is an error."""
        sent = [self._sent(request) for request in requests]
        rows, completions = deque[Going](), dict[int, Completion]()
        for number, (request, text) in enumerate(zip(requests, sent, strict=True)):
            ids, most = self._begun(text), self.model.context_length
            limit = min(sampling.max_tokens, most - len(ids))
            if error := why_not(ids, most):
                completions[number] = Completion("", text, 0, None, error=error)
                watch.text(number, completions[number])
            else:
                rows.append(Going(number, ids, uniforms(request.seed, limit)))
        try:
            for row in self.finished(rows, sampling, watch):
                completions[row.number] = self._completion(row.new, sent[row.number])
                watch.text(row.number, completions[row.number])
        except MemoryError as error:
            raise StudyError(
                f"llama.cpp finds no memory to go on with {self.model.name} ({error}); set `context_length` "
                f"lower, or `gpu_layers` where it runs on a GPU."
            ) from error
        return [completions[number] for number in range(len(requests))]

    def _completion(self, new: list[int], sent: str) -> Completion:
        stopped = self.model.is_end(new[-1])
        written = b"".join(self.model.piece(id_) for id_ in new)
        # What is cut off may end within a character.
        text = written.decode(errors="replace")
        return Completion(
            text if stopped else text.rstrip("\ufffd"), sent, len(new), "stop" if stopped else "length"
        )

    def _begun(self, sent: prompts.Sent) -> list[int]:
        """The ids of `sent`, with one BOS before them if the file has one and wants it there."""
        ids, bos = self.model.ids(sent), self.model.own_bos
        return [bos, *ids] if bos is not None and self.model.adds_bos and ids[:1] != [bos] else ids

    def finished(self, waiting: deque[Going], sampling: Sampling, watch: Watch) -> Iterator[Going]:
        """Each row once its text is whole, its end marker included. Those in use are the first slots."""
        if not waiting:
            return
        context = self._room_for(waiting)
        ends = self.ends if sampling.min_tokens else []
        going: list[Going] = []
        while waiting or going:
            while waiting and len(going) < context.sequences:
                going.append(self._read(waiting.popleft(), len(going)))
            steps = [len(row.new) for row in going]
            drawn = draw(
                not_yet(self._logits(going), ends, [step < sampling.min_tokens for step in steps]),
                torch.stack([row.numbers[step] for row, step in zip(going, steps, strict=True)]),
                sampling.temperature,
                sampling.top_p,
            )
            for row, token in zip(going, drawn.tolist(), strict=True):
                row.new.append(token)
            watch.tokens(len(going))
            for slot in reversed(range(len(going))):
                row = going[slot]
                if not self.model.is_end(row.new[-1]) and len(row.new) < len(row.numbers):
                    continue
                if waiting:
                    going[slot] = self._read(waiting.popleft(), slot)
                else:
                    last = going.pop()
                    if slot < len(going):
                        context.move(len(going), slot)
                        going[slot] = last
                yield row

    def _room_for(self, rows: Sequence[Going]) -> Context:
        """A context with a slot for each of `rows`, as far as there may be so many, and room for all."""
        length = max(len(row.ids) + len(row.numbers) for row in rows)
        # Processors multiply a row as they do whatever the number of rows; of GPUs that is not known.
        slots = self.slots if self.model.on_gpu else min(self.slots, _rounded(len(rows), ROWS))
        if self._context is None or self._context.length < length or self._context.sequences < slots:
            self._context = None  # its memory goes before the other's is taken
            self._context = Context(self.model, _rounded(length, 256), slots)
            self._multiple = slots if self.model.on_gpu else fewest_rows(self._context)
        return self._context

    def _read(self, row: Going, slot: int) -> Going:
        """Put the keys and values of all but a prompt's last token into `slot`."""
        context, ids = self._context, row.ids[:-1]
        assert context is not None
        context.forget(slot)
        for begin in range(0, len(ids), context.batch_size):
            some = ids[begin : begin + context.batch_size]
            context.logits(some, begin, len(some), slot)
        return row

    def _logits(self, going: Sequence[Going]) -> torch.Tensor:
        """One step of all rows, [rows, v]: the last token of each is read, its next one foretold.

        Slots that are empty take part where too few rows would give each other bits.
        """
        context = self._context
        assert context is not None
        rows = _rounded(len(going), self._multiple)
        if rows == 1 < context.sequences and going[0].position >= ALONE:
            rows = 2
        for slot in range(len(going), rows):
            context.forget(slot)
        empty = rows - len(going)
        ids = [*(row.last for row in going), *[self.model.bos] * empty]
        positions = [*(row.position for row in going), *[0] * empty]
        return torch.from_numpy(context.step(ids, positions)[: len(going)])

    def _sent(self, request: Request) -> prompts.Sent:
        template = self._template if self.model.chat_template else None
        return prompts.sent(
            request.prompt, request.system_prompt, chat=request.chat, template=template, model=self.model.name
        )

    def _template(self, messages: list[prompts.Message], *, add_generation_prompt: bool) -> str:
        return prompts.rendered(
            self.model.chat_template or "",
            messages,
            add_generation_prompt=add_generation_prompt,
            bos_token=self.model.special_text(self.model.own_bos),
            eos_token=self.model.special_text(self.model.eos),
        )


def fewest_rows(context: Context) -> int:
    """The number, at most `ROWS`, of whose multiples a step must be for its rows to be the same in all.

    Found by trial, for llama.cpp has products of its own for every kind of weights and of processor, some of
    which take several rows at once. The more empty rows a step can do without, the faster is a single text.
    """
    most, tried = min(ROWS, context.sequences), [rows for rows in TRIED if rows < context.sequences]
    ids = (np.arange(2 * context.sequences) * 7919 % context.opened.vocabulary).reshape(-1, 2).tolist()

    def step(rows: int) -> np.ndarray:
        for slot in range(rows):
            context.forget(slot)
            context.logits(ids[slot][:1], 0, 1, slot)
        return context.step([second for _, second in ids[:rows]], [1] * rows).copy()

    whole = step(most)
    other = {rows for rows in tried if not np.array_equal(step(rows)[:most], whole[:rows])}
    alike = (rows for rows in (1, 2, 4) if rows < most and not any(each % rows == 0 for each in other))
    return next(alike, most)


def slots_for(model: LlamaCppModel) -> int:
    """How many texts are written at once, so that their keys and values have room.

    What is asked does not count, the declared `context_length` does: the same weights always have as many.
    """
    room = BYTES_OF_CACHE // (model.bytes_of_a_position * model.context_length)
    return next((slots for slots in SLOTS if slots <= room), SLOTS[-1])


def _rounded(number: int, step: int) -> int:
    return -(-number // step) * step
