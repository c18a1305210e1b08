"""A run that is ended takes all its processes with it, and the next one knows whether it lives."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from lib import paths, processes
from lib.errors import StudyError
from lib.running import children
from lib.running.alone import alone

# Starts a process that starts one in a session of its own, as a notebook's kernel is; both say who they are.
TREE = """
import subprocess, sys, time
from lib.running import children
inner = "import time; time.sleep(600)"
outer = f'''
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {inner!r}], start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
'''
with children.started([sys.executable, "-c", outer], stdout=subprocess.PIPE, text=True) as process:
    print(process.pid, int(process.stdout.readline()), flush=True)
    process.wait()
"""

HOLDER = """
import time
from lib.running.alone import alone
with alone("demo"):
    print(1, flush=True)
    time.sleep(600)
"""
DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(1, flush=True)
time.sleep(600)
"""


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_for(condition, seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_every_process_ends_with_the_one_that_started_it(number):
    starter = subprocess.Popen(
        [sys.executable, "-c", TREE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert starter.stdout is not None
    tree = [int(pid) for pid in starter.stdout.readline().split()]
    assert len(tree) == 2
    assert not any(map(gone, tree))
    starter.send_signal(number)
    assert starter.wait(timeout=60) != 0
    assert wait_for(lambda: all(map(gone, tree)))


def test_a_process_that_does_not_end_when_asked_is_killed(monkeypatch):
    monkeypatch.setattr(processes, "PATIENCE", 0.2)
    with children.started([sys.executable, "-c", DEAF], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
    assert process.returncode == -signal.SIGKILL


def test_a_second_run_in_the_same_folder_is_told_which_one_is_at_work(project):
    sentence = rf"the study 'demo', process {os.getpid()}, since 20\d\d-"
    with alone("demo"):
        with pytest.raises(StudyError, match=sentence) as said, alone("other"):
            pass
        assert "\n" not in str(said.value)
    with alone("other"):
        about = json.loads(paths.running_lock().with_suffix(".json").read_text())
        assert about["study"] == "other"


def test_a_killed_run_holds_nothing_up(project):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    with pytest.raises(StudyError, match=f"process {holder.pid}"), alone("demo"):
        pass
    holder.kill()
    holder.wait()
    with alone("demo"):  # though the note about the other one is there still
        pass
