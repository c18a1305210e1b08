"""A dataset's page of texts: what each source wrote after the same opening, side by side.

    python -m lib.reports.texts_page demo pydocs

The texts lie in the page as compressed JSON, and only those that are looked at are drawn, so a
thousand of them stay quick. The page loads nothing from anywhere.
"""

import argparse
import base64
import json
import math
import sys
import zlib
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lib import paths, store
from lib.commands import a_command
from lib.datasets import repository
from lib.datasets.document import KEYS
from lib.params import load_study
from lib.reports import page as report
from lib.reports import shaded as text_view

METRICS = ("tokens", "mean_surprisal", "uid_variance", "uid_pairwise")
MOST_TOKENS = 450_000  # of a page; about 3 MB


@a_command
def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("study")
    parser.add_argument("dataset")
    arguments = parser.parse_args()
    print(paths.shown(write_text_page(arguments.study, arguments.dataset)))
    return 0


def write_text_page(study_name: str, dataset: str) -> Path:
    """Write the page of `dataset`, scored by the study's first scorer; return its path.

    Raises StudyError for a file of an earlier step that is missing or broken.
    """
    study = repository.narrowed(study_name, load_study(study_name))
    scorer = study.scorers[0]
    sources = [source for where, source in repository.pairs(study_name, study) if where == dataset]
    tokens = _tokens_by_document(sources, dataset, scorer)
    kept = tokens.index[: max(1, int((tokens.cumsum() <= MOST_TOKENS).sum()))]
    documents = _documents(kept, {source: _texts_of(source, dataset, scorer, kept) for source in sources})
    page = page_of(dataset, scorer, sources, documents, left_out=len(tokens) - len(kept))
    return report.write_page(paths.texts_page(study_name, dataset), page)


def page_of(
    dataset: str, scorer: str, sources: Sequence[str], documents: list[dict[str, Any]], *, left_out: int
) -> str:
    """The HTML of a page with `documents`, of which `left_out` further ones are not on it."""
    content = {"sources": list(sources), "metrics": list(METRICS), "documents": documents}
    packed = zlib.compress(json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(), 9)
    script = (report.TEMPLATES / "texts.js").read_text()
    return report.page_of(
        "texts.html.j2",
        title=f"Texts of {dataset}",
        scorer=scorer,
        documents=len(documents) + left_out,
        left_out=left_out,
        scale=text_view.scale(),
        data=base64.b64encode(packed).decode(),
        script=script.replace("{{darkest}}", str(text_view.DARKEST)).replace("{{shade}}", text_view.SHADE),
    )


def _tokens_by_document(sources: Sequence[str], dataset: str, scorer: str) -> pd.Series:
    """How many tokens the texts of each document have, by `doc_id`, in the order of the sources' texts."""
    of_sources = [store.read(paths.texts(dataset, source), "make study", ["doc_id"]) for source in sources]
    measured = [paths.uid(scorer, dataset, source) for source in sources]
    counts = pd.concat([store.read(path, "make study", ["doc_id", "tokens"]) for path in measured])
    ids = pd.concat(of_sources)["doc_id"].unique()
    return counts.groupby("doc_id")["tokens"].sum().reindex(ids, fill_value=0)


def _texts_of(
    source: str, dataset: str, scorer: str, kept: Collection[str]
) -> dict[str, list[dict[str, Any]]]:
    """By `doc_id`, for each sample: the opening, and the text with length, bits and rank of each token."""

    def read(path: Path, *columns: str) -> pd.DataFrame:
        return store.read_texts(path, "make study", [*KEYS, *columns], kept)

    texts = read(paths.texts(dataset, source), "title", "prompt", "text", "status")
    tokens = read(paths.surprisals(scorer, dataset, source), "start", "end", "surprisal", "rank")
    metrics = read(paths.uid(scorer, dataset, source), *METRICS)
    of_text = dict(tuple(tokens.groupby(KEYS, sort=False)))
    measured = metrics.set_index(KEYS)
    found: dict[str, list[dict[str, Any]]] = {}
    for row in texts.fillna({"title": "", "prompt": "", "text": ""}).itertuples():
        key = (row.doc_id, row.sample)
        one = {
            "title": row.title,
            "prompt": row.prompt,
            "sample": row.sample,
            "status": row.status,
            **_in_script_units(row.text, of_text.get(key, tokens.iloc[:0])),
            "metrics": _rounded(measured.loc[key] if key in measured.index else None),
        }
        found.setdefault(row.doc_id, []).append(one)
    return found


def _in_script_units(text: str, tokens: pd.DataFrame) -> dict[str, Any]:
    """Lengths in UTF-16 units, which JavaScript counts in; bits in tenths; rank 0 where there is none.

    A gap between tokens goes to the next one.
    """
    wide = [0]
    for character in text:
        wide.append(wide[-1] + (2 if ord(character) > 0xFFFF else 1))
    ends = [wide[end] for end in tokens["end"]]
    lengths = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    bits = [round(10 * bits) for bits in tokens["surprisal"]]
    return {
        "text": text,
        "lengths": lengths,
        "bits": bits,
        "ranks": tokens["rank"].fillna(0).astype(int).tolist(),
    }


def _rounded(values: pd.Series | None) -> dict[str, float | None]:
    if values is None:
        return dict.fromkeys(METRICS)
    return {
        name: None if math.isnan(value) else float(f"{value:.4g}") if name != "tokens" else int(value)
        for name, value in values.items()
    }


def _documents(
    ids: Iterable[str], tables: dict[str, dict[str, list[dict[str, Any]]]]
) -> list[dict[str, Any]]:
    documents = []
    for doc_id in ids:
        texts = {source: table[doc_id] for source, table in tables.items() if doc_id in table}
        opening = next(iter(texts.values()))[0]
        documents.append(
            {
                "doc_id": doc_id,
                "title": opening["title"],
                "prompt": opening["prompt"],
                "texts": {
                    source: [{k: v for k, v in one.items() if k not in ("title", "prompt")} for one in own]
                    for source, own in texts.items()
                },
            }
        )
    return documents


if __name__ == "__main__":
    sys.exit(main())
