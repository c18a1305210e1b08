"""How long shards of one source take to join, and how much memory: texts (step 01) and surprisals (step 02).

python benchmarks/joining.py [--texts 10000 100000] [--shards 4]

The toy engine of the tests writes and reads, so that nothing but the store works. A join reads what shards
left, checks it and writes the file; it is a process of its own.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import yaml
from _process import peak_bytes
from graph import BODY, REPOSITORY, project

sys.path.append(str(REPOSITORY))
from lib.backends import engines
from lib.generate import rows
from lib.generate.texts import generate_texts, write_shard
from lib.params.run import resolve
from lib.surprisal.scoring import score_shard, score_texts
from tests.toy_engine import ENGINE, ToyModel

GIVEN = {"model": "toy", "study": "joined"}
STEPS = {
    "texts": ("01_generate", generate_texts, write_shard),
    "surprisals": ("02_surprisal", score_texts, score_shard),
}


def declare(root: Path, texts: int) -> None:
    project(root)
    weights = {"backend": "toy", "word": "word"}
    sampling = {"generate": texts, "max_tokens": 6, "min_characters": 1}
    model = {"kind": "model", "class": "base", "family": "toy", "weights": weights, "sampling": sampling}
    (root / "params" / "toy.yaml").write_text(yaml.safe_dump(model))
    (root / "params" / "toy-scorer.yaml").write_text(yaml.safe_dump({"kind": "scorer", "weights": weights}))
    with (root / "rows.jsonl").open("w") as stream:
        for number in range(texts):
            stream.write(
                json.dumps({"headline": f"Text {number}", "body": f"Of number {number}. {BODY}"[:300]}) + "\n"
            )
    rows = {"kind": "articles", "rows": {"files": "rows.jsonl"}, "title": "headline", "text": "body"}
    (root / "params" / "datasets" / "rows.yaml").write_text(yaml.safe_dump(rows | {"texts": texts}))
    study = {"title": "Joined", "sources": ["toy"], "datasets": ["rows"], "scorers": ["toy-scorer"]}
    (root / "params" / "studies" / "joined.yaml").write_text(yaml.safe_dump(study))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--texts", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--join", choices=STEPS)
    given = parser.parse_args()
    engines.add(ENGINE)
    if given.join:
        notebook, join, _ = STEPS[given.join]
        begun = perf_counter()
        join(resolve(notebook, GIVEN))
        print(json.dumps([perf_counter() - begun, peak_bytes() / 2**20]))
        return
    # What shards write is not what is measured.
    os.fsync, ToyModel.at_once = lambda _: None, 10_000  # type: ignore[assignment]
    rows.cut_repetition = lambda prompt, answer: ("", answer)
    os.environ["TQDM_DISABLE"] = "1"
    print("| texts | join of | shards | seconds | peak memory, MB |\n|---|---|---|---|---|")
    for texts in given.texts:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["STUDY_ROOT"] = folder
            declare(Path(folder), texts)
            for name, (notebook, _, write) in STEPS.items():
                for shard in range(given.shards):
                    write(resolve(notebook, GIVEN), (shard, given.shards))
                command = [sys.executable, __file__, "--join", name]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                seconds, peak = json.loads(done.stdout.splitlines()[-1])
                print(f"| {texts:,} | {name} | {given.shards} | {seconds:.1f} | {peak:.0f} |", flush=True)


if __name__ == "__main__":
    main()
