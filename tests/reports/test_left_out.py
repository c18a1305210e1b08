"""Whoever reads a report learns that texts of its dataset were left out as unfit."""

from lib import datasets
from lib.params import load_dataset, load_study
from lib.reports import notebook
from lib.reports.paper import Paper

SAID = "Left out as unfit: 1 text of the dataset notes."


def test_every_report_counts_what_was_left_out(small_study, monkeypatch):
    (small_study / "params" / "datasets" / "notes.yaml").write_text(
        "kind: folder\nfolder: notes\nskip_unfit: true\n"
    )
    given = {"model": "human", "study": "small"}
    shown: list[str] = []
    monkeypatch.setattr(notebook, "display", lambda text: shown.append(text.data))

    def about_the_paper() -> str:
        empty = dict.fromkeys(("summary", "tests", "models", "counts"))
        return Paper("small", load_study("small"), "all", answers=(), others={}, **empty).about()

    for unfit in (False, True):
        if unfit:
            (small_study / "notes" / "empty.txt").write_text("")
        datasets.load("notes", load_dataset("notes"))
        shown.clear()
        notebook.begin("01_generate", given)
        assert (SAID in shown[0]) == unfit
        assert (SAID in notebook.say("What is compared.", ["notes"]).data) == unfit
        assert (SAID in about_the_paper()) == unfit
