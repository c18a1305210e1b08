"""Snakemake as `make study` starts it on one machine."""

import sys

from snakemake import cli

from lib.params import load_study
from lib.running import graph, study
from lib.running.study import snakemake, snakemake_command


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


def test_a_job_that_a_signal_ends_is_told_in_a_sentence(small_study, monkeypatch, capfd):
    """Killed by the system, a job cannot say anything, nor what it was."""
    rules = "rule all:\n    input: 'a', 'b'\n"
    for name, ended in (("a", "KILL"), ("b", "SEGV")):
        dies = f"{sys.executable} -c 'import os, signal; os.kill(os.getpid(), signal.SIG{ended})'"
        command = f"{dies} -m lib.running.make texts -p model {name} && touch {{output}}"
        rules += f"rule {name}:\n    output: {name!r}\n    shell: {command!r}\n"
    (small_study / "Snakefile").write_text(rules)
    monkeypatch.setattr(study, "SNAKEFILE", small_study / "Snakefile")
    assert snakemake("small", load_study("small")) == 1
    said = capfd.readouterr().err
    assert said.count("error: A job was ended by") == 2
    assert "ended by SIGKILL, as the system sends where memory runs out; what it had made is kept" in said
    assert "ended by SIGSEGV; what it had made is kept" in said
    assert "  to run just this again: python -m lib.running.make texts -p model a\n" in said
    assert "CalledProcessError" not in said
