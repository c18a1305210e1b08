"""How fast step 02 is, and how lean: this project, its peers, and the bare matrix products.

python benchmarks/scoring.py [--texts 20] [--rounds 5] [--seconds 300] [--engines floor ours minicons …]

The model has the shape of GPT-2 small and random weights; the texts have lengths like the
original's articles. Engines that are not installed are left out (`make bench` installs them). The floor
is the machine's: for each matrix the faster of torch's own product and of oneDNN's with packed weights.
"""

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from _process import peak_bytes
from _rounds import Benchmark, Column, Limit, Ratio, Rounds, arguments

REPOSITORY = Path(__file__).resolve().parents[1]
ARTICLES = {
    "floor": "the bare products, float32",
    "ours": "this project, float32",
    "floor_bfloat16": "the bare products, bfloat16",
    "ours_bfloat16": "this project, bfloat16 (float32 is opened beside it, to measure the deviation)",
    "minicons": "minicons",
    "surprisal": "surprisal",
    "original": "the original study's algorithm",
}
SHORT = {
    "short_floor": "short texts: the bare products",
    "short_ours": "short texts: this project",
    "short_ours_tenfold": "short texts: this project, ten times as many",
    "short_one_by_one": "short texts: one by one with transformers, float32",
}
RATIOS = (
    Ratio("ours", "floor", 0.85),
    Ratio("ours", "minicons", 1.3),
    Ratio("ours", "surprisal", 1.3),
    Ratio("ours", "original", 2.5),
    Ratio("ours_bfloat16", "floor_bfloat16", 0.7),
    Ratio("ours_bfloat16", "ours"),
    Ratio("short_ours", "short_floor", 0.7),
    Ratio("short_ours_tenfold", "short_floor", 0.7),
    Ratio("short_ours", "short_one_by_one"),
    Ratio("short_floor", "short_one_by_one"),
)
PROFILED = ("ours", "ours_bfloat16", "short_ours", "short_ours_tenfold")
PEER_BATCH = 8  # texts; each peer was fastest there among 1, 4, 8 and 20
VOCABULARY = 50_257
FLOOR_ROWS, FLOOR_HEAD_ROWS = 1024, 256


# What is measured.


def floor(folder: Path, dtype: str = "float32") -> dict[str, Any]:
    """The products with every weight matrix, 1,024 tokens at a time, the head's 256, and nothing else."""
    import torch
    from _floor import seconds_of
    from transformers import AutoModelForCausalLM
    from transformers.pytorch_utils import Conv1D

    model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=getattr(torch, dtype))
    layers = [layer for layer in model.base_model.modules() if isinstance(layer, torch.nn.Linear | Conv1D)]
    matrices = [layer.weight.T if isinstance(layer, Conv1D) else layer.weight for layer in layers]
    seconds, shapes = seconds_of([(matrix, FLOOR_ROWS) for matrix in matrices])
    head, of_head = seconds_of([(model.get_output_embeddings().weight, FLOOR_HEAD_ROWS)])
    each = seconds / FLOOR_ROWS + head / FLOOR_HEAD_ROWS
    return {"tokens_per_second": 1 / each, "microseconds": shapes | of_head}


def ours(folder: Path, scorer: str = "gpt2-shape") -> tuple[int, Callable[[], float]]:
    """Step 02 from the file of texts to the files of tokens and words."""
    os.environ["STUDY_ROOT"] = str(folder)
    from lib.params.run import resolve
    from lib.surprisal.scoring import score_texts

    run = resolve("02_surprisal", {"model": "human", "study": "bench", "scorer": scorer, "regenerate": True})
    count = sum(map(len, _ids(folder)))
    return count, lambda: score_texts(run).seconds


def minicons(folder: Path) -> tuple[int, Callable[[], None]]:
    from minicons import scorer

    model = scorer.IncrementalLMScorer(str(folder / "model"), "cpu")
    texts = _texts(folder)

    def run() -> None:
        for batch in _batches(texts):
            model.token_score(batch, surprisal=True, base_two=True, bos_token=True)

    return sum(map(len, _ids(folder))), run


