# SPDX-License-Identifier: GPL-2.0-or-later
"""Orders that end by themselves, reboots, and a clock that is believed or not. (Clocks that are set to other times:
tests/unit/test-order-clock.c, and in a virtual machine tests/vm/power.)"""

import os
import signal
import subprocess
import time

import pytest

import checks
from checks import quick
from lab import ALICE, BOB
from netlab import PATIENCE, wait_for

CONFIGURATION = """\
[Profile staff]
Groups=staff
"""


@pytest.fixture(name="own")
def fixture_own(labs):
    """A lab whose daemon is told by the test whether the clock is synchronized: say_synchronized(lab, yes)."""
    lab = labs(CONFIGURATION, start=False)
    library = lab.path("bin/clock-says.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, os.path.join(os.path.dirname(__file__), "clock-says.c")],
                   check=True)
    lab.wrapper = ("env", f"LD_PRELOAD={library}", f"CLOCK_SYNCHRONIZED={lab.path('bin/synchronized')}")
    say_synchronized(lab, True)
    lab.start()
    return lab


def say_synchronized(lab, yes):
    path = lab.path("bin/synchronized")
    if yes:
        with open(path, "w", encoding="utf-8"):
            pass
    else:
        os.unlink(path)


def order_and_sleep_through_its_end(lab, *words):
    """The machine is off when it comes."""
    order = lab.json("order", "staff", *words)["order"]
    lab.reboot()
    until = order.get("until_usec") or order["confirm_until_usec"]
    wait_for(lambda: time.time() > until / 1e6 + 0.05, PATIENCE)
    return order


def test_expired_while_the_machine_was_off_is_never_enforced(own):
    order_and_sleep_through_its_end(own, "--for", "1s")
    with checks.unharmed(own, ALICE, BOB):
        own.start()
        assert own.orders() == {}


@pytest.mark.parametrize("word", ["--for", "--confirm-within"])
def test_a_clock_that_is_not_synchronized_ends_nothing(own, word):
    """After a reboot nobody knows how long the machine was off, or whether it was at all."""
    order = order_and_sleep_through_its_end(own, word, "5s")
    say_synchronized(own, False)
    own.start()
    now = own.orders()["staff"]
    assert now["id"] == order["id"] and "not synchronized" in " ".join(now["warnings"]), now
    assert not quick(own, ALICE)
    # it was in force for an instant before the reboot, so it goes on for nearly all of the five seconds
    checks.wait_freed(own, ALICE, PATIENCE)
    assert own.json("history")["orders"][0]["state"] == "expired"


def test_the_clock_is_synchronized_after_the_boot(own):
    """Nobody tells the daemon of that: it looks, every ten seconds."""
    order = order_and_sleep_through_its_end(own, "--for", "20s")
    say_synchronized(own, False)
    own.start()
    assert own.orders()["staff"]["id"] == order["id"] and not quick(own, ALICE)
    say_synchronized(own, True)
    checks.wait_freed(own, ALICE, 60.0)
    assert any("the clock is synchronized" in e.get("MESSAGE", "") for e in own.entries())


def test_a_restart_of_the_daemon_needs_no_clock(own):
    until = own.json("order", "staff", "--for", "2s")["order"]["until_usec"] / 1e6
    say_synchronized(own, False)
    own.daemon.end(signal.SIGKILL)
    wait_for(lambda: time.time() > until + 0.05, PATIENCE)
    own.start()
    assert quick(own, ALICE) and own.orders() == {}
