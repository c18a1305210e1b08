"""Writing with transformers: many prompts at once against one at a time, the same texts.

python benchmarks/generating.py [--prompts 64] [--tokens 128]
"""

import argparse
from time import perf_counter

from lib.backends import continuing
from lib.backends.generating import Request, open_generator
from lib.params import Sampling, Transformers

MODEL = Transformers(backend="transformers", model="data/models/tiny-base")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=128)
    arguments = parser.parse_args()
    speeds = {}
    for name, batch in (("one at a time", 1), ("batches", continuing.BATCH)):
        tokens, seconds = write(batch, arguments.prompts, arguments.tokens)
        speeds[name] = tokens / seconds
        print(f"{name:15} {speeds[name]:8,.0f} tokens/s")
    print(f"{speeds['batches'] / speeds['one at a time']:.1f} x one at a time (aim: 4)")


def write(batch: int, prompts: int, tokens: int) -> tuple[int, float]:
    """The tokens written, and the seconds that it took."""
    continuing.BATCH = batch
    generator = open_generator(MODEL)
    requests = [
        Request(f"module.function_{i}\n\nReturn the value" + " of it" * (i % 9), i) for i in range(prompts)
    ]
    generator.generate(requests[:2], Sampling(max_tokens=8))
    began = perf_counter()
    completions = generator.generate(requests, Sampling(max_tokens=tokens))
    return sum(completion.tokens for completion in completions), perf_counter() - began


if __name__ == "__main__":
    main()
