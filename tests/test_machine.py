"""A job keeps to what it was given of the machine."""

import os
from pathlib import Path

import pytest

from lib import machine


@pytest.mark.parametrize(
    ("given", "threads"), [("1", 1), ("3", 3), ("0", None), ("", None), ("all", None), (None, None)]
)
def test_threads_are_those_of_the_job_or_all_processors(monkeypatch, given, threads):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if given is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert machine.threads() == (threads or machine.processors())


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux binds a process to processors")
def test_processors_are_those_that_this_process_may_use():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert machine.processors() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert machine.processors() == len(before)


def test_memory_is_what_there_is_less_a_tenth():
    assert 0 < machine.memory() * machine.MEGABYTE < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_a_processor_has_a_name_and_on_linux_its_instruction_sets():
    assert machine.processor()
    if (file := Path("/proc/cpuinfo")).exists():
        said = file.read_text()
        assert all(f" {each}" in said for each in machine.instruction_sets())
