"""A study of very many short texts that the demo's models write themselves, in shards: seconds and memory.

python benchmarks/written.py [--texts 20000] [--shards 4] [--keep FOLDER]
python benchmarks/written.py --texts 1000000       in an hour

Sentences that people wrote in the demo's documentation, paired by chance: the first is the opening, the
second what a person wrote after it. The demo's three models write eight tokens after each opening; its scorer
reads everything; measures, hypotheses and a comparison follow. Processes are watched from outside; each is of
the stage that its command names. With `--keep` a run that was stopped goes on.
"""

import argparse
import json
import os
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from _watched import watch
from graph import project

from lib import paths
from lib.datasets import pydocs
from lib.datasets.sentences import sentences
from lib.params import load_study
from lib.running.study import snakemake_command

STUDY = "many"
MODELS = ("tiny-base", "tiny-instruct", "tiny-rlhf")
PACKAGES = ("numpy", "pandas", "scipy", "statsmodels", "sympy", "networkx")
TOKENS = 8  # that a model writes
LENGTHS = range(20, 100)  # characters of a sentence
STAGES = {
    "documents": ("lib.datasets",),
    "write": ("running.make texts",),
    "score": ("running.make surprisal",),
    "measure": ("running.make uid",),
    "hypotheses": ("running.make hypotheses",),
    "compare": ("running.make compare",),
    "graph": ("snakemake",),
}


def declare(root: Path, openings: int) -> None:
    """Write into `root` a project with the study `many` of so many openings."""
    project(root)
    prose = pydocs.held_out_documents(PACKAGES, texts=10_000, min_characters=1, max_characters=10_000)
    texts = [document.text for document in prose]
    pieces = zip(texts, sentences(texts).starts, strict=True)
    cut = (text[a:b].strip() for text, starts in pieces for a, b in pairwise([*starts, len(text)]))
    known = sorted({sentence for sentence in cut if len(sentence) in LENGTHS and "\n" not in sentence})
    chance = np.random.default_rng(0)
    with (root / "pairs.jsonl").open("w") as stream:
        for first, second in chance.integers(len(known), size=(openings, 2)):
            stream.write(json.dumps({"body": f"{known[first]} {known[second]}"}) + "\n")
    dataset = {"kind": "articles", "rows": {"files": "pairs.jsonl"}, "text": "body", "texts": openings}
    dataset |= {"opening": {"shortest": 1, "longest": LENGTHS.stop}}
    (root / "params" / "datasets" / "pairs.yaml").write_text(yaml.safe_dump(dataset))
    for name in MODELS:
        file = root / "params" / f"{name}.yaml"
        model = yaml.safe_load(file.read_text())
        model["sampling"] |= {
            "generate": openings,
            "min_tokens": TOKENS,
            "max_tokens": TOKENS,
            "min_characters": 0,
        }
        file.write_text(yaml.safe_dump(model))
    study = yaml.safe_load((root / "params" / "studies" / "demo.yaml").read_text())
    study |= {"title": "Many short texts", "datasets": ["pairs"], "scorers": ["tiny-scorer"], "samples": 1}
    study |= {
        "paper": False,
        "comparisons": {"all": {"metrics": ["mean_surprisal", "uid_variance", "uid_pairwise"]}},
    }
    (root / "params" / "studies" / f"{STUDY}.yaml").write_text(yaml.safe_dump(study))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--texts", type=int, default=20_000, help="of people and models")
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--keep", type=Path, help="a folder for the project, kept")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = (given.keep or Path(temporary)).resolve()
        os.environ["STUDY_ROOT"] = str(root)
        if not (root / "params").exists():
            root.mkdir(parents=True, exist_ok=True)
            declare(root, given.texts // (1 + len(MODELS)))
        study = load_study(STUDY)
        files = [paths.hypotheses(STUDY), paths.comparison(STUDY, "all", "tests")]
        command = snakemake_command(STUDY, study, given.shards, files=files)
        watched, seconds = watch(command, root / "said.txt", STAGES, {})
        print(f"{given.texts:,} texts in {given.shards} shards: {seconds:.0f} s, at most ", end="")
        print(f"{watched.together / 1e9:.2f} GB together")
        print(pd.DataFrame(watched.rows()).to_string(index=False))


if __name__ == "__main__":
    main()
