"""What a study would find, before anything is generated: `python -m lib.running.plan demo` (`make plan`).

python -m lib.running.plan demo                        at the declared size, with stated numbers
python -m lib.running.plan mine --pilot demo           with the spread that a finished study shows
python -m lib.running.plan mine --prompts 300 --correlation 0.4 --chance 0.6
"""

import argparse
import math
import sys
from pathlib import Path
from time import monotonic

import pandas as pd

from lib import paths
from lib.commands import a_command
from lib.compare import named, power
from lib.compare.power import MORE, STUDIES, WANTED, Population, Size
from lib.errors import StudyError
from lib.figures import power as figures
from lib.params import Study
from lib.reports import charts, page
from lib.running import cost
from lib.running.check import checked_study

UNMEASURED = (
    "`make plan SPEEDS=yes` measures, by short runs, how fast the models write and read on this machine."
)


@a_command
def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("study", nargs="?", default="demo")
    parser.add_argument("--pilot", help="a finished study whose spread is taken")
    parser.add_argument("--prompts", type=int, help="of each dataset; as the study declares by default")
    parser.add_argument(
        "--correlation", type=float, help="between two sources' texts of a prompt; 0.3 by default"
    )
    parser.add_argument("--chance", type=float, help="share of variance that is the sample's; 0.5 by default")
    parser.add_argument("--speeds", action="store_true", help="measure how fast the models are here")
    given = parser.parse_args()
    began = monotonic()
    study = checked_study(given.study)
    for failed in cost.measure(study) if given.speeds else []:
        print(failed, file=sys.stderr)
    price = None if study.imported else cost.table(study)
    if price is not None:
        print(f"{_plain(price)}\n{UNMEASURED if 'not measured' in set(price['device']) else ''}", flush=True)
        if not study.hypotheses:
            return 0
    table, file = plan(
        given.study, study, given.pilot, given.prompts, given.correlation, given.chance, price=price
    )
    print(_plain(table))
    print(f"\nPlanned in {monotonic() - began:.0f} s: {paths.shown(file)}")
    return 0


def _plain(table: pd.DataFrame) -> str:
    return table.to_markdown(index=False, tablefmt="plain")


def plan(
    name: str,
    study: Study,
    pilot: str | None = None,
    prompts: int | None = None,
    correlation: float | None = None,
    chance: float | None = None,
    studies: int = STUDIES,
    price: pd.DataFrame | None = None,
) -> tuple[pd.DataFrame, Path]:
    """The table of a study's plan, and the page that is written with its figures and its `price`.

    Raises StudyError for a study without hypotheses, numbers that cannot be, or a pilot without measures.
    """
    named.check(study)
    contrasts = study.contrasts()
    if not contrasts:
        raise StudyError(
            f"The study {name!r} declares no hypothesis to plan for; write them under `hypotheses`."
        )
    if prompts is not None and prompts < 3:
        raise StudyError(f"`--prompts` is {prompts}, but a hypothesis needs 3 documents or more.")
    if pilot and correlation is not None:
        raise StudyError("A plan takes its correlation from a pilot or from a stated number, not from both.")
    stated = Population(
        Population.correlation if correlation is None else correlation,
        Population.chance if chance is None else chance,
    )
    metrics = sorted({contrast.declared.metric for contrast in contrasts})
    populations = power.of_pilot(pilot, study, stated.chance) if pilot else dict.fromkeys(metrics, stated)
    size = power.size_of(study, prompts)
    table, points = power.plan(contrasts, size, populations, studies)
    if pilot and all(set(study.sources) <= set(has.level) for has in populations.values()):
        found = power.power(contrasts, size, populations, studies=studies)
        table["pilot"] = table["hypothesis"].map(found)
    shown = _shown(table, size)
    sentences = _sentences(study, size, populations, pilot, studies)
    drawn = [
        charts.chart_html(figures.power(points, kind, WANTED))
        for kind in ("effect", "prompts", "samples")
        if (points["kind"] == kind).any()
    ]
    html = page.page_of(
        "plan.html.j2",
        title=f"Plan of the study {name}",
        sentences=sentences,
        columns=list(shown.columns),
        rows=shown.to_numpy().tolist(),
        price=None if price is None else {"columns": list(price.columns), "rows": price.to_numpy().tolist()},
        unmeasured=UNMEASURED,
        charts=drawn,
        vega=page.vega_bundle(),
        hydrate=page.hydrate_script(),
    )
    return shown, page.write_page(paths.plan_page(name), html)


def _shown(table: pd.DataFrame, size: Size) -> pd.DataFrame:
    declared, most = sum(size.prompts.values()), MORE[-1]

    def number(value: float, beyond: str) -> str:
        return beyond if math.isnan(value) else f"{math.ceil(value)}"

    found = pd.DataFrame(
        {
            "hypothesis": table["hypothesis"],
            "power at the margin": [f"{value:.0%}" for value in table["power"]],
            "smallest effect": [_effect(row) for row in table.itertuples()],
            "prompts needed": [number(value, f"above {most * declared}") for value in table["prompts"]],
            "samples needed": [number(value, f"above {most}") for value in table["samples"]],
        }
    )
    if "pilot" in table:
        found["power at the pilot's effects"] = [f"{value:.0%}" for value in table["pilot"]]
    return found


def _effect(row: object) -> str:
    value: float = row.smallest  # type: ignore[attr-defined]
    if math.isnan(value):
        return "–"
    return f"ratio {value:.2f}" if row.aspect == "spread" else f"{value:+.2f} SD"  # type: ignore[attr-defined]


def _sentences(
    study: Study, size: Size, populations: dict[str, Population], pilot: str | None, studies: int
) -> list[str]:
    prompts = " and ".join(f"{count} prompts of {name}" for name, count in size.prompts.items())
    from_where = f"the study {pilot} shows" if pilot else "was stated"
    numbers = "; ".join(
        f"{metric}: correlation {has.correlation:.2f} between sources, share of chance {has.chance:.2f}"
        for metric, has in populations.items()
    )
    return [
        f"Declared are {prompts}, with {max(size.samples.values())} text(s) per prompt and model, and "
        f"{len(study.hypotheses)} hypotheses, corrected together after Holm.",
        f"Each share is of {studies} simulated studies, tested by the functions that test the real one; the "
        f"numbers are as {from_where} ({numbers}).",
        "Power at the margin: how often a difference just as large as the hypothesis' margin is found; of a "
        "hypothesis that expects “not less” or “not more”, how often it is shown where there is no "
        f"difference. Smallest effect: what {WANTED:.0%} of studies find. Prompts and samples needed: for "
        f"{WANTED:.0%} at the margin, in all datasets together.",
    ]


if __name__ == "__main__":
    sys.exit(main())
