"""Attention in blocks of queries against torch's own, and whole models that read in bfloat16 with it."""

import numpy as np
import pytest
import torch
from torch import nn

from lib.backends.attention import NAME, QUERIES, causal_blocks
from lib.backends.engines import open_scoring_model
from lib.backends.kernels import multiplies
from lib.params import Scoring, Transformers
from lib.surprisal.rows import Text, score_rows
from tests.surprisal.test_scoring import FAMILIES, double, oracle, random_model


@pytest.mark.parametrize("n", [1, QUERIES - 1, QUERIES, QUERIES + 1, 3 * QUERIES + 17])
@pytest.mark.parametrize("heads", [4, 2, 1])
@pytest.mark.parametrize("scaling", [None, 0.5])
def test_blocks_give_what_torch_gives(n, heads, scaling):
    torch.manual_seed(n)
    query, key, value = (torch.randn(2, h, n, 16) for h in (4, heads, heads))
    found, _ = causal_blocks(nn.Module(), query, key, value, None, scaling=scaling)
    expected = nn.functional.scaled_dot_product_attention(
        query, key, value, is_causal=True, scale=scaling, enable_gqa=True
    )
    torch.testing.assert_close(found, expected.transpose(1, 2), atol=1e-5, rtol=1e-5)


def test_a_mask_is_obeyed():
    query, key, value = torch.randn(3, 1, 2, QUERIES + 9, 16)
    only_itself = torch.eye(QUERIES + 9, dtype=torch.bool)[None, None]
    found, _ = causal_blocks(nn.Module(), query, key, value, only_itself)
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
