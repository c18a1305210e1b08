"""Scoring a GGUF file: this project, bare llama_decode, and llama-cpp-python's own completions.

python benchmarks/quantised.py [--texts 200] [--completions 3] [--rounds 5]

The demo base model as Q8_0, texts of up to 400 tokens; tokens per second, the best of the rounds.
"""

import argparse
from collections.abc import Callable, Sequence
from time import perf_counter

import numpy as np

from lib.backends.llama_cpp_model import LlamaCppModel
from lib.backends.llama_cpp_scoring import LlamaCppScoringModel
from lib.backends.scoring import Request
from lib.params import LlamaCpp

FILE = "data/models/tiny-base/q8_0.gguf"
WEIGHTS = LlamaCpp(backend="llama_cpp", file=FILE, context_length=512)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--completions", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    scorer = LlamaCppScoringModel(WEIGHTS)
    rng = np.random.default_rng(0)
    size = scorer.model.vocabulary
    texts = [
        np.array([scorer.bos, *rng.integers(256, size, rng.integers(100, 400))])
        for _ in range(arguments.texts)
    ]
    requests = [Request(ids, 1) for ids in texts]
    tokens = sum(len(ids) - 1 for ids in texts)

    runs: dict[str, Callable[[], object]] = {
        "llama_decode": lambda: decode(scorer.model, texts),
        "this project": lambda: scorer.score(requests, entropy=False),
    }
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(arguments.rounds):
        for name, run in runs.items():
            began = perf_counter()
            run()
            best[name] = min(best[name], perf_counter() - began)
    speeds = {name: tokens / seconds for name, seconds in best.items()}
    few = texts[: arguments.completions]
    speeds["create_completion"] = sum(map(len, few)) / completions(scorer, few)
    for name, speed in speeds.items():
        print(f"{name:18} {speed:10,.0f} tokens/s")
    ours = speeds["this project"]
    print(f"{ours / speeds['llama_decode']:.2f} of llama_decode (aim: 0.9)")
    print(f"{ours / speeds['create_completion']:.0f} x create_completion (aim: 20)")


def decode(model: LlamaCppModel, texts: Sequence[np.ndarray]) -> None:
    """Every token decoded, with the logits after it, of which nothing is made."""
    for ids in texts:
        model.forget()
        for begin in range(0, len(ids), model.batch_size):
            model.logits(ids[begin : begin + model.batch_size], begin, 0)


def completions(scorer: LlamaCppScoringModel, texts: Sequence[np.ndarray]) -> float:
    """The seconds that the completions of llama-cpp-python take for it."""
    import llama_cpp

    model = llama_cpp.Llama(FILE, n_ctx=512, logits_all=True, verbose=False)
    spelled = [b"".join(scorer.pieces[i] for i in ids[1:]).decode(errors="replace") for ids in texts]
    began = perf_counter()
    for text in spelled:
        model.create_completion(text, echo=True, logprobs=1, max_tokens=1, temperature=0)
    return perf_counter() - began


if __name__ == "__main__":
    main()
