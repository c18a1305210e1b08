"""How long step 04 takes, and how much memory: 7 sources, 3 datasets, all tests, five hypotheses.

python benchmarks/comparing.py [--metrics 35] [--texts 11000]
python benchmarks/comparing.py --metrics 10 --texts 700000     100,000 documents, as a large study has
"""

import argparse
import json
import os
import resource
import time
from itertools import combinations

import numpy as np
import pandas as pd

from lib.compare import bootstrap, mixed
from lib.compare.comparison import pairwise_tests
from lib.compare.hypotheses import answers
from lib.params import Contrast, Hypothesis
from lib.uid.measures import METRICS

DATASETS = ("daily_dialog", "news", "stories")


def texts(total: int, sources: int, metrics: int, seed: int = 0) -> pd.DataFrame:
    """One row per text: every source wrote on the same documents of each dataset."""
    rng = np.random.default_rng(seed)
    documents = total // sources
    document = rng.normal(size=(documents, metrics))
    tables = []
    for source in range(sources):
        values = 10 + document + rng.normal(size=(documents, metrics)) * (1 + 0.1 * source) + 0.05 * source
        table = pd.DataFrame(values, columns=[f"metric_{i}" for i in range(metrics)])
        table["metric_0"] = np.round(table["metric_0"] * 20)  # counts, with many ties
        table["dataset"] = [DATASETS[i % len(DATASETS)] for i in range(documents)]
        table["doc_id"] = [str(i) for i in range(documents)]
        table["source"] = table["group"] = f"source_{source}"
        table["text_class"] = ("human", "base", "instruct", "rlhf")[source % 4]
        table["tokens"] = rng.integers(60, 1024, documents)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def contrasts() -> list[Contrast]:
    """Five hypotheses in the manner of C1 to C3, of the classes that `texts` gives the sources."""
    classes = {
        name: [f"source_{i}" for i in range(number, 7, 4)]
        for number, name in enumerate(("human", "base", "instruct", "rlhf"))
    }
    asked = [
        ("base", "human", "level"),
        ("rlhf", "human", "level"),
        ("rlhf", "base", "level"),
        ("rlhf", "base", "spread"),
        ("rlhf", "instruct", "spread"),
    ]
    made = []
    for of, against, aspect in asked:
        sides = [{source: 1 / len(classes[name]) for source in classes[name]} for name in (of, against)]
        said = {"sentence": f"{of} and {against}", "metric": "metric_1", "aspect": aspect, "expect": "less"}
        declared = Hypothesis.model_validate(said | {"of": list(sides[0]), "against": list(sides[1])})
        made.append(Contrast(f"{aspect} {of} {against}", declared, sides[0], sides[1]))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--metrics", type=int, default=len(METRICS), help="all of step 03 by default")
    parser.add_argument("--texts", type=int, default=11_000)
    given = parser.parse_args()
    rows = texts(given.texts, 7, given.metrics)
    pairs = list(combinations(rows["group"].unique(), 2))
    names = [f"metric_{i}" for i in range(given.metrics)]
    started, cpu = time.perf_counter(), time.process_time()
    tests = pairwise_tests(rows, pairs, names)
    tested = {"tests_seconds": time.perf_counter() - started, "tests_cpu_seconds": time.process_time() - cpu}
    started, cpu = time.perf_counter(), time.process_time()
    answers({"scorer": rows}, contrasts())
    tested |= {
        "hypotheses_seconds": time.perf_counter() - started,
        "hypotheses_cpu_seconds": time.process_time() - cpu,
        "peak_gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }
    print(json.dumps(tested), flush=True)
    started = time.perf_counter()
    mixed.fit_models(rows, [names[-1]])
    made = {
        "texts": len(rows),
        "pairs": len(pairs),
        "metrics": given.metrics,
        "tests": len(tests),
        "draws": bootstrap.DRAWS,
        **tested,
        "models_of_one_metric_seconds": time.perf_counter() - started,
        "processors": os.cpu_count(),
        "load": os.getloadavg()[0],
    }
    print(json.dumps(made, indent=1))


if __name__ == "__main__":
    main()
