"""A study's hypotheses as its front page shows them: each claim, its verdict and its numbers."""

from collections.abc import Sequence
from typing import Any

from lib import paths, store
from lib.compare import verdicts
from lib.compare.verdicts import Answer
from lib.compare.wording import probability
from lib.params import Study


def of_study(name: str, study: Study) -> list[Answer]:
    """The answers to the hypotheses of the study `name`; none if it declares none.

    Raises StudyError if it declares some and they have not been tested yet.
    """
    if not study.hypotheses:
        return []
    return verdicts.answers(store.read(paths.hypotheses(name), f"make study STUDY={name}"))


def table(found: Sequence[Answer]) -> dict[str, Any]:
    """What the template of the claims' table shows: `answers`, and the columns of `datasets` and `scorers`.

    A scorer is `independent` where it is so for every hypothesis.
    """
    readings = [reading for answer in found for reading in answer.scorers]
    independent = {
        scorer: all(r.independent for r in readings if r.scorer == scorer)
        for scorer in dict.fromkeys(r.scorer for r in readings)
    }
    return {
        "answers": [_row(answer) for answer in found],
        "datasets": list(dict.fromkeys(r.dataset for answer in found for r in answer.datasets)),
        "scorers": [{"name": name, "independent": free} for name, free in independent.items()],
    }


def _row(answer: Answer) -> dict[str, Any]:
    reading = answer.decisive
    return {
        "claim": answer.claim,
        "said": answer.said,
        "verdict": answer.verdict,
        "effect": reading.effect_text,
        "effect_name": verdicts.effect_label(reading.effect_name),
        "documents": reading.documents,
        "paired": reading.paired,
        "p": probability(reading.p).removeprefix("p ").removeprefix("= "),
        "datasets": {r.dataset: r for r in answer.datasets},
        "scorers": {
            r.scorer: {"says": verdicts.agrees(reading, r), "effect_text": r.effect_text}
            for r in answer.scorers
        },
    }
