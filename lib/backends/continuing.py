"""Continuing many prompts at once with a model of transformers, for all whose attention is plain.

A row of the batch is a slot: it holds one text, and when that ends the next prompt takes its place.
Keys and values lie where they were written, in memory taken once; nothing is copied from step to step.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import Cache, PreTrainedModel
from transformers.cache_utils import CacheLayerMixin

from lib.backends import attention
from lib.backends.drawing import draw, not_yet, uniforms
from lib.backends.packed import pack
from lib.params import Sampling

BATCH = 64  # texts that are written at once
PROMPT_TOKENS = {"cpu": 1024, "cuda": 16384, "mps": 4096}  # of prompts that are read at once
BYTES_OF_CACHE = {"cpu": 4e9, "cuda": 24e9, "mps": 4e9}  # keys and values of all slots, at most
COLUMNS = 64  # of keys and values that are looked at are a multiple of these
ROWS = 8  # and rows of these: so few shapes give a row the same products whatever lies beside it
STEADY = 48  # rows of half precision, from which on they do; of prompts no fewer are read at once
LAYERS = {"full_attention", "sliding_attention"}


@dataclass(frozen=True)
class Row:
    """A prompt as ids; at most `limit` tokens may follow it, drawn by `seed`."""

    number: int
    ids: list[int]
    limit: int
    seed: int


@dataclass
class _Going:
    """A row that is being written."""

    row: Row
    numbers: list[float]
    new: list[int] = field(default_factory=list)


class _Layer(CacheLayerMixin):
    """Keys and values of one layer, [blocks, slots, heads, width, d] each, for blocks × width columns.

    A block lies in one piece, which makes products of it fast; where a model's attention knows of none, all
    columns are one. `reading` are the slots whose prompts are read just now; without them every slot in use
    goes on by one token, in the column `lengths` [slots in use].
    """

    is_sliding = False
    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self, slots: int, columns: int, *, in_blocks: bool) -> None:
        super().__init__()
        self.slots, self.columns, self.in_blocks = slots, columns, in_blocks
        self.width = COLUMNS if in_blocks else columns
        self.reading: torch.Tensor | None = None
        self.lengths = torch.empty(0, dtype=torch.long)
        self.seen = self.zeroed = 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.keys, self.values = (
            states.new_empty(
                self.columns // self.width, self.slots, states.shape[1], self.width, states.shape[3]
            )
            for states in (key_states, value_states)
        )
        self.is_initialized = True

    def look_at(self, columns: int) -> None:
        """The next step looks at so many columns. What lies in them beyond a text must be finite."""
        self.seen = columns
        if self.is_initialized and columns > self.zeroed:
            for block, here, _ in self._pieces(self.zeroed, columns):
                self.keys[block, :, :, here] = 0
                self.values[block, :, :, here] = 0
            self.zeroed = columns

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As transformers calls it, with [rows, heads, n, d]."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.look_at(self.seen)
        if self.reading is not None:
            slots = self.reading.to(self.keys.device)  # a model may lie on several devices
            for block, here, of_prompt in self._pieces(0, key_states.shape[2]):
                self.keys[block, slots, :, here] = key_states[:, :, of_prompt]
                self.values[block, slots, :, here] = value_states[:, :, of_prompt]
            return key_states, value_states
        lengths = self.lengths.to(self.keys.device)
        rows, heads = key_states.shape[:2]
        # The place of each head's new column, with all columns of all heads, slots and blocks in a row.
        slots = torch.arange(rows, device=self.keys.device) + self.slots * (lengths // self.width)
        of_heads = torch.arange(heads, device=self.keys.device) + heads * slots[:, None]
        places = (of_heads * self.width + (lengths % self.width)[:, None]).flatten()
        self.keys.flatten(0, 3).index_copy_(0, places, key_states[:, :, 0].flatten(0, 1))
        self.values.flatten(0, 3).index_copy_(0, places, value_states[:, :, 0].flatten(0, 1))
        return self._looked_at(self.keys, rows), self._looked_at(self.values, rows)

    def _looked_at(self, states: torch.Tensor, rows: int) -> torch.Tensor:
        """[rows, heads, blocks, width, d], or [rows, heads, columns, d]."""
        if self.in_blocks:
            return states[: self.seen // self.width, :rows].permute(1, 2, 0, 3, 4)
        return states[0, :rows, :, : self.seen]

    def _pieces(self, first: int, end: int) -> Iterator[tuple[int, slice, slice]]:
        """Of the columns from `first` to `end`: each block, its columns, and which of all they are."""
        for block in range(first // self.width, -(-end // self.width)):
            start = block * self.width
            low, high = max(first, start), min(end, start + self.width)
            yield block, slice(low - start, high - start), slice(low, high)

    def move(self, source: int, target: int, length: int) -> None:
        for block, here, _ in self._pieces(0, length):
            self.keys[block, target, :, here] = self.keys[block, source, :, here]
            self.values[block, target, :, here] = self.values[block, source, :, here]

    def get_seq_length(self) -> int:
        return 0

    def get_max_length(self) -> int:
        return self.columns

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return query_length, 0


class Continuation:
    """The texts that follow `rows`, as they are finished; `told` hears of each step's new tokens.

    Prompts are read one by one if `apart`, where what is read beside them would change their sums.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        ends: set[int],
        rows: Sequence[Row],
        sampling: Sampling,
        told: Callable[[int], None],
        *,
        apart: bool = False,
    ) -> None:
        self.model, self.ends, self.sampling, self.told = model, ends, sampling, told
        self.waiting = deque(sorted(rows, key=lambda row: len(row.ids)))
        self.columns = _rounded(columns_of(rows), COLUMNS)
        self.half = model.dtype != torch.float32
        self.slots = slots_for(model, self.columns)
        if not self.half:
            self.slots = min(self.slots, _rounded(len(rows), ROWS))
        layers = int(model.config.get_text_config().num_hidden_layers)
        in_blocks = attention.sees_blocks(model)
        self.layers = [_Layer(self.slots, self.columns, in_blocks=in_blocks) for _ in range(layers)]
        self.cache = Cache(layers=self.layers)  # type: ignore[arg-type]
        self.going: list[_Going] = []
        device = model.device
        self.ids = torch.zeros(self.slots, dtype=torch.long, device=device)
        self.lengths = torch.zeros(self.slots, dtype=torch.long, device=device)
        self.at = torch.arange(self.columns, device=device)
        self.read_at_once = 0 if apart else PROMPT_TOKENS[device.type]

    @torch.inference_mode()
    def finished(self) -> Iterator[tuple[Row, list[int]]]:
        """Each row with its new ids, up to and with its end marker."""
        while self.waiting or self.going:
            self._fill()
            early = [len(one.new) < self.sampling.min_tokens for one in self.going]
            drawn = draw(
                not_yet(self._logits(), sorted(self.ends), early),
                torch.tensor([one.numbers[len(one.new)] for one in self.going], dtype=torch.float64),
                self.sampling.temperature,
                self.sampling.top_p,
            )
            count = len(self.going)
            self.ids[:count] = drawn
            self.lengths[:count] += 1
            for one, token in zip(self.going, drawn.tolist(), strict=True):
                one.new.append(token)
            self.told(count)
            for slot in reversed(range(count)):
                one = self.going[slot]
                if one.new[-1] in self.ends or len(one.new) == one.row.limit:
                    self._leave(slot)
                    yield one.row, one.new

    @torch.inference_mode()
    def first(self) -> torch.Tensor:
        """The logits after the prompts of as many rows as there are slots, [rows, v]."""
        self._fill()
        return self._logits()

    @torch.inference_mode()
    def read(self) -> torch.Tensor:
        """The last values of the first prompt, which a block holds, after all that slots hold are read.

        [heads, n, d].
        """
        self._fill()
        return self.layers[-1].values[0, 0, :, : int(self.lengths[0])]

    def _logits(self) -> torch.Tensor:
        """One step of all rows, [rows, v]: each row's last token is read, its next one foretold.

        In half precision a product depends a little on how many rows it has, so there all slots go through
        it, those that are empty, too.
        """
        count = len(self.going)
        rows = self.slots if self.half else min(_rounded(count, ROWS), self.slots)
        lengths = self.lengths[:rows]
        columns = min(_rounded(int(lengths.max()) + 1, COLUMNS), self.columns)
        for layer in self.layers:
            layer.lengths = lengths
            layer.look_at(columns)
        mask = torch.zeros(rows, columns, dtype=self.model.dtype, device=self.model.device)
        mask.masked_fill_(self.at[:columns] > lengths[:, None], -math.inf)
        output = self.model(
            input_ids=self.ids[:rows, None],
            attention_mask=mask[:, None, None],
            position_ids=lengths[:, None],
            past_key_values=self.cache,
            use_cache=True,
        )
        return output.logits[:count, -1]

    def _fill(self) -> None:
        """Give the empty slots to the prompts that wait. All but a prompt's last token is read here."""
        first = len(self.going)
        while self.waiting and len(self.going) < self.slots:
            row = self.waiting.popleft()
            self.going.append(_Going(row, uniforms(row.seed, row.limit).tolist()))
        for some in self._together(range(first, len(self.going))):
            self._read(some)
        for slot in range(first, len(self.going)):
            ids = self.going[slot].row.ids
            self.ids[slot], self.lengths[slot] = ids[-1], len(ids) - 1

    def _together(self, slots: Sequence[int]) -> Iterator[list[int]]:
        """Slots whose prompts are read at once.

        They are of one width: attention's sums depend a little on it, and a prompt's must not depend on
        what is read beside it.
        """
        some: list[int] = []
        before = 0
        for slot in slots:
            width = self._width(self.going[slot].row)
            if width == 0:
                continue
            if some and (width != before or width * (len(some) + 1) > self.read_at_once):
                yield some
                some = []
            some.append(slot)
            before = width
        if some:
            yield some

    def _width(self, row: Row) -> int:
        """The columns that a prompt is read in, all but its last token; 0 if there is nothing to read."""
        length = len(row.ids) - 1
        if length == 0:
            return 0
        return min(_rounded(max(length, STEADY) if self.half else length, ROWS), self.columns)

    def _read(self, slots: Sequence[int]) -> None:
        """Put the keys and values of prompts into `slots`, padded on the right, where nothing looks back."""
        rows = [self.going[slot].row for slot in slots]
        width, longest = self._width(rows[0]), max(len(row.ids) - 1 for row in rows)
        ids = torch.zeros(len(slots), width, dtype=torch.long)
        for i, row in enumerate(rows):
            ids[i, : len(row.ids) - 1] = torch.tensor(row.ids[:-1])
        device = self.model.device
        for layer in self.layers:
            layer.look_at(min(_rounded(width, COLUMNS), self.columns))
            layer.reading = torch.tensor(list(slots), device=device)
        self.model.base_model(
            input_ids=ids.to(device),
            position_ids=torch.arange(width, device=device)[None].clamp(max=longest - 1),
            past_key_values=self.cache,
            use_cache=True,
        )
        for layer in self.layers:
            layer.reading = None

    def _leave(self, slot: int) -> None:
        """Take a row out; the last one moves into its slot, so that those in use stay side by side."""
        last = len(self.going) - 1
        if slot < last:
            length = int(self.lengths[last])
            for layer in self.layers:
                layer.move(last, slot, length)
            self.going[slot] = self.going[last]
            self.ids[slot], self.lengths[slot] = self.ids[last], length
        self.going.pop()
        self.ids[last], self.lengths[last] = 0, 0


