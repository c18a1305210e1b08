"""The formulas of `lib.uid.measures`, each computed of some texts at once."""

from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np

from lib.params import UidSettings
from lib.uid.reading import Block, codes
from lib.uid.series import Series, divide, previous, sentences_of

SHORTEST_WAVE, SMALLEST_WAVE = 4, 1e-3  # tokens and bits below which a text has no period


class Measures:
    """The metrics of some texts: an attribute each, [texts].

    `starts` [texts] are where each text's sentences begin; `corpus` is the mean surprisal of all texts.
    Nothing is computed before it is asked for.
    """

    def __init__(
        self, block: Block, starts: Sequence[np.ndarray], settings: UidSettings, corpus: float
    ) -> None:
        self.keys, self.series, self.rows = block  # tokens or words of step 02
        self.s = self.rows["surprisal"].to_numpy()  # [values], bits
        self.starts, self.settings, self.corpus = starts, settings, corpus

    def columns(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """`names` as far as they are here."""
        return {name: getattr(self, name) for name in names if hasattr(Measures, name)}

    @property
    def tokens(self) -> np.ndarray:
        return self.series.lengths

    words = tokens

    @cached_property
    def deviation(self) -> np.ndarray:
        """From the text's mean, [values]."""
        return self.s - self.series.spread(self.mean_surprisal)

    @cached_property
    def squares(self) -> np.ndarray:
        """The sum of squared deviations, [texts]."""
        return self.series.sum(self.deviation**2)

    @cached_property
    def steps(self) -> np.ndarray:
        """From each value to the next, [values − 1]."""
        return np.diff(self.s)

    @cached_property
    def sentences(self) -> Series:
        return sentences_of(self.series, self.rows["end"].to_numpy(), self.starts)

    @cached_property
    def sentences_of_texts(self) -> Series:
        """The sentences of each text as a series of their own."""
        return Series(np.searchsorted(self.sentences.starts, self.series.starts), len(self.sentences))

    def over_sentences(self, values: np.ndarray) -> np.ndarray:
        """The mean of `values` [sentences] over a text's sentences of two values or more, [texts]."""
        of_texts, several = self.sentences_of_texts, self.sentences.lengths > 1
        return divide(of_texts.sum(np.where(several, values, 0.0)), of_texts.sum(several))

    @cached_property
    def previous(self) -> np.ndarray:
        """The row of each token's last occurrence, [values]; if in the same text, at least its start."""
        return previous(codes(self.rows, "token"))

    @cached_property
    def mean_surprisal(self) -> np.ndarray:
        return self.series.mean(self.s)

    @property
    def median_surprisal(self) -> np.ndarray:
        return self.series.median(self.s)

    @property
    def min_surprisal(self) -> np.ndarray:
        return self.series.minimum(self.s)

    @property
    def max_surprisal(self) -> np.ndarray:
        return self.series.maximum(self.s)

    @cached_property
    def uid_variance(self) -> np.ndarray:
        # A single value varies about nothing.
        return np.where(self.series.lengths > 1, self.squares / self.series.lengths, np.nan)

    @cached_property
    def uid_pairwise(self) -> np.ndarray:
        return self.series.of_neighbours(self.steps**2)

    @property
    def local_difference(self) -> np.ndarray:
        return self.series.of_neighbours(np.abs(self.steps))

    @property
    def super_linear_cost(self) -> np.ndarray:
        # A corrected word may be a little below 0 bits.
        cost = self.series.mean(np.maximum(self.s, 0) ** self.settings.power)
        return np.where(self.series.lengths > 1, cost, np.nan)

    @property
    def corpus_deviation(self) -> np.ndarray:
        """Σ (s − μ)²/N is the variance and the squared distance of the text's mean from μ."""
        return self.uid_variance + (self.mean_surprisal - self.corpus) ** 2

    @property
    def uid_variance_sentence(self) -> np.ndarray:
        deviation = self.s - self.sentences.spread(self.sentence_means)
        return self.over_sentences(self.sentences.mean(deviation**2))

    @property
    def uid_pairwise_sentence(self) -> np.ndarray:
        return self.over_sentences(self.sentences.of_neighbours(self.steps**2))

    @cached_property
    def sentence_means(self) -> np.ndarray:
        """The mean of each sentence, [sentences]."""
        return self.sentences.mean(self.s)

    @property
    def sentence_variance(self) -> np.ndarray:
        of_texts, means = self.sentences_of_texts, self.sentence_means
        variance = of_texts.mean((means - of_texts.spread(of_texts.mean(means))) ** 2)
        return np.where(of_texts.lengths > 1, variance, np.nan)

    @property
    def sentence_pairwise(self) -> np.ndarray:
        of_texts, means = self.sentences_of_texts, self.sentence_means
        return of_texts.of_neighbours(np.diff(means) ** 2)

    @property
    def spectral_peak(self) -> np.ndarray:
        varies = self.series.maximum(self.s) - self.series.minimum(self.s) > SMALLEST_WAVE
        found = np.full(len(self.series), np.nan)
        for i in np.flatnonzero(varies & (self.series.lengths >= SHORTEST_WAVE)):
            wave = self.deviation[self.series.starts[i] : self.series.ends[i]]
            power = np.abs(np.fft.rfft(wave)[1:]) ** 2
            found[i] = power.max() / power.sum()
        return found

    @property
    def coefficient_of_variation(self) -> np.ndarray:
        return divide(np.sqrt(self.uid_variance), self.mean_surprisal)

    @property
    def pairwise_ratio(self) -> np.ndarray:
        return divide(self.uid_pairwise, self.uid_variance)

    @property
    def autocorrelation(self) -> np.ndarray:
        products = self.series.of_neighbours(self.deviation[1:] * self.deviation[:-1])
        return divide(products * (self.series.lengths - 1), self.squares)

    @property
    def uid_variance_first_n(self) -> np.ndarray:
        n = self.settings.first_n
        long = self.series.lengths >= n
        found = np.full(len(self.series), np.nan)
        found[long] = self.s[self.series.starts[long, None] + np.arange(n)].var(axis=1)
        return found

    @property
    def vocab_size(self) -> np.ndarray:
        """Distinct tokens: those that have not occurred in the text before."""
        return self.series.sum(self.previous < self.series.spread(self.series.starts)).astype(np.int64)

    @property
    def moving_ttr(self) -> np.ndarray:
        """A token counts in the windows of W that it is in and its last occurrence is not.

        Token i of the tokens a … e − 1 of a text is in those that begin at max(a, i − W + 1) …
        min(i, e − W), and its last occurrence is not in those that begin after it.
        """
        window, i = self.settings.ttr_window, np.arange(self.series.size)
        begin = np.maximum(self.previous + 1, self.series.spread(self.series.starts))
        last = np.minimum(i, self.series.spread(self.series.ends - window))
        counted = np.maximum(last - np.maximum(begin, i - window + 1) + 1, 0)
        windows = self.series.lengths - window + 1
        total = self.series.sum(counted) / window
        return np.where(windows > 0, total / np.maximum(windows, 1), np.nan)
