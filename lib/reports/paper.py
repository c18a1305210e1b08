"""What the paper quotes: a study's files, and the sentences that follow from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import nbformat
import pandas as pd

from lib import datasets, paths, store
from lib.compare import components, explored, findings, verdicts
from lib.compare.measured import texts_of
from lib.compare.registration import registration
from lib.compare.verdicts import Answer
from lib.errors import StudyError
from lib.params import Study, load_dataset, load_scorer, load_source, load_study
from lib.reports import cells, claims

MADE_BY = "make study"
# How to speak of a group: of one source, and of several that are pooled.
CLASS_NAMES = {
    "human": ("people", "people"),
    "base": ("the base model", "the base models"),
    "instruct": ("the fine-tuned model", "the fine-tuned models"),
    "rlhf": ("the model tuned on preferences", "the models tuned on preferences"),
}
# What a figure is drawn from, by what its cell hands on.
DRAWN_FROM = {
    "(answers)": "`data/compare/{study}/hypotheses.parquet`",
    "compared.tests": "`data/compare/{study}/{comparison}/tests.parquet`",
    "tables.contours(": "`data/surprisals/{scorer}/`",
    "compared.texts": "`data/uid/{scorer}/`",
}


@dataclass(frozen=True)
class Paper:
    """What became of a study's hypotheses, and the tables of its main comparison, which is exploratory.

    `counts` has the texts of each source by status. No sentence is ever empty: Quarto would show the
    code in its place.
    `others` are the tests of the study's comparisons by another scorer, by the comparison's name.
    """

    name: str
    study: Study
    comparison: str
    answers: Sequence[Answer]
    summary: pd.DataFrame
    tests: pd.DataFrame
    models: pd.DataFrame
    counts: pd.DataFrame
    others: Mapping[str, pd.DataFrame]

    @property
    def scorer(self) -> str:
        return self.study.scorer_of(self.comparison)

    @property
    def classes(self) -> dict[str, str]:
        """The class of each group; of one that pools several, such as "base+rlhf"."""
        return dict(zip(self.summary["group"], self.summary["text_class"], strict=True))

    @property
    def names(self) -> Mapping[str, str]:
        """How to speak of a group: by its class, or by its own name where several share a class."""
        groups, classes = self.study.groups_of(self.comparison), list(self.classes.values())
        return {
            group: CLASS_NAMES[text_class][len(groups[group]) > 1]
            if classes.count(text_class) == 1 and text_class in CLASS_NAMES
            else group
            for group, text_class in self.classes.items()
        }

    @property
    def texts(self) -> int:
        return int(self.counts.sum().sum())

    def about(self) -> str:
        """Which study this is, and what of its datasets was left out."""
        title = f"This paper is about the study “{self.name}”: {self.study.title.rstrip('.')}."
        return " ".join(filter(None, (title, datasets.left_out_said(self.study.datasets))))

    def abstract(self) -> str:
        """Every verdict, and whether scorers disagree."""
        return " ".join(filter(None, (verdicts.in_short(self.answers), self.scorers())))

    def front(self) -> str:
        """The abstract as a block of metadata, which Pandoc adds to the paper's own."""
        question = (
            "Language models are tuned on human preferences to please their readers. Does such tuning make "
            "text more uniform in information, in level and from text to text? People and models continue "
            "the same openings, one scoring model gives every token its surprisal, and its variance sums up "
            "each text."
        )
        return f"---\nabstract: |\n  {question} {self.abstract()}\n---\n"

    def declared(self) -> str:
        """How many hypotheses the study declares, and of which claims."""
        if not self.answers:
            return verdicts.tally(self.answers)
        named = [claim for claim in dict.fromkeys(answer.claim for answer in self.answers) if claim]
        of = f" as parts of the claims {', '.join(named)}" if named else ""
        plural = "hypotheses" if len(self.answers) != 1 else "hypothesis"
        return (
            f"The study declares {len(self.answers)} {plural}{of} in its file; they are "
            f"{registration(self.name)}."
        )

    def verdicts(self) -> str:
        """Every hypothesis with its verdict, as a Markdown table."""
        return _markdown(verdicts.verdict_table(self.answers)) or verdicts.tally(self.answers)

    def claims(self) -> str:
        """A paragraph per claim: what became of its hypotheses; numbers of open ones are in `open`."""
        return "\n\n".join(
            f"**{claim} ({verdicts.standing(found)}).** {self._claim(found)}" if found[0].claim else
            f"**{verdicts.standing(found).capitalize()}.** {self._claim(found)}"
            for claim, found in verdicts.by_claim(self.answers).items()
        ) or verdicts.tally(self.answers)  # fmt: skip

    def _claim(self, found: Sequence[Answer]) -> str:
        settled = [answer.paragraph() for answer in found if answer.verdict != "open"]
        left = [f"“{answer.sentence.rstrip('. ')}”" for answer in found if answer.verdict == "open"]
        stays = f"Not decided: {'; '.join(left)}." if left else ""
        return " ".join(filter(None, [*settled, stays]))

    def open(self) -> str:
        """What is not decided, with its numbers, in one table."""
        table = verdicts.open_table(self.answers)
        if table.empty:
            return "No hypothesis stays open." if self.answers else verdicts.tally(self.answers)
        return _markdown(table)

    def scorers(self) -> str:
        """Whether the scorers disagree in direction."""
        return verdicts.disagreement(self.answers) or "No hypothesis was tested by any scorer."

    def explored(self) -> str:
        """What of the comparison stands though nobody declared it: the count, then a table."""
        table = _markdown(explored.table(self.tests))
        return "\n\n".join(filter(None, (explored.sentence(self.tests), table)))

    def means(self, metric: str) -> str:
        """ "14.50 ± 2.26 for people, … and …": mean ± standard deviation over the texts of each group."""
        values = {group: found[metric] for group, found in findings.numbers(self.summary).items()}
        *parts, last = (
            f"{v['mean']:.2f} ± {v['std']:.2f} for {self.names[group]}" for group, v in values.items()
        )
        return f"{', '.join(parts)} and {last}"

    def by_another_scorer(self) -> str:
        """Whether the exploratory findings stand when another model gives the surprisals."""
        if not self.others:
            return f"Every comparison is by {self.scorer}."
        sentences = []
        for name, tests in self.others.items():
            scorer = self.study.scorer_of(name)
            there = {frozenset(pair) for pair in zip(tests["group_a"], tests["group_b"], strict=True)}
            first = [
                f
                for f in findings.findings(self.tests)
                if frozenset((f.group_a, f.group_b)) in there and f.metric in set(tests["metric"])
            ]
            pairs = list(dict.fromkeys((f.group_a, f.group_b) for f in first))
            second = findings.findings(tests, pairs=pairs)
            sentences.append(findings.agreement_sentence(first, second, f"With {scorer} as the scorer,"))
        return " ".join(sentences)

    def at_equal_length(self, metric: str = "uid_variance") -> str:
        """The mixed-effects models' estimates for the tuned classes, on all and on matched texts."""
        there = [name for name in CLASS_NAMES if name in self._text_classes()]
        reference = "human" if "human" in there else min(there)
        datasets = self.study.datasets
        where = f"in the dataset {min(datasets)}" if len(datasets) > 1 else ""
        tuned = [name for name in ("rlhf", "instruct") if name in there and name != reference]
        return (
            " ".join(
                findings.matched_sentence(self.models, f"class[{name}]", metric, reference, where)
                for name in tuned
            )
            or "No tuned model was set against others at equal length."
        )

    def _text_classes(self) -> set[str]:
        return {load_source(source).text_class for source in self.study.sources_of(self.comparison)}

    def components(self, metric: str = "uid_variance") -> str:
        """What the spread between a source's texts is made of, where it wrote several after a prompt."""
        sources = self.study.sources_of(self.comparison)
        texts = texts_of(self.name, self.study, self.scorer, sources, ["tokens", metric], MADE_BY)
        table = components.table(components.components(texts, metric))
        if table.empty:
            return (
                "No model has enough prompts with several texts each, so what a prompt brings to the spread "
                "cannot be told from what chance brings."
            )
        return (
            "Spread between the texts of a model is the prompt's, chance's, for another text after the same "
            f"prompt would differ, and length's. Shares of the variance, with 95 % intervals:\n\n"
            f"{_markdown(table)}"
        )

    def paired(self) -> str:
        return findings.paired_sentence(self.tests)

    def unusual(self) -> str:
        """What became of texts that are not as they should be."""
        short, failed = (int(self.counts[status].sum()) for status in ("short", "error"))
        measured = sum(int(found["uid_variance"]["n"]) for found in findings.numbers(self.summary).values())
        without = self.texts - measured
        left = (
            f"{without} {'has' if without == 1 else 'have'} no measures, being empty or too short for them, "
            f"and {measured} are in the tests."
            if without
            else "All have measures and are in the tests."
        )
        return (
            f"{short or 'None'} of the {self.texts} texts stayed shorter than asked for after all retries "
            f"(such are kept); {failed or 'none'} failed. {left}"
        )

    def describe(self) -> str:
        """The sources, datasets and scorers, in a sentence."""
        classes = {
            source: load_source(source).text_class for source in self.study.sources_of(self.comparison)
        }
        sources = ", ".join(
            source if source == text_class else f"{source} ({text_class})"
            for source, text_class in classes.items()
        )
        datasets = ", ".join(f"{name} ({load_dataset(name).kind})" for name in self.study.datasets)
        several = len(self.study.datasets) > 1
        context = {"prompt": "the prompt", "none": "nothing"}[load_scorer(self.scorer).scoring.context]
        return (
            f"The sources are {sources}; the {'datasets are' if several else 'dataset is'} {datasets}; the "
            f"scorer is {self.scorer}, with {context} as context."
        )

    def limits(self) -> str:
        """What the study's file says of its own limits."""
        return self.study.limits or "The study's file names no limits of its own."

    def provenance(self) -> str:
        """What the numbers and figures were made of, so that anyone can tell whether theirs are the same."""
        record = store.read_record(paths.comparison(self.name, self.comparison, "tests"))
        versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
        digest = store.digest(f"{name} {value}" for name, value in sorted(record["inputs"].items()))
        return (
            f"This is the study “{self.name}”, its comparison “{self.comparison}”. The numbers come from "
            f"`data/compare/{self.name}/`, the figures from the notebook "
            f"`{paths.shown(paths.rendered_comparison(self.name, self.comparison))}`; both were made of "
            f"{len(record['inputs'])} files of measures with the joint SHA-256 {digest[:16]}, by {versions}, "
            f"{record['parameters']['draws']} bootstrap draws and the seed {record['parameters']['seed']}."
        )

    def figures(self, labels: Sequence[str]) -> str:
        """A Markdown table: each figure, the cell of the notebook that drew it, and from which files."""
        drawn_by = _labelled_cells()
        rows = []
        for label in labels:
            number, code = drawn_by[label]
            files = next(file for sign, file in DRAWN_FROM.items() if sign in code)
            files = files.format(study=self.name, comparison=self.comparison, scorer=self.scorer)
            rows.append(f"| @{label} | {number} | `{code.partition('(')[0]}` | {files} |")
        return "\n".join(
            ["| figure | cell | drawn by | drawn from |", "|:-----|:---|:----------|:-----------|", *rows]
        )


