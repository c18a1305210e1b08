"""A study as plain tables for R, a spreadsheet or a thesis: `python -m lib.running.export demo`.

`exports/<study>/` gets one tidy table of texts with their measures, the hypotheses, tests, summaries
and models of its comparisons, a dictionary of every column, and an R script that reads them and
fits the study's own mixed model. Tokens and words come with `--with tokens words`.
"""

import argparse
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv

from lib import paths, store
from lib.commands import a_command
from lib.datasets import repository
from lib.errors import StudyError, nearest
from lib.params import Study, load_source, load_study
from lib.reports.columns import described

LONG = ("tokens", "words")
SCRIPT = Path(__file__).parent / "read.R"
ABOUT = "status", "finish_reason", "retries", "seed", "title", "prompt", "text"


@a_command
def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("study", nargs="?", default="demo")
    parser.add_argument("--with", dest="also", nargs="*", default=[], metavar="TABLE", help="tokens, words")
    arguments = parser.parse_args()
    folder = export(arguments.study, arguments.also)
    for file in sorted(folder.iterdir()):
        print(f"  {os.path.relpath(file)}  {file.stat().st_size:,} bytes")
    return 0


def export(name: str, also: Sequence[str] = ()) -> Path:
    """Write the tables of the finished study `name` and return their folder.

    `also` may name "tokens" and "words", one file each with a row per token or word. Numbers are
    written so that reading gives them back exactly; a missing value is an empty field. The folder
    appears whole: an earlier export stays until the new one is complete.

    Raises StudyError for a study that has not run, a broken file, or a table that does not exist.
    """
    for table in also:
        if table not in LONG:
            raise StudyError(f"An export has no further table {table!r}; {nearest(table, LONG)}")
    study = load_study(name)
    target = paths.export(name)
    made = target.with_name(f".{target.name}.{os.getpid()}.part")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    try:
        tables = {"texts": texts_table(name, study), **compared_tables(name, study)}
        for table, rows in tables.items():
            rows.to_csv(made / f"{table}.csv", index=False)
        for table in also:
            _write_long(made / f"{table}.csv", name, study, table)
        dictionary(made).to_csv(made / "dictionary.csv", index=False)
        shutil.copy(SCRIPT, made / "read.R")
        shutil.copy(paths.study_file(name), made / "study.yaml")
        shutil.rmtree(target, ignore_errors=True)
        made.replace(target)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return target


def texts_table(name: str, study: Study) -> pd.DataFrame:
    """A row per text and scorer: what is known of the text, and its measures where it has any."""
    parts = []
    for scorer, dataset, source in _places(name, study):
        texts = _read(paths.texts(dataset, source), name)
        measures = _read(paths.uid(scorer, dataset, source), name)
        declared = load_source(source)
        keys = [key for key in ("doc_id", "sample") if key in texts and key in measures]
        about = [column for column in ABOUT if column in texts]
        named = texts[[*keys, *about]].assign(
            source=source,
            text_class=declared.text_class,
            family=declared.family,
            dataset=dataset,
            scorer=scorer,
        )
        first = ["scorer", "dataset", "source", "text_class", "family", *keys]
        joined = named[[*first, *about]].merge(measures, on=keys, how="left", validate="one_to_one")
        parts.append(joined)
    return pd.concat(parts, ignore_index=True)


def compared_tables(name: str, study: Study) -> dict[str, pd.DataFrame]:
    """The tables of step 04, all comparisons of the study in one table each; and its hypotheses."""
    found = {}
    for table in ("summary", "tests", "models"):
        parts = [
            _read(paths.comparison(name, comparison, table), name).assign(comparison=comparison)
            for comparison in repository.narrowed(name, study).comparisons
        ]
        if parts:
            rows = pd.concat(parts, ignore_index=True)
            found[table] = rows[["comparison", *rows.columns.drop("comparison")]]
    if paths.hypotheses(name).exists():
        rows = _read(paths.hypotheses(name), name)
        found["hypotheses"] = rows.assign(**{side: rows[side].map(" ".join) for side in ("of", "against")})
    return found


def dictionary(folder: Path) -> pd.DataFrame:
    """A row per column of each CSV file in `folder`: file, column, unit, what it is.

    Raises StudyError for a column that nobody has described, so that none goes out without.
    """
    rows = []
    for file in sorted(folder.glob("*.csv")):
        for column in pd.read_csv(file, nrows=0).columns:
            about = described(file.stem, column)
            if about is None:
                raise StudyError(
                    f"The column {column!r} of {file.name} is not described in lib/reports/columns.py."
                )
            rows.append((file.name, column, *about))
    return pd.DataFrame(rows, columns=["file", "column", "unit", "what"])


def _places(name: str, study: Study) -> Iterator[tuple[str, str, str]]:
    """Each scorer, dataset and source of which the study has texts."""
    return ((scorer, *pair) for scorer in study.scorers for pair in repository.pairs(name, study))


def _write_long(path: Path, name: str, study: Study, table: str) -> None:
    """One file at a time, since tokens may not fit into memory together."""
    where = {"tokens": paths.surprisals, "words": paths.words}[table]
    writer = None
    try:
        for place in _places(name, study):
            rows = store.read_table(where(*place), f"make study STUDY={name}")
            about = dict(zip(("scorer", "dataset", "source"), place, strict=True))
            for column, value in reversed(about.items()):
                rows = rows.add_column(0, column, pa.array([value] * len(rows), pa.string()))
            writer = writer or pa_csv.CSVWriter(path, rows.schema)
            writer.write_table(rows.replace_schema_metadata(None))
    finally:
        if writer:
            writer.close()


def _read(path: Path, study: str) -> pd.DataFrame:
    return store.read(path, f"make study STUDY={study}")


if __name__ == "__main__":
    sys.exit(main())
