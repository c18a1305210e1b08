"""The metrics that a study names, checked before anything is made; no library of statistics is needed."""

from lib.errors import StudyError, nearest, shortened
from lib.params import Study
from lib.uid.measures import METRICS


def check(study: Study) -> None:
    """Raise StudyError for a hypothesis or comparison about a metric that step 03 does not make."""
    for name, hypothesis in study.hypotheses.items():
        if hypothesis.metric not in METRICS:
            raise StudyError(
                f"Hypothesis {name!r} is about the metric {shortened(hypothesis.metric)}, which step 03 does "
                f"not make; {nearest(hypothesis.metric, METRICS)}"
            )
    for name, comparison in study.comparisons.items():
        for metric in comparison.metrics:
            if metric not in METRICS:
                raise StudyError(
                    f"Comparison {name!r} names the metric {metric!r}, which step 03 does not make; "
                    f"{nearest(metric, METRICS)}"
                )
