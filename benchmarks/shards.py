"""What shards cost: the demo study, or a part of it, in 1, 2 and 4 shards, here and on a Slurm of two nodes.

python benchmarks/shards.py [--shards 1 2 4] [--slurm] [--texts 60] [--models tiny-base]
taskset -c 0 python benchmarks/shards.py --shards 1      the same with one core
python benchmarks/shards.py --whole                      the demo as it is, reports and all

The part is people and two of the demo's models (or `--models`) on `--texts` of its openings, by one scorer:
from nothing to texts, surprisals, words and measures. The data files must be the same bytes every time.
Slurm is one of two nodes on this machine (`tests/cluster/loopback.py`), each with a core.
"""

import argparse
import contextlib
import hashlib
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import yaml
from graph import REPOSITORY, jobs_of, project

from lib import machine, paths
from lib.params import load_study
from lib.running.profiles import load_profile
from lib.running.study import snakemake_command

MODELS = ("tiny-base", "tiny-rlhf")
PART = "part"
MADE = [f"data/{step}" for step in ("documents", "texts", "surprisals", "words", "uid", "compare")]


def declare(root: Path, texts: int, models: list[str]) -> None:
    project(root)
    for name in models:
        file = root / "params" / f"{name}.yaml"
        declared = yaml.safe_load(file.read_text())
        declared["sampling"]["generate"] = texts
        file.write_text(yaml.safe_dump(declared))
    study = {
        "title": "A part of the demo",
        "sources": ["human", *models],
        "datasets": ["pydocs"],
        "scorers": ["tiny-scorer"],
    }
    (root / "params" / "studies" / f"{PART}.yaml").write_text(yaml.safe_dump(study))
    profile = yaml.safe_load((REPOSITORY / "profiles" / "slurm" / "config.yaml").read_text())
    profile["config"] |= {"processors": 1, "mem_mb": 2_500}
    (root / "profiles" / "loopback").mkdir(parents=True)
    (root / "profiles" / "loopback" / "config.yaml").write_text(yaml.safe_dump(profile))


def once(root: Path, name: str, shards: int, slurm: bool) -> tuple[float, int, str]:
    """Seconds from nothing to measures, or to all that the demo is; its jobs; and a hash of the data."""
    for made in (*MADE, "rendered", ".snakemake"):
        shutil.rmtree(root / made, ignore_errors=True)
    study = load_study(name)
    measures = [paths.uid("tiny-scorer", "pydocs", source) for source in study.sources]
    profile = load_profile("loopback") if slurm else None
    command = snakemake_command(name, study, shards, profile, measures if name == PART else ())
    begun = perf_counter()
    done = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
    seconds = perf_counter() - begun
    data = sorted(file for made in MADE for file in (root / made).rglob("*.parquet"))
    read = hashlib.sha256(b"".join(file.read_bytes() for file in data)).hexdigest()[:12]
    return seconds, jobs_of(done), read


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shards", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--texts", type=int, default=60)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--slurm", action="store_true")
    parser.add_argument("--whole", action="store_true", help="the demo study itself")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        root = Path(folder).resolve()
        os.environ["STUDY_ROOT"] = str(root)
        declare(root, arguments.texts, [] if arguments.whole else arguments.models)
        name = "demo" if arguments.whole else PART
        if arguments.slurm:
            sys.path.append(str(REPOSITORY))
            loopback = importlib.import_module("tests.cluster.loopback")
            os.environ |= stack.enter_context(loopback.cluster(root / "slurm", cpus=1))
        where = "Slurm, two nodes" if arguments.slurm else f"here, {machine.processors()} cores"
        print("| where | shards | jobs | seconds | data |\n|---|---|---|---|---|")
        for shards in arguments.shards:
            seconds, jobs, data = once(root, name, shards, arguments.slurm)
            print(f"| {where} | {shards} | {jobs} | {seconds:.0f} | {data} |", flush=True)


if __name__ == "__main__":
    main()
