"""A vLLM server that a study starts, beside transformers: speed, and how far surprisal is from float32's.

VLLM=~/vllm/bin/vllm python benchmarks/served.py [--model data/models/tiny-base] [--texts 64] [--tokens 128]

The model writes `--texts` texts of `--tokens` tokens, so many at a time, and reads what was written. Both
engines have the processors that this process has.
"""

import argparse
import socket
from collections.abc import Sequence
from time import perf_counter

import numpy as np

from lib import paths
from lib.backends import vllm_server
from lib.backends.engines import open_generator, open_scoring_model
from lib.backends.generating import Completion, Request
from lib.backends.scoring import Reading
from lib.params import Sampling, Scoring, Transformers, Vllm

PROMPTS = [
    f"The {word} of the array is returned as" for word in ("sum", "shape", "type", "mean", "rest", "first")
]


def written(weights: Transformers | Vllm, texts: int, tokens: int) -> tuple[float, list[Completion]]:
    """Tokens per second, opening aside, and what was written."""
    generator = open_generator(weights)
    sampling = Sampling(max_tokens=tokens, min_tokens=tokens)
    requests = [Request(PROMPTS[seed % len(PROMPTS)], seed) for seed in range(texts)]
    generator.generate(requests[:2], Sampling(max_tokens=8))
    begun = perf_counter()
    found = generator.generate(requests, sampling)
    return sum(each.tokens for each in found) / (perf_counter() - begun), found


def read(weights: Transformers | Vllm, texts: Sequence[tuple[str, str]]) -> tuple[float, np.ndarray]:
    """Tokens per second, opening aside, and bits."""
    model = open_scoring_model(weights)
    model.read(texts[:2], Scoring())
    begun = perf_counter()
    found = [each for each in model.read(texts, Scoring()) if isinstance(each, Reading)]
    seconds = perf_counter() - begun
    bits = np.concatenate([each.surprisal for each in found])
    return len(bits) / seconds, bits


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="data/models/tiny-base")
    parser.add_argument("--texts", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    given = parser.parse_args()
    exact = Transformers(backend="transformers", model=given.model)
    speed, found = written(exact, given.texts, given.tokens)
    texts = [(PROMPTS[n % len(PROMPTS)], each.text) for n, each in enumerate(found)]
    reads, expected = read(exact, texts)
    print(
        "| engine | writes, tokens/s | reads, tokens/s | from float32, bits: mean, most |\n|---|---|---|---|"
    )
    print(f"| transformers, float32 | {speed:,.0f} | {reads:,.0f} | – |", flush=True)
    state = paths.server_state(socket.gethostname(), vllm_server.device())
    for dtype in given.dtypes:
        for number in given.concurrency if dtype == "float32" else given.concurrency[-1:]:
            weights = Vllm(backend="vllm", model=given.model, dtype=dtype, concurrency=number)
            begun = perf_counter()
            lease = vllm_server.use(weights)
            starts = perf_counter() - begun
            speed, _ = written(weights, given.texts, given.tokens)
            reads, bits = read(weights, texts)
            apart = np.abs(bits - expected)
            print(
                f"| vLLM, {dtype}, {number} at once (starts in {starts:.0f} s) | {speed:,.0f} | {reads:,.0f} "
                f"| {apart.mean():.4f}, {apart.max():.3f} |",
                flush=True,
            )
            del lease
            vllm_server.end(state)


if __name__ == "__main__":
    main()
