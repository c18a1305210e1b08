"""From texts to documents: what each side of a contrast says of each document.

The unit of a hypothesis is the document, not the text. A document's value of a source is the mean over
the source's samples, and of a side the mean over its sources (`lib.params.hypotheses.Contrast` has each
one's share). A document counts on a side if each of the side's sources has a value there, so that no
difference between documents is one between sources. Documents that both sides have are paired; where there
are fewer than three in a dataset they are not, and each side then has its own documents.

For spread, a source's value of a document is its distance from the source's median over the documents
(Brown & Forsythe 1974), so that sources of different levels can be pooled. Where one source has more
samples than another, as models may have and people do not, the mean of several samples would vary less
for that alone; distances are then those of single texts, averaged over samples after.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lib.compare.measured import documents_of
from lib.compare.permutation import Sides
from lib.params import Aspect, Contrast

SMALLEST = 3  # documents of a side


@dataclass(frozen=True)
class Measured:
    """One metric of many texts: `values` [texts] with the numbers of each one's document and source.

    `strata` [documents] is the number of each document's dataset in `datasets`. Missing values are left out.
    """

    values: np.ndarray
    document: np.ndarray
    source: np.ndarray
    sources: tuple[str, ...]
    strata: np.ndarray
    datasets: tuple[str, ...]

    @classmethod
    def of(cls, texts: pd.DataFrame, metric: str) -> "Measured":
        """`texts` has the columns `doc_id`, `source`, `dataset` and `metric`, in rows of any order."""
        datasets, names = pd.factorize(texts["dataset"], sort=True)
        # The number of a document follows from its name, so that the order of rows decides nothing.
        document, first = documents_of(texts)
        source, sources = pd.factorize(texts["source"])
        values = texts[metric].to_numpy(float)
        kept = np.isfinite(values)
        order = np.lexsort((values[kept], source[kept], document[kept]))
        return cls(
            values[kept][order],
            document[kept][order],
            source[kept][order],
            tuple(map(str, sources)),
            datasets[first],
            tuple(map(str, names)),
        )

    def of_source(self, name: str, dataset: int) -> "Texts":
        """The texts of one source in the dataset of that number."""
        number = self.sources.index(name) if name in self.sources else -1
        mine = (self.source == number) & (self.strata[self.document] == dataset)
        return Texts(self.values[mine], self.document[mine])


@dataclass(frozen=True)
class Texts:
    """One source's texts: `values` and the number of each one's document, in the order of the documents."""

    values: np.ndarray
    document: np.ndarray

    @property
    def samples(self) -> int:
        """The most texts of a document."""
        return int(np.unique(self.document, return_counts=True)[1].max(initial=0))

    def by_document(self) -> "Texts":
        """One value per document, the mean of its texts."""
        documents, at, counts = np.unique(self.document, return_inverse=True, return_counts=True)
        return Texts(np.bincount(at, weights=self.values, minlength=len(documents)) / counts, documents)

    def within(self, documents: np.ndarray) -> "Texts":
        """Those of `documents`, which are sorted."""
        at = np.minimum(np.searchsorted(documents, self.document), max(len(documents) - 1, 0))
        kept = documents[at] == self.document if len(documents) else np.zeros(len(self.document), bool)
        return Texts(self.values[kept], self.document[kept])

    def moments(self, documents: np.ndarray) -> np.ndarray:
        """Per document of `documents`: texts, their sum and sum of squares around the mean of all, [n, 3]."""
        at = np.searchsorted(documents, self.document)
        centred = self.values - self.values.mean()
        columns = [np.bincount(at, weights=w, minlength=len(documents)) for w in (None, centred, centred**2)]
        return np.stack(columns, axis=1).astype(float)


@dataclass(frozen=True)
class Side:
    """What a side says of its documents: `values` [n], and `moments` [sources, n, 3] with the shares."""

    values: np.ndarray
    moments: np.ndarray
    shares: np.ndarray


@dataclass(frozen=True)
class Stratum:
    """Both sides in one dataset. Of `paired` sides the documents are the same, in the same order."""

    dataset: str
    of: Side
    against: Side
    paired: bool

    @property
    def sides(self) -> Sides:
        return Sides(self.of.values, self.against.values, self.paired)


def strata(measured: Measured, whole: Contrast) -> list[Stratum]:
    """Both sides of the contrast `whole` in each dataset in which each has `SMALLEST` documents or more.

    A source of which a dataset has no text at all is left out of its side there, as the published study's
    repository lacks some.
    """
    found = []
    for number, name in enumerate(measured.datasets):
        texts = {source: measured.of_source(source, number) for source in whole.sources}
        contrast = whole.among([source for source, some in texts.items() if len(some.values)])
        if contrast is None:
            continue
        texts = {source: texts[source] for source in contrast.sources}
        if contrast.declared.aspect == "spread" and len({some.samples for some in texts.values()}) == 1:
            texts = {source: some.by_document() for source, some in texts.items()}
        of, against = (_complete(texts, side) for side in (contrast.of, contrast.against))
        both = np.intersect1d(of, against, assume_unique=True)
        paired = len(both) >= SMALLEST
        if paired:
            of = against = both
        if min(len(of), len(against)) < SMALLEST:
            continue
        aspect = contrast.declared.aspect
        sides = _side(texts, contrast.of, of, aspect), _side(texts, contrast.against, against, aspect)
        found.append(Stratum(name, *sides, paired))
    return found


def _complete(texts: Mapping[str, Texts], shares: Mapping[str, float]) -> np.ndarray:
    """The documents of which each source of a side has a text, sorted."""
    parts = [np.unique(texts[source].document) for source in shares]
    common = parts[0]
    for more in parts[1:]:
        common = np.intersect1d(common, more, assume_unique=True)
    return common


def _side(
    texts: Mapping[str, Texts], shares: Mapping[str, float], documents: np.ndarray, aspect: Aspect
) -> Side:
    values, moments = np.zeros(len(documents)), []
    for source, share in shares.items():
        mine = texts[source].within(documents)
        moments.append(mine.moments(documents))
        if aspect == "spread":
            mine = Texts(np.abs(mine.values - np.median(mine.values)), mine.document)
        values += share * mine.by_document().values
    return Side(values, np.stack(moments), np.array(list(shares.values())))


def standard_deviation(values: Sequence[np.ndarray]) -> float:
    """The root of the mean sample variance of `values`."""
    return float(np.sqrt(np.mean([some.var(ddof=1) for some in values])))
