"""Snakemake as `make study` starts it on one machine."""

import sys

from snakemake import cli

from lib.params import load_study
from lib.running import graph
from lib.running.study import snakemake_command


def test_jobs_are_started_without_a_limit_a_second(small_study, monkeypatch):
    given = []
    monkeypatch.setattr(cli, "args_to_api", lambda arguments, parser: given.append(arguments) or True)
    python, _, module, *options = snakemake_command("small", load_study("small"))
    monkeypatch.setattr(sys, "argv", [module, *options])
    assert (python, module) == (sys.executable, graph.__name__)
    assert graph.main() == 0
    (arguments,) = given
    assert arguments.max_jobs_per_timespan is None
    assert arguments.keep_going
    assert "study=small" in arguments.config