def surprisal(folder: Path) -> tuple[int, Callable[[], None]]:
    from surprisal import AutoHuggingFaceModel

    model = AutoHuggingFaceModel.from_pretrained(str(folder / "model"), model_class="gpt")
    texts = _texts(folder)

    def run() -> None:
        for batch in _batches(texts):
            model.surprise(list(batch))

    return sum(map(len, _ids(folder))), run


def original(folder: Path) -> tuple[int, Callable[[], None]]:
    """The algorithm of the original study: batches of 20 padded to 1,024, a softmax over everything."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder / "model").eval()
    texts = _ids(folder)

    @torch.inference_mode()
    def run() -> None:
        for first in range(0, len(texts), 20):
            batch = texts[first : first + 20]
            ids = torch.zeros(len(batch), 1024, dtype=torch.long)
            mask = torch.zeros_like(ids)
            for row, text in enumerate(batch):
                ids[row, : len(text)] = torch.tensor(text)
                mask[row, : len(text)] = 1
            p = torch.softmax(model(ids, attention_mask=mask).logits, dim=-1)
            for row, text in enumerate(batch):
                for position in range(1, len(text)):
                    -torch.log2(p[row, position - 1, text[position]]).item()

    return sum(map(len, texts)), run


def one_by_one(folder: Path) -> tuple[int, Callable[[], None]]:
    """What a short script with transformers does in float32: a text, its loss per token, the next text."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32).eval()
    texts = _texts(folder)

    @torch.inference_mode()
    def run() -> None:
        for text in texts:
            ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer.encode(text)]])
            p = model(ids).logits.log_softmax(-1)
            p[0, :-1].gather(1, ids[0, 1:, None]).tolist()

    return sum(map(len, _ids(folder))), run


Run = tuple[int, Callable[[], float | None]]  # how many tokens, and the seconds if it knows better
RUN: dict[str, Callable[[Path], Run]] = {
    "ours": ours,
    "ours_bfloat16": lambda folder: ours(folder, "gpt2-shape-bfloat16"),
    "minicons": minicons,
    "surprisal": surprisal,
    "original": original,
    "short_ours": ours,
    "short_ours_tenfold": ours,
    "short_one_by_one": one_by_one,
}


# What it is measured on.


def prepare(folder: Path, lengths: Sequence[int], *, model: str) -> None:
    """A project with one file of texts of about `lengths` tokens, and the scorer that reads them."""
    import pandas as pd
    import torch
    from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

    from lib import datasets, paths, store
    from lib.generate import texts as generate
    from lib.params import load_dataset

    tokenizer = AutoTokenizer.from_pretrained(REPOSITORY / "data" / "models" / "tiny-scorer")
    prose = "".join(d.prompt + d.text for d in datasets.load("pydocs", load_dataset("pydocs")))
    ids = np.resize(tokenizer.encode(prose, verbose=False), sum(lengths))
    ends = np.cumsum(lengths)
    texts = [tokenizer.decode(ids[end - n : end]) for n, end in zip(lengths, ends, strict=True)]

    os.environ["STUDY_ROOT"] = str(folder)
    folder.mkdir()
    if model == "gpt2-shape":
        torch.manual_seed(0)
        bos = tokenizer.bos_token_id
        config = GPT2Config(vocab_size=VOCABULARY, bos_token_id=bos, eos_token_id=bos)
        GPT2LMHeadModel(config).save_pretrained(folder / "model")
        tokenizer.model_max_length = 1024
        tokenizer.save_pretrained(folder / "model")
    else:
        (folder / "model").symlink_to(REPOSITORY / "data" / "models" / "tiny-scorer")
    for kind in ("datasets", "studies"):
        (folder / "params" / kind).mkdir(parents=True)
    for name, dtype in (("gpt2-shape", "float32"), ("gpt2-shape-bfloat16", "bfloat16")):
        paths.source_file(name).write_text(
            f"kind: scorer\nweights: {{backend: transformers, model: model, dtype: {dtype}}}\n"
        )
    paths.source_file("human").write_text("kind: human\n")
    paths.dataset_file("texts").write_text("kind: folder\nfolder: texts\n")
    paths.study_file("bench").write_text(
        "title: b\nsources: [human]\ndatasets: [texts]\nscorers: [gpt2-shape]\n"
    )
    rows = pd.DataFrame({name: [None] * len(texts) for name in generate.SCHEMA.names}).assign(
        doc_id=[str(i) for i in range(len(texts))], prompt="", text=texts, status="ok", sample=0
    )
    store.write(paths.texts("texts", "human"), rows, generate.SCHEMA, {})
    (folder / "texts.json").write_text(json.dumps(texts))
    (folder / "ids.json").write_text(json.dumps(tokenizer(texts)["input_ids"]))
    del os.environ["STUDY_ROOT"]


