"""Variance components: known ones come back."""

import numpy as np
import pandas as pd
import pytest

from lib.compare.components import PARTS, components
from lib.compare.components import table as table_of
from lib.figures.components import components as figure


def test_known_components_come_back_and_people_have_none():
    rng = np.random.default_rng(0)
    documents, samples = 300, 3
    prompt = np.repeat(rng.normal(0, np.sqrt(2.0), documents), samples)
    length = rng.normal(7, 1, documents * samples)
    value = 10 + prompt + rng.normal(0, 1, documents * samples) + 1.0 * length
    model = pd.DataFrame(
        {
            "source": "model",
            "dataset": "d",
            "doc_id": np.repeat(np.arange(documents), samples).astype(str),
            "tokens": 2.0**length,
            "m": value,
        }
    )
    people = model.groupby("doc_id").head(1).assign(source="people")
    table = components(pd.concat([people, model]), "m")
    assert set(table["source"]) == {"model"}
    found = table.set_index("part")
    assert found["variance"].to_dict() == pytest.approx({"prompt": 2, "chance": 1, "length": 1}, rel=0.2)
    for part, share in {"prompt": 0.5, "chance": 0.25, "length": 0.25}.items():
        assert found.loc[part, "low"] < share < found.loc[part, "high"]
    assert found["share"].sum() == pytest.approx(1)
    assert (
        "model, prompt: 5" in figure(table).to_dict()["description"]
        or "model, prompt: 4" in figure(table).to_dict()["description"]
    )
    assert figure(table.iloc[:0]) is None
    (said,) = table_of(table).to_dict("records")
    assert list(said) == ["source", *PARTS]
    share, low, high = (f"{found.loc['chance', name]:.0%}" for name in ("share", "low", "high"))
    assert said["chance"] == f"{share} ({low} to {high})"
    assert table_of(table.iloc[:0]).empty
