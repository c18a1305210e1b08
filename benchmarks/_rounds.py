"""Engines of a benchmark in turns, so that noise meets all alike; results as files, tables of the files.

python benchmarks/_rounds.py          makes the tables of benchmarks/README.md of benchmarks/results/

A round is every engine once, A B C …, each in a process of its own. Engines are compared within a round only:
medians and ranges are those of the rounds' ratios. Each measurement is in the file as soon as it is there, so
that a benchmark may be cut into as many calls as one likes (`--seconds`). One file per benchmark and machine.
"""

import argparse
import hashlib
import json
import os
import re
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from _process import in_own_process

from lib import machine, store
from lib.imports import code_hash

HERE = Path(__file__).resolve().parent
README = HERE / "README.md"
TOLD = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_tile", "amx_bf16", "asimd", "sve", "bf16")
FEW = 3  # rounds, below which nothing is said of an aim
WIDE = 1.3  # a range of ratios whose ends are further apart than this means nothing
BUSY = 0.1  # of the processors taken by others while an engine ran, from which on it is said
OTHERS = "others"


@dataclass(frozen=True)
class Ratio:
    """The figure of `engine` over that of `other` in one round, and what it should at least be."""

    engine: str
    other: str
    aim: float | None = None
    figure: str = "tokens_per_second"


@dataclass(frozen=True)
class Limit:
    """What a figure of `engine` should at most be."""

    engine: str
    figure: str
    most: float


@dataclass(frozen=True)
class Column:
    """A figure as a table shows it."""

    figure: str
    title: str
    digits: int = 0


@dataclass(frozen=True)
class Benchmark:
    """What is measured: engines by name and as a table calls them, and what is to be seen.

    `code` are the modules of `lib` that are measured; with them, `settings` and the versions of `packages`
    decide which measurements belong together.
    """

    script: str
    engines: Mapping[str, str]
    columns: Sequence[Column]
    ratios: Sequence[Ratio]
    limits: Sequence[Limit] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    packages: Sequence[str] = ("torch", "transformers")
    code: Sequence[str] = ()

    @property
    def name(self) -> str:
        return Path(self.script).stem


