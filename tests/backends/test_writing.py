"""Writing with transformers: draws against a plain sort, and texts that nothing beside them changes."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from lib.backends import continuing
from lib.backends.continuing import Continuation, Row
from lib.backends.drawing import draw
from lib.backends.engines import open_generator
from lib.backends.generating import Completion, Request, Watch
from lib.params import Sampling, Transformers

MODEL = "data/models/tiny-base"


def sorted_draw(logits: torch.Tensor, numbers: torch.Tensor, temperature: float, top_p: float) -> list[int]:
    """The definition: probabilities in float64, sorted, cut off, added up one by one."""
    found = []
    for row, number in zip(logits.double() / temperature, numbers.tolist(), strict=True):
        p, ids = row.softmax(-1).sort(descending=True, stable=True)
        if top_p == 1:
            p, ids = row.softmax(-1), torch.arange(len(row))
        p = p.where(p.cumsum(-1) - p < top_p, 0.0)
        ends = p.cumsum(-1)
        found.append(int(ids[torch.searchsorted(ends, number * ends[-1], right=True)]))
    return found


@pytest.mark.parametrize("top_p", [1e-9, 0.3, 0.95, 0.9999, 1.0])
@pytest.mark.parametrize("spread", [0.01, 1.0, 4.0])  # nuclei of all entries, of many, of few
def test_a_draw_is_that_of_a_sorted_vocabulary(top_p, spread):
    chance = torch.Generator().manual_seed(1)
    logits = spread * torch.randn(16, 5_003, generator=chance)
    numbers = torch.rand(16, generator=chance, dtype=torch.float64)
    assert draw(logits, numbers, 0.9, top_p).tolist() == sorted_draw(logits, numbers, 0.9, top_p)


def test_equal_logits_come_in_the_order_of_the_vocabulary():
    logits = torch.randn(1, 2_000, generator=torch.Generator().manual_seed(2)).round().repeat(50, 1)
    numbers = (torch.arange(50, dtype=torch.float64) + 0.5) / 50
    assert draw(logits, numbers, 1.0, 0.9).tolist() == sorted_draw(logits, numbers, 1.0, 0.9)


@pytest.mark.parametrize("beside", [0, 5, 70])
def test_half_precision_writes_the_same_whatever_is_beside(beside):
    generator = open_generator(Transformers(backend="transformers", model=MODEL, dtype="bfloat16"))
    sampling = Sampling(max_tokens=12, top_p=0.95)
    mine = [Request(f"Part {i} of the list" * (1 + i), seed=i) for i in range(3)]
    others = [Request(f"Another {i}" * (1 + i % 7), seed=i) for i in range(beside)]
    expected = [completion.text for completion in generator.generate(mine, sampling)]
    found = generator.generate([*others, *mine], sampling)
    assert [completion.text for completion in found[beside:]] == expected


def test_prompts_that_others_would_change_are_read_one_by_one(monkeypatch):
    generator = open_generator(Transformers(backend="transformers", model=MODEL, dtype="bfloat16"))
    rows = [Row(i, list(range(20, 40 + i)), 1, seed=i) for i in range(6)]  # of one width in half precision
    read: list[int] = []
    plain = Continuation._read

    def counted(self: Continuation, slots: list[int]) -> None:
        read.append(len(slots))
        plain(self, slots)

    monkeypatch.setattr(Continuation, "_read", counted)
    for apart, expected in ((False, [6]), (True, [1] * 6)):
        read.clear()
        Continuation(generator.model, set(), rows, Sampling(), lambda count: None, apart=apart).first()
        assert read == expected
    monkeypatch.setattr(torch, "equal", lambda *_: False)  # a processor on which sums depend on their number
    generator._prepare()
    assert generator.apart


def test_the_most_probable_tokens_are_those_of_a_plain_forward(monkeypatch):
    """Nothing kept, nothing padded, nothing packed: the whole text is read anew for every token."""
    monkeypatch.setattr(continuing, "BATCH", 2)  # so that places are taken over
    generator = open_generator(Transformers(backend="transformers", model=MODEL))
    rows = [Row(i, list(range(20, 22 + 3 * i)), 6 + i, seed=i) for i in range(5)]
    told: list[int] = []
    written = Continuation(generator.model, set(), rows, Sampling(temperature=0), told.append)
    found = {row.number: new for row, new in written.finished()}
    plain = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32).eval()
    for row in rows:
        ids = list(row.ids)
        with torch.inference_mode():
            for _ in range(row.limit):
                ids.append(int(plain(torch.tensor([ids])).logits[0, -1].argmax()))
        assert found[row.number] == ids[len(row.ids) :]
    assert sum(told) == sum(row.limit for row in rows)


def test_whoever_watches_hears_of_a_text_before_the_last_is_there():
    generator = open_generator(Transformers(backend="transformers", model=MODEL))
    heard: dict[int, Completion] = {}
    missing: list[int] = []
    tokens: list[int] = []

    def hear(number: int, completion: Completion) -> None:
        heard[number] = completion
        missing.append(70 - len(heard))

    requests = [Request("A list is", seed=i) for i in range(70)]
    made = generator.generate(requests, Sampling(max_tokens=5), Watch(tokens.append, hear))
    assert [heard[number] for number in range(70)] == made
    assert missing == list(reversed(range(70)))
    assert sum(tokens) == sum(completion.tokens for completion in made)


def test_a_window_that_texts_outgrow_is_left_to_the_model_itself():
    model = open_generator(Transformers(backend="transformers", model=MODEL)).model
    model.config.sliding_window = 64
    assert continuing.continues(model, 64)
    assert not continuing.continues(model, 65)


@pytest.mark.parametrize(
    ("dtype", "threads"), [("float32", 1), ("float32", 2), ("bfloat16", 2)], indirect=["threads"]
)
def test_a_text_is_the_same_whatever_is_written_beside_it(dtype, threads, monkeypatch):
    """With one thread, as jobs of small models have, to the last bit: shards write the bytes of one job."""
    chance = torch.Generator().manual_seed(0)
    lengths = torch.randint(2, 120, (80,), generator=chance).tolist()
    ids = [torch.randint(10, 4000, (length,), generator=chance).tolist() for length in lengths]
    rows = [Row(number, each, 2 + number % 4, number) for number, each in enumerate(ids)]
    generator = open_generator(Transformers(backend="transformers", model=MODEL, dtype=dtype))
    plain = Continuation._logits

    def written(of: list[Row]) -> tuple[dict[int, list[int]], dict[int, list[torch.Tensor]]]:
        seen: dict[int, list[torch.Tensor]] = {row.number: [] for row in of}

        def kept(self: Continuation) -> torch.Tensor:
            logits = plain(self)
            for one, each in zip(self.going, logits, strict=True):
                seen[one.row.number].append(each)
            return logits

        monkeypatch.setattr(Continuation, "_logits", kept)
        some = Continuation(generator.model, set(), of, Sampling(), lambda count: None, apart=generator.apart)
        return {row.number: new for row, new in some.finished()}, seen

    texts, whole = written(rows)
    assert len(texts) == len(rows)
    for step in (2, 3, 5):
        some, seen = written(rows[1::step])
        assert some == {row.number: texts[row.number] for row in rows[1::step]}
        for number, logits in seen.items() if threads == 1 else ():
            assert all(map(torch.equal, logits, whole[number])), (step, number)
