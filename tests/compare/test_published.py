"""The published figures beside both computations, from a repository of made-up texts."""

import csv
import math

import numpy as np
import pandas as pd
import pytest

from lib import paths
from lib.compare import published
from lib.compare.comparison import compare
from lib.generate import texts as generate
from lib.params.run import resolve
from lib.surprisal import scoring as surprisal
from lib.uid import measures as uid

SOURCES = {"human": "human_texts", "mistral-7b-v0.1": "mistral-7b-v0.1"}
STUDY = """\
title: The first round
sources: [human, mistral-7b-v0.1, mistral-plus-7b]
datasets: [daily_dialog, older]
scorers: [gpt2]
import: {layout: balancing-the-flow, root: original, older: older}
comparisons:
  all_models: {sources: [human, mistral-7b-v0.1], metrics: [tokens, mean_surprisal, uid_variance]}
"""


@pytest.fixture
def compared(project):
    """A comparison of texts of the first round, of which one has the generator's warning in it."""
    paths.study_file("original").write_text(STUDY)
    rng = np.random.default_rng(5)
    for folder in SOURCES.values():
        metrics = []
        for number in range(8):
            stem = f"{'human' if folder == 'human_texts' else folder}_{number}"
            first = "[Warning: Short generation]" if (folder, number) == ("mistral-7b-v0.1", 3) else " word"
            bits = rng.gamma(2, 2, size=20)
            file = project / "original" / "Surprisals" / folder / f"{stem}.csv"
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("w", newline="") as stream:
                rows = [("token", "surprisal"), *zip([first, *[" word"] * 19], bits, strict=True)]
                csv.writer(stream).writerows(rows)
            row = {"filename": file.name, "tokens": 20, "mean_surprisal": bits.mean()}
            metrics.append(row | {"uid_variance": bits.var(), "uid_pairwise": np.mean(np.diff(bits) ** 2)})
        place = project / "original" / "UID_Analysis" / folder
        place.mkdir(parents=True)
        pd.DataFrame(metrics).to_csv(place / "uid_metrics.csv", index=False)
    for source in SOURCES:
        given = {"model": source, "study": "original", "dataset": "older"}
        generate.generate_texts(resolve("01_generate", given))
        surprisal.score_texts(resolve("02_surprisal", given))
        uid.measure(resolve("03_uid", given))
    return compare({"study": "original", "comparison": "all_models"})


def test_published_figures_stand_beside_theirs_and_ours(compared):
    summary, _, why, lacking = (table for table, _ in published.tables(compared))
    row = summary[(summary["source"] == "human_texts") & (summary["metric"] == "uid_variance")]
    row = row.set_index("statistic").loc["mean"]
    assert row["published"] == 16.5452
    people = compared.texts[compared.texts["source"] == "human"]["uid_variance"]
    assert math.isclose(row["as they computed it"], people.mean(), rel_tol=1e-12)
    assert math.isclose(row["as we compute it"], people.mean(), rel_tol=1e-12)
    why = why.set_index("source")
    assert why["left out: the generator's warning in them"].tolist() == [0, 1]
    assert why["texts in their metrics"].tolist() == [8, 8]
    assert why["texts here"].tolist() == [8, 7]
    assert why["their metrics give what they published"].str.startswith("no, up to").all()
    assert set(lacking["source"]) == {"human", "mistral-7b-v0.1", "mistral-plus-7b"}


def test_effects_are_computed_their_way_and_ours(compared):
    effects = published.tables(compared)[1][0].set_index("metric")
    assert effects.loc["uid_variance", "|d|, published"] == 0.254
    groups = [rows["uid_variance"] for _, rows in compared.texts.groupby("source")]
    people, model = groups
    pooled = math.sqrt((7 * people.std() ** 2 + 6 * model.std() ** 2) / 13)
    assert math.isclose(effects.loc["uid_variance", "d, ours"], (people.mean() - model.mean()) / pooled)
    assert effects.loc["uid_variance", "|d|, their way"] != abs(effects.loc["uid_variance", "d, ours"])
