"""Attention in blocks of queries against torch's own, and whole models that read in bfloat16 with it."""

import numpy as np
import pytest
import torch
from torch import nn

from lib.backends.attention import NAME, QUERIES, causal_blocks, of_one_query, products
from lib.backends.engines import open_scoring_model
from lib.backends.kernels import multiplies
from lib.params import Scoring, Transformers
from lib.surprisal.rows import Text, score_rows
from tests.surprisal.test_scoring import FAMILIES, double, oracle, random_model


@pytest.mark.parametrize("n", [1, QUERIES - 1, QUERIES, QUERIES + 1, 3 * QUERIES + 17])
@pytest.mark.parametrize("heads", [4, 2, 1])
@pytest.mark.parametrize("scaling", [None, 0.5])
def test_blocks_of_queries_give_what_torch_gives(n, heads, scaling):
    torch.manual_seed(n)
    query, key, value = (torch.randn(2, h, n, 16) for h in (4, heads, heads))
    expected = nn.functional.scaled_dot_product_attention(
        query, key, value, is_causal=True, scale=scaling, enable_gqa=True
    ).transpose(1, 2)
    found = causal_blocks(query * (scaling or 0.25), key, value)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    query, key, value = query.bfloat16(), key.bfloat16(), value.bfloat16()
    found, _ = products(nn.Module(), query, key, value, None, scaling=scaling)
    torch.testing.assert_close(found.float(), expected, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("heads", [6, 3, 1])
@pytest.mark.parametrize("scaling", [None, 0.5])
@pytest.mark.parametrize("other", [{}, {"cache": "something of its own"}])
def test_one_query_sees_the_keys_of_its_text_in_blocks(heads, scaling, other):
    torch.manual_seed(heads)
    query, key, value = (torch.randn(5, h, *n, 16) for h, n in ((6, [1]), (heads, [3, 8]), (heads, [3, 8])))
    seen = torch.arange(24) < torch.tensor([1, 8, 9, 16, 24])[:, None, None, None]
    mask = torch.zeros(seen.shape).masked_fill(~seen, -torch.inf)
    module = nn.Module()
    module.num_key_value_groups = 6 // heads  # for transformers' own
    found, _ = products(module, query, key, value, mask, scaling=scaling, **other)
    expected = nn.functional.scaled_dot_product_attention(
        query, key.flatten(2, 3), value.flatten(2, 3), seen, scale=scaling, enable_gqa=True
    )
    torch.testing.assert_close(found, expected.transpose(1, 2), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("heads", [(3, 3), (12, 1), (2, 4), (4, 7)])
def test_what_a_query_finds_is_the_same_bits_whatever_is_beside(dtype, heads):
    """Other texts, other threads, more blocks: of keys and queries each."""
    torch.manual_seed(0)
    keys, queries = heads
    query = torch.randn(64, keys * queries, 1, 64).to(dtype)
    key, value = torch.randn(2, 64, keys, 5, 64, 64).to(dtype)
    mask = torch.zeros(64, 1, 1, 5 * 64, dtype=dtype)
    mask[..., 100:] = -torch.inf
    every = (query, key, value, mask)
    expected = of_one_query(*every)
    for rows, first in ((64, 1), (24, 0), (8, 33), (1, 40)):
        some = [tensor.roll(-first, 0)[:rows] for tensor in every]
        assert torch.equal(of_one_query(*some), expected.roll(-first, 0)[:rows])
    fewer = of_one_query(query, key[:, :, :2], value[:, :, :2], mask[..., :128])
    assert torch.equal(fewer, expected)


def test_a_mask_is_obeyed():
    query, key, value = torch.randn(3, 1, 2, QUERIES + 9, 16)
    only_itself = torch.eye(QUERIES + 9, dtype=torch.bool)[None, None]
    found, _ = products(nn.Module(), query, key, value, only_itself)
    torch.testing.assert_close(found, value.transpose(1, 2))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_decoder_family_reads_long_texts_in_bfloat16(family, tmp_path):
    folder = random_model(tmp_path, family)
    model = open_scoring_model(Transformers(backend="transformers", model=str(folder), dtype="bfloat16"))
    in_blocks = model.model.config._attn_implementation == NAME
    assert in_blocks == multiplies(model.model.device, torch.bfloat16)
    texts = ["A longer text, of more than one block of queries. " * 30, "A short one."]
    table = score_rows(model, Scoring(), [Text(t, "", t) for t in texts]).tokens.to_pandas()
    for text in texts:
        own = table[table["doc_id"] == text]
        expected = oracle(double(folder), [model.bos, *own["token_id"]])
        # Weights of bfloat16 have 8 bits, so that single tokens may be a bit off; a wrong mask is tens.
        assert np.abs(own["surprisal"] - expected).mean() < 0.25
