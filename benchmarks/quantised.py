"""Scoring a GGUF file: this project, bare llama_decode, and llama-cpp-python's own completions.

python benchmarks/quantised.py [--texts 200] [--rounds 5] [--seconds 300]

The demo base model as Q8_0, texts of up to 400 tokens; of them the first few for the completions.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from _process import peak_bytes
from _rounds import Benchmark, Column, Ratio, Rounds, arguments

from lib.backends.llama_cpp_context import Context
from lib.backends.llama_cpp_scoring import LlamaCppScoringModel
from lib.backends.scoring import Request
from lib.params import LlamaCpp

FILE = "data/models/tiny-base/q8_0.gguf"
WEIGHTS = LlamaCpp(backend="llama_cpp", file=FILE, context_length=512)
COMPLETIONS = 3  # texts
ENGINES = {
    "llama_decode": "bare `llama_decode`",
    "ours": "this project",
    "create_completion": "`create_completion(echo=True, logprobs=1)`",
}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--texts", type=int, default=200)
    given = parser.parse_args()
    if given.engine:
        print(json.dumps(measured(given.engine, int(given.folder.name))))
        return
    benchmark = Benchmark(
        script=__file__,
        engines=ENGINES,
        columns=[Column("tokens_per_second", "tokens/s"), Column("peak_gb", "peak memory, GB", 2)],
        ratios=[Ratio("ours", "llama_decode", 0.9), Ratio("ours", "create_completion", 20)],
        settings={"texts": given.texts},
        packages=("llama-cpp-python",),
        code=("lib.backends.llama_cpp_scoring",),
    )
    # An engine's process is told the number of texts in place of a folder: there is none.
    Rounds(benchmark, given).measure(dict.fromkeys(ENGINES, Path(str(given.texts))))


def measured(engine: str, count: int) -> dict[str, Any]:
    """The tokens of `count` texts that `engine` scores in a second."""
    scorer = LlamaCppScoringModel(WEIGHTS)
    rng = np.random.default_rng(0)
    size = scorer.model.vocabulary
    texts = [np.array([scorer.bos, *rng.integers(256, size, rng.integers(100, 400))]) for _ in range(count)]
    if engine == "create_completion":
        texts = texts[:COMPLETIONS]
    runs: dict[str, Callable[[], Callable[[], object]]] = {
        "llama_decode": lambda: lambda: decode(scorer.context, texts),
        "ours": lambda: lambda: scorer.score([Request(ids, 1) for ids in texts], entropy=False),
        "create_completion": lambda: completions(scorer, texts),
    }
    run = runs[engine]()
    began = perf_counter()
    run()
    tokens = sum(len(ids) - 1 for ids in texts)
    return {"tokens_per_second": tokens / (perf_counter() - began), "peak_gb": peak_bytes() / 1e9}


def decode(context: Context, texts: Sequence[np.ndarray]) -> None:
    """Every token decoded, with the logits after it, of which nothing is made."""
    for ids in texts:
        context.forget()
        for begin in range(0, len(ids), context.batch_size):
            context.logits(ids[begin : begin + context.batch_size], begin, 0)


def completions(scorer: LlamaCppScoringModel, texts: Sequence[np.ndarray]) -> Callable[[], None]:
    """llama-cpp-python's completions of `texts`, to be run."""
    import llama_cpp

    model = llama_cpp.Llama(FILE, n_ctx=512, logits_all=True, verbose=False)
    spelled = [b"".join(scorer.pieces[i] for i in ids[1:]).decode(errors="replace") for ids in texts]

    def run() -> None:
        for text in spelled:
            model.create_completion(text, echo=True, logprobs=1, max_tokens=1, temperature=0)

    return run


if __name__ == "__main__":
    main()