def prepare(model: PreTrainedModel) -> None:
    """Give `model` the products and the attention that suit a step of many texts, in place.

    In float32 a row's sums must not depend on how many rows there are; in half precision all slots go
    through every step anyway.
    """
    pack(model, model.dtype, None if model.dtype == torch.float32 else BATCH)
    attention.use(model)


def columns_of(rows: Sequence[Row]) -> int:
    """How long a text becomes with its prompt, at most."""
    return max((len(row.ids) + row.limit for row in rows), default=1)


def slots_for(model: PreTrainedModel, columns: int) -> int:
    """How many texts are written at once, so that their keys and values have room."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    bytes_each = 2 * config.num_hidden_layers * columns * heads * width * model.dtype.itemsize
    return int(max(1, min(BATCH, BYTES_OF_CACHE[model.device.type] // bytes_each)))


def continues(model: PreTrainedModel, columns: int) -> bool:
    """Whether this is how `model` can go on: plain attention of every token to all before it."""
    config = model.config.get_text_config()
    if not model._supports_attention_backend or not getattr(config, "num_attention_heads", None):
        return False
    if not set(getattr(config, "layer_types", None) or LAYERS) <= LAYERS:
        return False
    window = getattr(config, "sliding_window", None)
    return window is None or columns <= window


def _rounded(number: int, step: int) -> int:
    return -(-number // step) * step
