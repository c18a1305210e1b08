"""The page that lists every study that ran here, `rendered/index.html`."""

from pathlib import Path

from lib import paths
from lib.errors import StudyError
from lib.params import load_study
from lib.reports import page as report


def write_studies_page() -> Path:
    """Write the page from the front pages that there are; return its path.

    A study whose file was taken away since is listed by its name.
    """
    home = paths.index_page()
    studies = [
        {"name": page.parent.name, "title": _title(page.parent.name), "link": page.relative_to(home.parent)}
        for page in sorted(paths.study_page("x").parents[1].glob("*/index.html"))
    ]
    return report.write_page(home, report.page_of("studies.html.j2", studies=studies))


def _title(study: str) -> str:
    try:
        return load_study(study).title
    except StudyError:
        return study
