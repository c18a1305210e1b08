"""How fast step 02 is, and how lean: this project, its peers, and the bare matrix products.

python benchmarks/scoring.py [--texts 40] [--engines floor ours minicons …] [--rounds 1]

The model has the shape of GPT-2 small and random weights; the texts have lengths like the
original's articles. Each engine runs in a process of its own; only ratios within one run mean
anything. Engines that are not installed are left out (`make bench` installs them).
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter

import numpy as np
from _process import in_own_process, peak_bytes

REPOSITORY = Path(__file__).resolve().parents[1]
ENGINES = ("floor", "ours", "ours_bfloat16", "minicons", "surprisal", "original")
SHORT = ("short_floor", "short_ours", "short_ours_tenfold", "short_one_by_one")
PEER_BATCH = 8  # texts; each peer was fastest there among 1, 4, 8 and 20
VOCABULARY = 50_257


# What is measured.


def floor(folder: Path) -> tuple[int, Callable[[], None]]:
    """The products with every weight matrix, over all tokens, 1,024 at a time, and nothing else."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.pytorch_utils import Conv1D

    model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32)
    head = model.get_output_embeddings().weight.detach()
    layers = [layer for layer in model.base_model.modules() if isinstance(layer, torch.nn.Linear | Conv1D)]
    matrices = [(each.weight.T if isinstance(each, Conv1D) else each.weight).detach() for each in layers]
    states = {matrix.shape[1]: torch.randn(1024, matrix.shape[1]) for matrix in [*matrices, head]}
    count = sum(map(len, _ids(folder)))

    @torch.inference_mode()
    def run() -> None:
        for first in range(0, count, 1024):
            size = min(1024, count - first)
            for matrix in matrices:
                torch.nn.functional.linear(states[matrix.shape[1]][:size], matrix)
            for some in states[head.shape[1]][:size].split(256):
                torch.nn.functional.linear(some, head)

    return count, run


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


RUN: dict[str, Callable] = {
    "floor": floor,
    "ours": ours,
    "ours_bfloat16": lambda folder: ours(folder, "gpt2-shape-bfloat16"),
    "minicons": minicons,
    "surprisal": surprisal,
    "original": original,
    "short_floor": floor,
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
        doc_id=[str(i) for i in range(len(texts))], prompt="", text=texts, status="ok"
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


def measure(engine: str, folder: Path) -> dict[str, float]:
    """Run `engine` in this process."""
    count, run = RUN[engine](folder)
    began = perf_counter()
    seconds = run() or perf_counter() - began
    return {"tokens_per_second": count / seconds, "peak_gb": peak_bytes() / 1e9}


def lengths_like_the_original(count: int) -> list[int]:
    drawn = np.random.default_rng(0).normal(753, 251, size=count)
    return [int(n) for n in drawn.clip(64, 1023)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--texts", type=int, default=40)
    parser.add_argument("--engines", nargs="+", default=[*ENGINES, *SHORT])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.engine:
        print(json.dumps(measure(given.engine, given.folder)))
        return
    short = np.random.default_rng(0).integers(10, 41, 1000).tolist()
    found: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folders = {"articles": Path(name) / "a", "short": Path(name) / "s", "tenfold": Path(name) / "t"}
        if set(given.engines) & set(ENGINES):
            prepare(folders["articles"], lengths_like_the_original(given.texts), model="gpt2-shape")
        if set(given.engines) & set(SHORT):
            prepare(folders["short"], short, model="demo")
            prepare(folders["tenfold"], short * 10, model="demo")
        for _ in range(given.rounds):
            for engine in given.engines:
                if engine in ("minicons", "surprisal") and find_spec(engine) is None:
                    print(f"{engine} is not installed", file=sys.stderr)
                    continue
                kind = "articles" if engine in ENGINES else "tenfold" if "tenfold" in engine else "short"
                figures = in_own_process(__file__, engine, folders[kind])
                found.setdefault(engine, []).append(figures)
                print(f"{engine:20}" + "  ".join(f"{k} {v:10,.2f}" for k, v in figures.items()), flush=True)
    speed = {k: float(np.median([each["tokens_per_second"] for each in v])) for k, v in found.items()}
    pairs = [("ours", other) for other in ("floor", "minicons", "surprisal", "original")]
    pairs += [("ours_bfloat16", "ours"), ("short_ours", "short_one_by_one")]
    pairs += [("short_floor", "short_one_by_one"), ("short_ours", "short_floor")]
    for a, b in pairs:
        if a in speed and b in speed:
            print(f"{a} / {b}: {speed[a] / speed[b]:.2f}")


if __name__ == "__main__":
    main()
