"""What reports show of a source's tokens; no more than that is read of them, for there may be very many."""

from pathlib import Path

import pandas as pd

from lib import paths, store
from lib.datasets.document import KEYS
from lib.params.run import Run, command
from lib.surprisal.rows import SCHEMA

SPELLED = ["token", "surprisal"]
ALONG = [*KEYS, "position", "end", "surprisal"]  # what a contour is drawn from


def read_spelled(run: Run) -> pd.DataFrame:
    """Each token of the run's source, a category, and its surprisal in bits."""
    with store.opened(*_file(run), SPELLED, read_dictionary=["token"]) as file:
        return file.read(columns=SPELLED).to_pandas()


def read_along(run: Run) -> pd.DataFrame:
    """The columns `ALONG` of each token of the run's source."""
    return store.read(*_file(run), ALONG, SCHEMA)


def read_chosen(run: Run, chosen: pd.DataFrame) -> pd.DataFrame:
    """The rows of `SCHEMA` of the texts of `chosen` (doc_id, sample), a few of many."""
    rows = store.read_texts(*_file(run), SCHEMA.names, chosen["doc_id"].unique())
    return rows.merge(chosen[KEYS].drop_duplicates(), on=KEYS)


def most_surprising(tokens: pd.DataFrame, count: int = 15, at_least: int = 5) -> pd.DataFrame:
    """The tokens with the highest mean surprisal among those that occur at least `at_least` times."""
    of_token = tokens.groupby("token", observed=True)["surprisal"]
    by_token = of_token.agg(occurrences="size", mean_surprisal="mean")
    by_token = by_token[by_token["occurrences"] >= at_least].nlargest(count, "mean_surprisal").reset_index()
    return by_token.assign(token=by_token["token"].astype(str).map(repr))


def _file(run: Run) -> tuple[Path, str]:
    """Where the tokens are, and the command that makes them."""
    return paths.surprisals(run.scorer_name, run.dataset_name, run.source_name), command("02_surprisal", run)
