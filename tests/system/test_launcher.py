# SPDX-License-Identifier: GPL-2.0-or-later
"""The launcher is killed, hangs, or is not there: what is in force stays, orders and lifts go on, and what needs its processes comes
back with it."""

import os
import signal
import time

import pytest
from checks import quick, wait_blocked, wait_for
from lab import ALICE, BOB, MALLORY, Lab

CONFIGURATION = """
[Profile staff]
Groups=staff
Allow=10.0.0.0/8 fd00::/8

[Profile named]
Users=bob
Allow=10.0.0.0/8 fd00::/8
DNS=10.0.0.53
"""

PROMPT = 2.0  # seconds; what nobody waits for takes milliseconds
COMES_BACK = 15.0  # asked again after five seconds


@pytest.fixture(name="own")
def fixture_own():
    with Lab(CONFIGURATION) as lab:
        wait_for(lambda: all(lab.tables().get(name) is False for name in ("staff", "named")), COMES_BACK, "both to be staged")
        yield lab
        lab.daemon.end()


def launcher(lab):
    with open(f"/proc/{lab.daemon.pid}/task/{lab.daemon.pid}/children", encoding="ascii") as f:
        pid, = f.read().split()
    return int(pid)


def ask_directory(lab):
    lab.edit("group", lambda text: text + f"edit{text.count('edit')}:x:{7000 + text.count('edit')}:\n")


def problem(lab, name="staff"):
    return lab.orders()[name]["membership"].get("problem", "")


def assert_blocked(lab, *people):
    for who in people:
        assert not quick(lab, who), who.name
    assert quick(lab, MALLORY)


def promptly(lab, *words):
    begin = time.monotonic()
    lab.do(*words)
    assert time.monotonic() - begin < PROMPT, f"lockdownctl {' '.join(words)} waited for the launcher"


def test_killed(own):
    """Its processes go with it, and all of them come back."""
    own.do("order", "staff")
    own.do("order", "named")
    relay = wait_for(lambda: own.daemon.child("--dns-relay"), COMES_BACK, "the relay")
    before = launcher(own)
    os.kill(before, signal.SIGKILL)
    assert_blocked(own, ALICE, BOB)
    wait_for(lambda: own.daemon.child("--dns-relay") not in (None, relay), COMES_BACK, "another relay")
    assert launcher(own) != before
    own.edit("group", lambda text: text.replace(":bob\n", ":bob,mallory\n"))
    wait_blocked(own, MALLORY, COMES_BACK)
    assert own.do("verify", "staff")


def test_hanging(own):
    """Nobody waits for it but the directory's answer, and that not for long."""
    own.do("order", "named")
    pid = launcher(own)
    worker = own.daemon.child("--resolver-worker")
    os.kill(pid, signal.SIGSTOP)
    os.kill(worker, signal.SIGKILL)  # so that another one is wanted
    ask_directory(own)
    promptly(own, "status", "--json")
    promptly(own, "lift", "named")
    own.do("order", "staff", "--for", "1h")  # waits two seconds for a directory whose files have changed
    assert_blocked(own, ALICE, BOB)
    wait_for(lambda: problem(own), COMES_BACK, "status to say that nobody answers")
    promptly(own, "extend", "staff", "--for", "1h")
    promptly(own, "lift", "staff")
    own.do("order", "staff")
    os.kill(pid, signal.SIGCONT)
    wait_for(lambda: not problem(own), 30.0, "the directory to be asked")
    assert own.daemon.children("--resolver-worker")
    assert_blocked(own, ALICE, BOB)


def test_not_there(own):
    """From the start: who is covered is known from before."""
    own.do("order", "staff")
    own.do("order", "named")
    own.daemon.end(signal.SIGKILL)
    own.wrapper = ("/usr/bin/env", "LAUNCHER_SOCKET=/nonexistent/launcher.sock")
    own.start()
    assert not own.daemon.children("--resolver-worker")
    assert_blocked(own, ALICE, BOB)
    wait_for(lambda: problem(own), COMES_BACK, "status to say that the directory is not asked")
    text = own.do("status")
    assert "No such file or directory" in text, text
    promptly(own, "lift", "staff")
    promptly(own, "order", "staff")
    promptly(own, "lift", "named")
    assert_blocked(own, ALICE, BOB)
    own.daemon.end(signal.SIGKILL)
    own.wrapper = ()
    own.start()
    wait_for(lambda: not problem(own), COMES_BACK, "the directory to be asked")
    assert_blocked(own, ALICE, BOB)
