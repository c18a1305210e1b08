"""How long the published study takes, and how much memory: `make study STUDY=published`, import to pages.

python benchmarks/published.py [--texts 16000]
python benchmarks/published.py --texts 900      in a few minutes

A repository of the original's layout and size is written to a temporary folder: the sources and domains
that it has, a text and a table of surprisals for each text, tokens as many as published for people and
three of its models. Three runs of the command follow: the first, one with nothing to do, one after a
table has changed. Processes are watched from outside; each is of the stage that its command names.
"""

import argparse
import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from _watched import watch
from uid import vocabulary

from lib import paths
from lib.compare.published import ORIGINAL
from lib.params import load_source, load_study

HERE = Path(__file__).resolve().parents[1]
STUDY = "published"
FIRST_ROUND_ALONE = ("llama-2-7b-32k-instruct", "mistral-7b-v0.1", "mistral-plus-7b")
FIRST_ROUND = ("human", "llama-2-7b-32k-instruct", "mistral-7b-instruct-v0.3", "mistral-7b-v0.1")
# Whose published token counts a class takes; the original published those of four sources.
LIKE = {
    "human": "human_texts",
    "base": "mistral-7b-v0.1",
    "instruct": "llama-2-7b-32k-instruct",
    "rlhf": "mistral-7b-instruct-v0.3",
}
FLAGGED = 0.01  # of the models' texts have the generator's warning inside
STAGES = {
    "import": ("running.make texts", "running.make surprisal"),
    "measures": ("running.make uid",),
    "tests": ("running.make compare", "running.make hypotheses"),
    "reports": ("running.execute", "running.report", "ipykernel", "lib.reports"),
    "graph": ("running.study", "running.graph"),
}


def places(texts: int) -> dict[tuple[str, str], int]:
    """How many texts the repository has by (dataset, source): as published, or the same shares of `texts`."""
    study = load_study(STUDY)
    older = study.imported.older if study.imported else None
    counts = {}
    for dataset in study.datasets:
        for source in study.sources:
            if dataset == older:
                if source in (*FIRST_ROUND, *FIRST_ROUND_ALONE):
                    counts[dataset, source] = 2000 if source == "human" else 300
            elif source not in FIRST_ROUND_ALONE and (dataset, source) != ("wildchat", "human"):
                counts[dataset, source] = 276
    share = texts / sum(counts.values())
    return {place: max(4, round(share * count)) for place, count in counts.items()}


def write_repository(root: Path, texts: int) -> tuple[int, int]:
    """Write it below `root`; how many texts and tokens it has."""
    published = pd.read_csv(ORIGINAL / "summary.csv").set_index(["source", "metric"])
    spellings, probabilities = vocabulary()
    quoted = np.array([f'"{each}"' if "," in each else each for each in spellings])
    number = np.random.default_rng(0)
    written = 0
    older = load_study(STUDY).imported.older  # type: ignore[union-attr]
    counts = places(texts)
    for (dataset, source), count in counts.items():
        text_class = load_source(source).text_class
        like = published.loc[(LIKE[text_class], "tokens")]
        shape = (like["mean"] / like["std"]) ** 2
        lengths = number.gamma(shape, like["mean"] / shape, count).clip(like["min"], like["max"]).astype(int)
        name = "human" if text_class == "human" else source
        level = {older: "", "wildchat": "WildChat"}.get(dataset, dataset)
        spelled = root / ("Sources" if name == "human" else f"Generations/{source}") / level
        folder = "human_texts" if name == "human" else source
        scored, measured = root / "Surprisals" / folder / level, root / "UID_Analysis" / folder / level
        for each in (spelled, scored, measured):
            each.mkdir(parents=True, exist_ok=True)
        metrics = []
        for i, length in enumerate(lengths):
            chosen = number.choice(len(spellings), length, p=probabilities)
            surprisal = number.gamma(1.0, 4.0, length)
            text = "First" + "".join(spellings[chosen])
            if name != "human" and number.random() < FLAGGED:
                text += " [Warning: Short generation]"
            (spelled / f"{name}_{i}.txt").write_text(text)
            rows = zip(quoted[chosen].tolist(), surprisal.tolist(), strict=True)
            table = "".join(f"{token},{bits}\n" for token, bits in rows)
            (scored / f"{name}_{i}.csv").write_text("token,surprisal\n" + table)
            steps = np.diff(surprisal) ** 2
            metrics.append((f"{name}_{i}.csv", length, surprisal.mean(), surprisal.var(), steps.mean()))
        columns = ["filename", "tokens", "mean_surprisal", "uid_variance", "uid_pairwise"]
        pd.DataFrame(metrics, columns=columns).to_csv(measured / "uid_metrics.csv", index=False)
        written += int(lengths.sum())
    return sum(counts.values()), written


def run(project: Path, root: Path, what: str) -> None:
    """`make study` in `project`, watched, and a table of it. Ends the benchmark if the study fails."""
    command = ["make", "--no-print-directory", "-C", str(HERE), "study", f"STUDY={STUDY}", f"ROOT={root}"]
    watched, seconds = watch(command, project / "said.txt", STAGES, {"STUDY_ROOT": str(project)})
    print(f"\n{what}: {seconds:.0f} s, at most {watched.together / 1e9:.2f} GB together")
    print(pd.DataFrame(watched.rows()).to_string(index=False), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--texts", type=int, default=16_000)
    parser.add_argument("--keep", type=Path, help="a folder for the repository and the project, kept")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.keep or Path(temporary)).resolve()
        project, root = folder / "project", folder / "original"
        project.mkdir(parents=True)
        for name in ("params", "notebooks", "paper"):
            shutil.copytree(HERE / name, project / name)
        texts, tokens = write_repository(root, given.texts)
        made = {"texts": texts, "files": 2 * texts, "tokens": tokens, "processors": os.cpu_count()}
        print(json.dumps(made | {"load": os.getloadavg()[0]}), flush=True)
        run(project, root, "first run")
        run(project, root, "nothing has changed")
        changed = root / "Surprisals" / "human_texts" / "human_1.csv"
        changed.write_text("\n".join(changed.read_text().splitlines()[:-1]) + "\n")
        os.environ["STUDY_ROOT"] = str(project)
        study = load_study(STUDY)
        before = {place: paths.imported(*place).stat().st_mtime_ns for place in places(texts)}
        run(project, root, "one table has changed")
        anew = [place for place, at in before.items() if paths.imported(*place).stat().st_mtime_ns != at]
        print(f"read anew: {anew} of {len(before)} sources and domains in {len(study.datasets)} datasets")


if __name__ == "__main__":
    main()
