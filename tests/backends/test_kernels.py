"""Which product a matrix gets: chosen by trial, remembered, the same for all who make a file together."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from lib import machine, paths, store
from lib.backends import agreed, kernels
from lib.backends.engines import open_scoring_model
from lib.backends.kernels import OWN, PACKED
from lib.backends.packed import PackedLinear
from lib.backends.scoring import Request
from lib.params import Transformers

MODEL = "data/models/tiny-scorer"
multiplies = pytest.mark.skipif(
    not kernels.multiplies(torch.device("cpu"), torch.float32), reason="oneDNN does not multiply here"
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """A cache of its own for each test."""
    monkeypatch.setattr(machine, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache" / "choices.json"


def seconds(own: float, packed: float) -> dict[str, float]:
    return {OWN: own, PACKED: packed}


@pytest.mark.parametrize(
    ("own", "packed", "kernel"),
    [(1.0, 1.0, PACKED), (0.9, 1.0, PACKED), (0.75, 1.0, OWN), (1.0, 0.5, PACKED)],
)
def test_torchs_own_product_is_taken_only_where_it_is_faster_by_far(own, packed, kernel):
    assert kernels._decided(seconds(own, packed)) == kernel


@multiplies
def test_a_trial_is_made_once_on_a_machine(monkeypatch, cache):
    tried = []

    def times(shape: tuple[int, int], *_: object) -> dict[str, float]:
        tried.append(shape)
        return seconds(0.1, 1.0)

    monkeypatch.setattr(kernels, "_times", times)
    for _ in range(2):
        assert kernels.chosen([(8, 16), (16, 8), (8, 16)], torch.float32, 4) == {(8, 16): OWN, (16, 8): OWN}
    assert sorted(tried) == [(8, 16), (16, 8)]
    kernels.chosen([(8, 16)], torch.float32, 5)
    kernels.chosen([(8, 16)], torch.bfloat16, 4)
    assert len(tried) == 4
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    kernels.chosen([(8, 16)], torch.float32, 4)
    assert len(tried) == 5
    cache.write_text("{")  # cut off by a full disk
    assert kernels.chosen([(8, 16)], torch.float32, 4) == {(8, 16): OWN}


@multiplies
def test_a_trial_is_of_both_kernels_and_large_matrices_are_tried_in_part(monkeypatch):
    monkeypatch.setattr(kernels, "LARGEST", 32)
    found = kernels._times((100_000_000, 100_000_000), torch.float32, 2)
    assert found.keys() == {OWN, PACKED}
    assert all(each > 0 for each in found.values())


def test_a_cache_that_cannot_be_written_is_no_error(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(machine, "cache_folder", lambda: tmp_path / "file" / "below")
    assert agreed.choices(["a"], "here", lambda name: name + "!") == {"a": "a!"}


def test_whoever_makes_a_file_keeps_to_what_the_first_chose(tmp_path):
    """Two nodes with caches of their own, and trials that noise turned round."""
    file = tmp_path / "parts" / "choices.json"
    with agreed.upon(file) as first:
        assert agreed.choices(["a", "b"], "one node", lambda _: PACKED) == {"a": PACKED, "b": PACKED}
    with agreed.upon(file) as second:
        assert agreed.choices(["a"], "another node", lambda _: OWN) == {"a": PACKED}
        assert agreed.choices(["c"], "another node", lambda _: OWN) == {"c": OWN}
    assert (first, second) == ({"a": PACKED, "b": PACKED}, {"a": PACKED, "c": OWN})
    assert json.loads(file.read_text()) == {"a": PACKED, "b": PACKED, "c": OWN}
    assert agreed.choices(["a"], "another node", lambda _: OWN) == {"a": OWN}  # outside of the file


@multiplies
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_scores_are_the_same_by_either_product(monkeypatch, dtype):
    if not kernels.multiplies(torch.device("cpu"), getattr(torch, dtype)):
        pytest.skip("oneDNN does not multiply bfloat16 here")
    ids = torch.randint(1, 4_000, (300,), generator=torch.Generator().manual_seed(0)).numpy()
    found, products = {}, {}
    for kernel in (OWN, PACKED):
        monkeypatch.setattr(kernels, "_decided", lambda _, kernel=kernel: kernel)
        machine.cache_folder().joinpath("choices.json").unlink(missing_ok=True)
        model = open_scoring_model(Transformers(backend="transformers", model=MODEL, dtype=dtype))
        assert any(isinstance(layer, PackedLinear) for layer in model.model.modules()) == (kernel == PACKED)
        (scores,) = model.score([Request(ids, 1)], entropy=False)
        found[kernel], products[kernel] = scores.surprisal, set(model.products.values())
    assert products == {OWN: {OWN}, PACKED: {PACKED}}
    exact = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float64).eval()
    with torch.inference_mode():
        p = exact(torch.from_numpy(ids)[None]).logits[0].log_softmax(-1)
    expected = -p[:-1].gather(1, torch.from_numpy(ids[1:])[:, None])[:, 0].numpy() / 0.6931471805599453
    for scores in found.values():
        if dtype == "float32":
            assert abs(scores - expected).max() < 1e-4
        else:
            assert abs(scores - expected).mean() < 0.05


@multiplies
def test_the_records_of_texts_and_surprisals_say_which_products_made_them(finished_study):
    for file in (paths.surprisals("tiny-scorer", "notes", "human"), paths.texts("notes", "tiny-base")):
        products = store.measured(file)["products"]
        assert products
        assert set(products.values()) <= {OWN, PACKED}
    assert not list(paths.texts("notes", "tiny-base").parent.glob(".*.choices"))
