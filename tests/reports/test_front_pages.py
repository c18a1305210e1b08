"""The page that lists every study, and studies that lie side by side."""

from lib import paths
from lib.reports.studies_page import write_studies_page


def test_every_study_that_ran_is_listed_one_whose_file_is_gone_by_its_name(project):
    for name in ("demo", "gone"):
        page = paths.study_page(name)
        page.parent.mkdir(parents=True)
        page.write_text("")
    said = write_studies_page().read_text()
    assert said.count("<li>") == 2
    assert 'href="studies/demo/index.html"' in said
    assert 'href="studies/gone/index.html">gone</a>' in said


def test_no_file_of_a_study_lies_where_another_ones_does(project):
    def places(study: str) -> list[object]:
        return [
            paths.comparison(study, "all", "tests"),
            paths.hypotheses(study),
            paths.rendered_comparison(study, "all"),
            paths.study_page(study),
            paths.texts_page(study, "notes"),
        ]

    assert not set(places("one")) & set(places("two"))
    assert len(set(places("one"))) == len(places("one"))