def paper(study: str | None = None, comparison: str | None = None) -> Paper:
    """The paper's source: of the study whose notebook lies where the paper takes its figures from.

    Raises StudyError if the study has not been run.
    """
    if study is None or comparison is None:
        given = _notebook().metadata["papermill"]["parameters"]
        study, comparison = given["study"], given["comparison"]
    declared = load_study(study)
    tables = {
        table: store.read(paths.comparison(study, comparison, table), MADE_BY)
        for table in ("summary", "tests", "models")
    }
    statuses = {
        (source, dataset): store.read(paths.texts(dataset, source), MADE_BY)["status"].value_counts()
        for source in declared.sources_of(comparison)
        for dataset in declared.datasets
    }
    counts = pd.DataFrame(statuses).T.reindex(columns=["ok", "short", "error"]).fillna(0).astype(int)
    others = {
        name: store.read(paths.comparison(study, name, "tests"), MADE_BY)
        for name in declared.comparisons
        if declared.scorer_of(name) != declared.scorer_of(comparison)
    }
    answers = claims.of_study(study, declared)
    return Paper(study, declared, comparison, answers, counts=counts, others=others, **tables)


def _markdown(table: pd.DataFrame) -> str:
    return "" if table.empty else str(table.to_markdown(index=False, disable_numparse=True))


def _notebook() -> nbformat.NotebookNode:
    path = paths.paper_notebook()
    if not path.exists():
        raise StudyError(
            f"{paths.shown(path)} does not exist yet; `make study` makes it for a study with `paper: true`."
        )
    return nbformat.read(path, as_version=4)


def _labelled_cells() -> dict[str, tuple[int, str]]:
    """The number of each cell with a label when it ran, and its code."""
    labelled = {cells.options(cell).get("label"): cell for cell in _notebook().cells}
    return {label: (cell.execution_count, cells.code(cell)) for label, cell in labelled.items() if label}
