"""Steps 03 and 04 of a study of very many short texts: seconds and peak memory of each job.

python benchmarks/large.py [--texts 10000 100000 1000000]

The demo's four sources and its hypotheses, on one dataset. Texts and surprisals are drawn, not computed,
and written as step 02 leaves them; the jobs are those of `make study`, each in a process of its own.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import numpy as np
import pyarrow as pa
import yaml
from graph import project

from lib import paths, store
from lib.generate.rows import SCHEMA as TEXTS
from lib.surprisal.rows import SCHEMA, WORD_SCHEMA

SOURCES = {"human": 12.0, "tiny-base": 8.0, "tiny-instruct": 8.0, "tiny-rlhf": 7.0}  # bits², variance
WORDS = 24  # of a text; a token each
DATASET, SCORER, STUDY = "drawn", "tiny-scorer", "drawn"
AT_ONCE = 20_000  # texts


def declare(root: Path, texts: int) -> None:
    project(root)
    study = yaml.safe_load((root / "params" / "studies" / "demo.yaml").read_text())
    study |= {"title": "Drawn texts", "datasets": [DATASET], "scorers": [SCORER], "samples": 1}
    study["paper"] = False
    study["comparisons"] = {"all": {"metrics": ["mean_surprisal", "uid_variance", "uid_pairwise"]}}
    (root / "params" / "studies" / f"{STUDY}.yaml").write_text(yaml.safe_dump(study))
    rows = {"kind": "articles", "rows": {"files": "none.jsonl"}, "title": "t", "text": "b", "texts": texts}
    (root / "params" / "datasets" / f"{DATASET}.yaml").write_text(yaml.safe_dump(rows))
    for number, (source, variance) in enumerate(SOURCES.items()):
        _draw(source, variance, texts, np.random.default_rng(number))


def _draw(source: str, variance: float, texts: int, chance: np.random.Generator) -> None:
    """The files of steps 01 and 02 of `texts` texts by `source`, some at a time."""
    vocabulary = np.array([f" w{number:03}" for number in range(999)])

    def parts() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        for first in range(0, texts, AT_ONCE):
            count = min(AT_ONCE, texts - first)
            words = vocabulary[chance.zipf(1.4, (count, WORDS)) % len(vocabulary)]
            bits = chance.gamma(36 / variance, variance / 6, (count, WORDS)) * chance.gamma(
                30, 1 / 30, (count, 1)
            )
            yield np.arange(first, first + count), words, bits

    record = store.record("drawn", parameters={"source": source}, inputs={}, packages=(), units={})
    where = (SCORER, DATASET, source)
    pair: list[tuple[Path, pa.Schema]] = [
        (paths.texts(DATASET, source), TEXTS),
        (paths.surprisals(*where), SCHEMA),
        (paths.words(*where), WORD_SCHEMA),
    ]
    for path, schema in pair:
        tables = (_table(schema, source, *part) for part in parts())
        store.write_stream(path, tables, schema, record)


def _table(schema: pa.Schema, source: str, ids: np.ndarray, words: np.ndarray, bits: np.ndarray) -> pa.Table:
    """A part of one file. Every word is a token of five characters, white space included."""
    names = np.char.add("d", ids.astype(str))
    if schema is TEXTS:
        texts = ["".join(row) for row in words]
        columns = {"doc_id": names, "source": [source] * len(ids), "dataset": [DATASET] * len(ids)}
        columns |= {"prompt": [""] * len(ids), "text": texts, "status": ["ok"] * len(ids)}
        columns |= {"sample": np.zeros(len(ids), np.int32), "retries": np.zeros(len(ids), np.int32)}
    else:
        position = np.tile(np.arange(WORDS, dtype=np.int32), len(ids))
        columns = {"doc_id": np.repeat(names, WORDS), "position": position, "surprisal": bits.ravel()}
        columns |= {
            "start": 5 * position,
            "end": 5 * position + 5,
            "sample": np.zeros(len(position), np.int32),
        }
        columns |= {"token" if schema is SCHEMA else "word": words.ravel()}
    known = {name: pa.array(values, schema.field(name).type) for name, values in columns.items()}
    count = len(next(iter(known.values())))
    return pa.table([known.get(f.name, pa.nulls(count, f.type)) for f in schema], schema=schema)


def job(*arguments: str) -> tuple[float, float]:
    """Seconds and peak MB of one job, of a process that has had no other."""
    command = [sys.executable, __file__, "--job", *arguments]
    begun = perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return perf_counter() - begun, float(done.stdout.split()[-1])


def _run(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "lib.running.make", *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--texts", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--job", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    if arguments.job:
        _run(arguments.job)
        return
    print("| texts | job | seconds | peak memory, MB |\n|---|---|---|---|")
    for texts in arguments.texts:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["STUDY_ROOT"] = folder
            declare(Path(folder), texts // len(SOURCES))
            given = ["-p", "study", STUDY, "-p", "dataset", DATASET, "-p", "scorer", SCORER]
            found = [job("uid", "-p", "model", source, *given) for source in SOURCES]
            print(
                f"| {texts:,} | uid, the largest of {len(SOURCES)} | {max(found)[0]:.1f} "
                f"| {max(peak for _, peak in found):.0f} |",
                flush=True,
            )
            for step in (["hypotheses"], ["compare", "-p", "comparison", "all"]):
                seconds, peak = job(*step, "-p", "study", STUDY)
                print(f"| {texts:,} | {step[0]} | {seconds:.1f} | {peak:.0f} |", flush=True)


if __name__ == "__main__":
    main()
