"""A study's hypotheses as its front page shows them: each claim, its verdict and its numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

from lib import paths, store
from lib.compare import verdicts
from lib.compare.verdicts import Answer
from lib.compare.wording import probability
from lib.params import Study
from lib.params.run import resolve_comparison


def of_study(name: str, study: Study) -> list[Answer]:
    """The answers to the hypotheses of the study `name`; none if it declares none.

    Raises StudyError if it declares some and they have not been tested yet.
    """
    if not study.hypotheses:
        return []
    return verdicts.answers(store.read(paths.hypotheses(name), f"make study STUDY={name}"))


def of_comparison(given: Mapping[str, Any]) -> list[Answer]:
    """The answers of the study whose comparison the parameters `given` of 04_compare name.

    None where they have not been tested yet: a comparison can be made by hand before the study is whole.
    """
    name, study, _ = resolve_comparison(given)
    return of_study(name, study) if paths.hypotheses(name).exists() else []


def summary(found: Sequence[Answer]) -> str:
    """What became of them, in a few lines of Markdown."""
    if not found:
        return (
            "No hypotheses stand here: the study declares none, or `make study` has not tested them yet. "
            "All that follows is exploratory."
        )
    return f"{verdicts.tally(found)} {verdicts.disagreement(found)}".strip()


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
