"""`context: sent`: texts scored after what their model was really sent."""

import pandas as pd

from lib import paths, store
from lib.backends.engines import ENGINES
from lib.backends.prompts import given, given_raw
from lib.params.run import Run


def sent(run: Run, rows: pd.DataFrame) -> list[str]:
    """What was really sent for each row; of people and of imported texts its prompt."""
    how = store.read_record(paths.texts(run.dataset_name, run.source_name))["parameters"]
    # A server puts its conversations into a template of its own; what is known of them is JSON.
    templated = how.get("chat") and not ENGINES[how["weights"]["backend"]].remote
    return [
        row.prompt
        if pd.isna(row.sent)
        else given(row.sent, row.prompt, how.get("system_prompt"))
        if templated
        else given_raw(row.sent)
        for row in rows.itertuples()
    ]
