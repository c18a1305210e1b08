"""How long a large study's graph takes, and how much memory: a dry run, in a process of its own.

python benchmarks/graph.py [--texts 1000000] [--shards 1 8 64]

The study has nine sources (people and eight models), four datasets and one scorer; `--texts` are all that
its sources write, which are as many openings in each dataset's file, one kB each, as that takes.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import tempfile
from pathlib import Path
from time import perf_counter

import yaml

from lib import paths
from lib.params import load_study
from lib.running.study import snakemake_command

REPOSITORY = Path(__file__).parents[1]
SOURCES, DATASETS = 9, 4
BODY = "The array is sorted in place. A new array is returned where that is asked for. " * 12


def project(root: Path) -> None:
    """Write into `root` a project as the repository is, without data."""
    for name in ("params", "notebooks", "paper"):
        shutil.copytree(REPOSITORY / name, root / name)
    shutil.copy(REPOSITORY / "_quarto.yml", root)
    (root / "data").mkdir()
    (root / "data" / "models").symlink_to(REPOSITORY / "data" / "models")


def declare(root: Path, texts: int) -> None:
    """Write into `root` a project with the study `large`, of which nothing is made yet."""
    project(root)
    model = yaml.safe_load((root / "params" / "tiny-base.yaml").read_text())
    each = -(-texts // (SOURCES * DATASETS))
    model["sampling"]["generate"] = each
    models = [f"model-{number}" for number in range(1, SOURCES)]
    for name in models:
        (root / "params" / f"{name}.yaml").write_text(yaml.safe_dump(model))
    datasets = [f"dataset-{number}" for number in range(DATASETS)]
    for name in datasets:
        with (root / f"{name}.jsonl").open("w") as stream:
            for number in range(each):
                stream.write(json.dumps({"headline": f"Text {number}", "body": f"{number}. {BODY}"}) + "\n")
        declared = {
            "kind": "articles",
            "rows": {"files": f"{name}.jsonl"},
            "title": "headline",
            "text": "body",
            "texts": each,
        }
        (root / "params" / "datasets" / f"{name}.yaml").write_text(yaml.safe_dump(declared))
    study = {
        "title": "A large study",
        "sources": ["human", *models],
        "datasets": datasets,
        "scorers": ["tiny-scorer"],
        "comparisons": {"all": {}},
    }
    (root / "params" / "studies" / "large.yaml").write_text(yaml.safe_dump(study))


def dry_run(shards: int) -> tuple[int, float, float]:
    """How many jobs the graph has, the seconds of its dry run, and the MB that it took at most."""
    command = [*snakemake_command("large", load_study("large"), shards), "--dry-run", "--quiet", "rules"]
    begun = perf_counter()
    done = subprocess.run(command, cwd=paths.root(), capture_output=True, text=True, check=True)
    seconds = perf_counter() - begun
    return jobs_of(done), seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def jobs_of(done: subprocess.CompletedProcess[str]) -> int:
    """How many jobs Snakemake says that it has."""
    total = next(line for line in (done.stdout + done.stderr).splitlines() if line.startswith("total"))
    return int(total.split()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--texts", type=int, default=1_000_000)
    parser.add_argument("--shards", type=int, nargs="+", default=[1, 8, 64])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["STUDY_ROOT"] = folder
        declare(Path(folder), arguments.texts)
        print("| shards | jobs | seconds | peak memory, MB |\n|---|---|---|---|")
        for shards in sorted(arguments.shards):  # the peak is that of all runs so far
            jobs, seconds, megabytes = dry_run(shards)
            print(f"| {shards} | {jobs:,} | {seconds:.1f} | {megabytes:.0f} |", flush=True)


if __name__ == "__main__":
    main()