def arguments(description: str | None) -> argparse.ArgumentParser:
    """What every benchmark in rounds may be told; `--engine` and `--folder` are for its own processes."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="how many there are to be in the file")
    parser.add_argument("--seconds", type=float, help="begin nothing that would not end within them")
    parser.add_argument("--engines", nargs="+", help="these only")
    parser.add_argument("--fresh", action="store_true", help="begin the file anew")
    parser.add_argument("--results", type=Path, default=HERE / "results", help=argparse.SUPPRESS)
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser


def described() -> dict[str, Any]:
    """This machine, as far as it decides speeds."""
    import torch

    return {
        "processor": machine.processor(),
        "instruction_sets": [each for each in TOLD if each in machine.instruction_sets()],
        "processors": machine.processors(),
        "threads": torch.get_num_threads(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
    }


class Rounds:
    """The measurements of a benchmark on this machine, kept in a file."""

    def __init__(self, benchmark: Benchmark, given: argparse.Namespace) -> None:
        self.benchmark, self.given = benchmark, given
        self.machine = described()
        slug = f"{self.machine['processor']} {self.machine['processors']} processors".lower()
        self.file: Path = given.results / f"{benchmark.name}-{re.sub(r'[^a-z0-9]+', '-', slug)}.json"
        own = hashlib.sha256(Path(benchmark.script).read_bytes()).hexdigest()
        self.of = {
            "settings": dict(benchmark.settings),
            "versions": {name: store.version(name) for name in benchmark.packages},
            "code": code_hash(*benchmark.code) if benchmark.code else "",
            "script": own,
        }
        self.runs = [] if given.fresh else self._kept()
        self.engines = [name for name in benchmark.engines if name in (given.engines or benchmark.engines)]

    def _kept(self) -> list[dict[str, Any]]:
        if not self.file.exists():
            return []
        there = json.loads(self.file.read_text())
        if there["of"] == json.loads(json.dumps(self.of)) and there["machine"] == self.machine:
            return list(there["runs"])
        print(f"{self.file.name} was measured with other settings, versions or code; it begins anew")
        return []

    def missing(self) -> Iterator[tuple[int, str]]:
        """Round and engine of what is not measured yet, round by round."""
        there = {(run["round"], run["engine"]) for run in self.runs}
        for number in range(self.given.rounds):
            yield from ((number, name) for name in self.engines if (number, name) not in there)

    def measure(self, folders: Mapping[str, Path]) -> None:
        """Measure what is missing, in turns, as far as the time given allows; print what came of it.

        `folders` has for each engine what its process is given.
        """
        began = time.monotonic()
        for number, engine in self.missing():
            took = [run["took"] for run in self.runs if run["engine"] == engine]
            ends = time.monotonic() - began + max(took, default=0)
            if self.given.seconds is not None and ends > self.given.seconds:
                break
            self.runs.append({"round": number, "engine": engine, **self._one(engine, folders[engine])})
            self._save()
            figures = self.runs[-1]["figures"]
            said = "  ".join(f"{k} {v:,.3g}" for k, v in figures.items() if isinstance(v, int | float))
            print(f"{number + 1}  {engine:22} {said}  others {self.runs[-1][OTHERS]:.2f}", flush=True)
        left = len(list(self.missing()))
        print("\n".join(tables(json.loads(self.file.read_text()))))
        if left:
            print(f"{left} measurements are left; the same command goes on where this one stopped")

    def _one(self, engine: str, folder: Path) -> dict[str, Any]:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        with watched() as noise:
            figures = in_own_process(self.benchmark.script, engine, folder)
        return {"at": at, **noise, "figures": figures}

    def _save(self) -> None:
        made = {
            "benchmark": self.benchmark.name,
            "machine": self.machine,
            "of": self.of,
            "engines": dict(self.benchmark.engines),
            **{
                name: [asdict(each) for each in getattr(self.benchmark, name)]
                for name in ("columns", "ratios", "limits")
            },
            "runs": self.runs,
        }
        self.file.parent.mkdir(parents=True, exist_ok=True)
        part = self.file.with_suffix(".part")
        part.write_text(json.dumps(made, indent=1) + "\n")
        part.replace(self.file)


@contextmanager
def watched() -> Iterator[dict[str, Any]]:
    """Within it processes are run; afterwards it says how long, and what others did to this machine.

    `load` before and after, `others` the share of the processors that other processes took, `stolen` that
    which the host of a virtual machine took.
    """
    found: dict[str, Any] = {"load": [os.getloadavg()[0]]}
    began, before, own = time.perf_counter(), psutil.cpu_times(), _children()
    yield found
    found["took"] = time.perf_counter() - began
    after = psutil.cpu_times()
    busy = sum(getattr(after, name) - getattr(before, name) for name in ("user", "nice", "system"))
    there = found["took"] * (os.cpu_count() or 1)
    found[OTHERS] = round(max(0.0, busy - (_children() - own)) / there, 3)
    found["stolen"] = round((getattr(after, "steal", 0.0) - getattr(before, "steal", 0.0)) / there, 3)
    found["load"].append(os.getloadavg()[0])


def _children() -> float:
    """Processor seconds of this process and of those that it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


# What came of it, as tables.


def tables(found: Mapping[str, Any]) -> list[str]:
    """The lines of a results file as the README shows it."""
    runs, of = found["runs"], found["machine"]
    rounds = len({run["round"] for run in runs})
    sets = ", ".join(of["instruction_sets"]) or "no instruction sets known"
    versions = ", ".join(f"{k} {v}" for k, v in found["of"]["versions"].items() if v)
    days = sorted({run["at"][:10] for run in runs})
    how = ", ".join(f"{name} {value}" for name, value in found["of"]["settings"].items())
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    lines = [
        f"**{of['processor']}**, {of['processors']} processors, {of['threads']} threads, "
        f"{of['memory_gb']} GB; {sets}; "
        f"{versions}. {rounds} round{'s' if rounds > 1 else ''}, {when}; {how}.",
        "",
        f"| engine | {' | '.join(column['title'] for column in found['columns'])} |",
        "|---" * (1 + len(found["columns"])) + "|",
    ]
    for engine, label in found["engines"].items():
        figures = [run["figures"] for run in runs if run["engine"] == engine]
        if figures:
            cells = [
                _cell([f[c["figure"]] for f in figures if c["figure"] in f], c) for c in found["columns"]
            ]
            lines.append(f"| {label} | {' | '.join(cells)} |")
    if judged := [*_ratios(found), *_limits(found)]:
        lines += ["", "| | median | range | aim | |", "|---|---|---|---|---|", *judged]
    return lines + _warnings(found)


