"""The page that lists every study that ran here with its verdicts, `rendered/index.html`."""

from pathlib import Path
from typing import Any

from lib import paths
from lib.compare import verdicts
from lib.compare.registration import registration
from lib.compare.verdicts import Answer
from lib.errors import StudyError
from lib.params import load_study
from lib.reports import claims
from lib.reports import page as report


def write_studies_page() -> Path:
    """Write the page from the front pages that there are; return its path.

    A study whose file was taken away since is listed by its name.
    """
    home = paths.index_page()
    studies = [
        _study(page.parent.name) | {"link": page.relative_to(home.parent).as_posix()}
        for page in sorted(paths.study_page("x").parents[1].glob("*/index.html"))
    ]
    return report.write_page(home, report.page_of("studies.html.j2", studies=studies))


def _study(name: str) -> dict[str, Any]:
    """What is said of a study: its title, its claims with their verdicts, and the count of them."""
    try:
        study = load_study(name)
        answers = claims.of_study(name, study)
        registered = str(registration(name)) if answers else ""
    except StudyError as error:
        return {"name": name, "title": name, "claims": [], "said": str(error), "registered": ""}
    return {
        "name": name,
        "title": study.title,
        "claims": [_claim(claim, found) for claim, found in verdicts.by_claim(answers).items()],
        "said": verdicts.tally(answers),
        "registered": registered,
    }


def _claim(claim: str, found: list[Answer]) -> dict[str, Any]:
    return {
        "name": claim if found[0].claim else "",
        "parts": [{"said": answer.said, "verdict": answer.verdict} for answer in found],
    }