def _texts(folder: Path) -> list[str]:
    return json.loads((folder / "texts.json").read_text())


def _ids(folder: Path) -> list[list[int]]:
    return json.loads((folder / "ids.json").read_text())


def _batches(texts: Sequence[str]) -> list[Sequence[str]]:
    by_length = sorted(texts, key=len)
    return [by_length[i : i + PEER_BATCH] for i in range(0, len(texts), PEER_BATCH)]


# How it is measured.


def measure(engine: str, folder: Path) -> dict[str, Any]:
    """Run `engine` in this process."""
    if engine.removeprefix("short_").startswith("floor"):
        return floor(folder, "bfloat16" if "bfloat16" in engine else "float32")
    count, run = RUN[engine](folder)
    began = perf_counter()
    seconds = run() or perf_counter() - began
    return {"tokens_per_second": count / seconds, "peak_gb": peak_bytes() / 1e9}


def lengths_like_the_original(count: int) -> list[int]:
    drawn = np.random.default_rng(0).normal(753, 251, size=count)
    return [int(n) for n in drawn.clip(64, 1023)]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--texts", type=int, default=20)
    parser.add_argument("--profile", choices=PROFILED, help="by parts of the work, in place of rounds")
    given = parser.parse_args()
    if given.engine:
        print(json.dumps(measure(given.engine, given.folder)))
        return
    if given.profile:
        profile(given.profile, given.texts)
        return
    engines = {
        name: label
        for name, label in (ARTICLES | SHORT).items()
        if name not in ("minicons", "surprisal") or find_spec(name)
    }
    benchmark = Benchmark(
        script=__file__,
        engines=engines,
        columns=[Column("tokens_per_second", "tokens/s"), Column("peak_gb", "peak memory, GB", 2)],
        ratios=RATIOS,
        limits=[Limit("ours", "peak_gb", 1.2)],
        settings={"texts": given.texts},
        packages=("torch", "transformers", "minicons", "surprisal"),
        code=("lib.surprisal.scoring", "lib.backends.transformers_scoring"),
    )
    rounds = Rounds(benchmark, given)
    with tempfile.TemporaryDirectory() as name:
        made: dict[str, Path] = {}
        for kind in {_kind(engine) for _, engine in rounds.missing()}:
            made[kind] = Path(name) / kind
            prepared(kind, made[kind], given.texts)
        rounds.measure({engine: made[_kind(engine)] for engine in engines if _kind(engine) in made})


def _kind(engine: str) -> str:
    """The texts that `engine` reads."""
    return "tenfold" if "tenfold" in engine else "short" if engine in SHORT else "articles"


def prepared(kind: str, folder: Path, texts: int) -> None:
    if kind == "articles":
        prepare(folder, lengths_like_the_original(texts), model="gpt2-shape")
    else:
        short = np.random.default_rng(0).integers(10, 41, 1000).tolist()
        prepare(folder, short * (10 if kind == "tenfold" else 1), model="demo")


def profile(engine: str, texts: int) -> None:
    """Print where the time of `engine` goes, and how much of all the parts account for."""
    import _parts

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "texts"
        prepared(_kind(engine), folder, texts)
        kept = _parts.Profile()
        _parts.of_scoring(kept)
        count, run = RUN[engine](folder)
        seconds = run() or 0.0
    print(kept.table(without=(_parts.OPENING,)))
    print(f"\n{count / seconds:,.0f} tokens/s, {seconds:.2f} s; peak {peak_bytes() / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