def _cell(values: Sequence[float], column: Mapping[str, Any]) -> str:
    if not values:
        return "–"
    shown = [
        f"{value:,.{column['digits']}f}" for value in (statistics.median(values), min(values), max(values))
    ]
    return shown[0] if len(set(shown)) == 1 else f"{shown[0]} ({shown[1]} to {shown[2]})"


def within_rounds(found: Mapping[str, Any], ratio: Mapping[str, Any]) -> list[float]:
    """The ratio in each round that has both engines."""
    by_round: dict[int, dict[str, float]] = {}
    for run in found["runs"]:
        if ratio["figure"] in run["figures"]:
            by_round.setdefault(run["round"], {})[run["engine"]] = run["figures"][ratio["figure"]]
    both = (each for each in by_round.values() if {ratio["engine"], ratio["other"]} <= each.keys())
    return [each[ratio["engine"]] / each[ratio["other"]] for each in both]


def _ratios(found: Mapping[str, Any]) -> Iterator[str]:
    titles = _titles(found)
    for ratio in found["ratios"]:
        if values := within_rounds(found, ratio):
            name = f"{found['engines'][ratio['engine']]} / {found['engines'][ratio['other']]}"
            of = "" if ratio["figure"] == Ratio.figure else f": {titles[ratio['figure']]}"
            yield _judged(name + of, values, ratio["aim"], at_least=True)


def _titles(found: Mapping[str, Any]) -> dict[str, str]:
    return {column["figure"]: column["title"] for column in found["columns"]}


def _limits(found: Mapping[str, Any]) -> Iterator[str]:
    titles = _titles(found)
    for limit in found["limits"]:
        runs = (run["figures"] for run in found["runs"] if run["engine"] == limit["engine"])
        if values := [figures[limit["figure"]] for figures in runs if limit["figure"] in figures]:
            name = f"{found['engines'][limit['engine']]}: {titles[limit['figure']]}"
            yield _judged(name, values, limit["most"], at_least=False)


def _judged(name: str, values: Sequence[float], aim: float | None, *, at_least: bool) -> str:
    said = ""
    if max(values) > WIDE * min(values):
        said = "**too wide to mean anything**"
    elif len(values) < FEW:
        said = "too few rounds to say"
    elif aim is not None:
        reached = [value >= aim if at_least else value <= aim for value in values]
        said = "reached" if all(reached) else "missed" if not any(reached) else "open: within the noise"
    asked = "" if aim is None else f"{'≥' if at_least else '≤'} {aim:g}"
    middle, range_ = statistics.median(values), f"{min(values):.2f} to {max(values):.2f}"
    return f"| {name} | {middle:.2f} | {range_} | {asked} | {said} |"


def _warnings(found: Mapping[str, Any]) -> list[str]:
    """What other programs, or other machines on the same host, took while this was measured."""
    runs = found["runs"]
    loud = [run for run in runs if run[OTHERS] > BUSY or run["stolen"] > BUSY]
    if not loud:
        return []
    most = max(max(run[OTHERS], run["stolen"]) for run in loud)
    return [
        "",
        f"Warning: in {len(loud)} of {len(runs)} measurements others took more than {BUSY:.0%} of the "
        f"processors, at most {most:.0%}.",
    ]


def with_tables(readme: str, results: Path) -> str:
    """`readme` with the tables of all `results` in the sections that are marked for their benchmark."""

    def section(found: re.Match[str]) -> str:
        files = sorted(results.glob(f"{found[1]}-*.json"))
        made = [tables(json.loads(file.read_text())) for file in files]
        body = "\n\n".join("\n".join(lines) for lines in made)
        return f"<!-- results of {found[1]} -->\n{body}\n<!-- end -->"

    return re.sub(r"<!-- results of (\w+) -->\n.*?<!-- end -->", section, readme, flags=re.S)


def main() -> None:
    README.write_text(with_tables(README.read_text(), HERE / "results"))


if __name__ == "__main__":
    main()
