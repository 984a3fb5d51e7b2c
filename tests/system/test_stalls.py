# SPDX-License-Identifier: GPL-2.0-or-later
"""A journal or a service manager that does not read holds nothing up, and hears all of it when it reads again."""

import contextlib
import os
import signal
import socket
import threading

import checks
from lab import ALICE, CONFIGURATION, MALLORY
from netlab import PATIENCE, wait_for

ORDERED = "9abfd75e0ef84e4d838e3cd18624bce8"
LIFTED = "973013a321a7442281c569ecaa26ad9e"
REFUSED = "85e4d71a1bb44172a15716e853155007"
RESTORED = "b58cad1e39aa45cd84b559c8cf814ef2"


def _fill(path):
    """Until not one more finds room."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.setblocking(False)
        try:
            while True:
                s.sendto(b"FILLER=1\n", path)
        except BlockingIOError:
            pass


@contextlib.contextmanager
def _stopped(task, path):
    """The reader is stopped, and its queue full."""
    os.kill(task.pid, signal.SIGSTOP)
    try:
        _fill(path)
        yield
    finally:
        os.kill(task.pid, signal.SIGCONT)


def _journal_stopped(lab):
    return _stopped(lab.journal, lab.path("run/systemd/journal/socket"))


def _manager_stopped(lab):
    return _stopped(lab.daemon.notify, lab.path("notify"))


def _warnings(lab):
    return " ".join(lab.json("status", codes=(0, 3))["warnings"])


def _events(lab, since):
    return [e["MESSAGE_ID"] for e in lab.entries()[since:] if "MESSAGE_ID" in e]


def _order_and_lift(lab):
    """Nothing of it waits: each of these would end by its own time limit."""
    lab.do("order", "staff", "--for", "8h")
    checks.assert_blocked(lab, ALICE, ("tcp", "udp"))
    assert lab.ctl("lift", "staff", who=MALLORY).returncode == 4
    lab.do("extend", "staff", "--for", "9h")
    lab.do("lift", "staff")
    assert checks.quick(lab, ALICE)


def test_a_journal_that_does_not_read(lab):
    before = len(lab.entries())
    with _journal_stopped(lab):
        _order_and_lift(lab)
        daemon = lab.json("status", codes=(3,))["daemon"]
        assert daemon["journal_waiting"] >= 4 and daemon["journal_lost"] == 0
        assert "the journal does not take entries" in _warnings(lab)
        assert "the journal does not take entries" in lab.ctl("status").stdout
    wait_for(lambda: LIFTED in _events(lab, before), PATIENCE, "the journal to hear of the lift")
    events = [e for e in _events(lab, before) if e in (ORDERED, REFUSED, LIFTED)]
    assert events == [ORDERED, REFUSED, LIFTED]
    late = lab.entries(MESSAGE_ID=LIFTED)[-1]
    assert late["LOCKDOWN_AT"] and late["LOCKDOWN_PROFILE"] == "staff"
    wait_for(lambda: lab.json("status", codes=(3,))["daemon"]["journal_waiting"] == 0, PATIENCE, "all to be delivered")
    assert "journal" not in _warnings(lab)


def test_a_service_manager_that_does_not_read(labs):
    lab = labs(CONFIGURATION, start=False)
    lab.wrapper = ("/usr/bin/env", "WATCHDOG_USEC=300000")
    daemon = lab.start()
    wait_for(lambda: "WATCHDOG=1" in daemon.messages(), PATIENCE, "a sign of life")
    with _manager_stopped(lab):
        _order_and_lift(lab)
        lab.do("order", "staff", "--reason", "the last word")
    wait_for(lambda: [m for m in daemon.messages() if m.startswith("STATUS=")][-1].startswith("STATUS=staff in force"),
             PATIENCE, "the last status")
    signs = daemon.messages().count("WATCHDOG=1")
    wait_for(lambda: daemon.messages().count("WATCHDOG=1") > signs + 1, PATIENCE, "signs of life to go on")


def test_a_start_that_neither_hears_of(labs):
    """The orders of before are in force, and the socket answers, whoever does not listen; told is all of it afterwards."""
    lab = labs(CONFIGURATION)
    lab.do("order", "staff")
    lab.reboot()
    before = len(lab.entries())
    gate = lab.path("gate")
    os.mkfifo(gate)
    lab.wrapper = ("/bin/sh", "-c", f"read go < {gate}; exec \"$0\" \"$@\"")
    with _journal_stopped(lab):
        daemon = lab.start(wait=False)
        with _manager_stopped(lab):
            with open(gate, "w", encoding="ascii") as f:
                f.write("go\n")
            wait_for(lambda: lab.ctl("status").returncode == 0, PATIENCE, "lockdownd to answer")
            checks.assert_blocked(lab, ALICE, ("tcp", "udp"))
            assert daemon.running()
    daemon.wait_ready(30.0)
    wait_for(lambda: RESTORED in _events(lab, before), PATIENCE, "the journal to hear of it")


def test_an_end_waits_for_neither(labs):
    """… but a moment, for a journal that is busy and no more."""
    lab = labs(CONFIGURATION)
    with _journal_stopped(lab), _manager_stopped(lab):
        lab.do("order", "staff")
        assert lab.daemon.process.poll() is None
        timer = threading.Timer(0.3, os.kill, (lab.journal.pid, signal.SIGCONT))
        timer.start()
        lab.daemon.kill(signal.SIGTERM)
        lab.daemon.process.wait(30.0)
        timer.join()
    assert lab.daemon.process.returncode == 0
    assert lab.entries(MESSAGE_ID=ORDERED)
