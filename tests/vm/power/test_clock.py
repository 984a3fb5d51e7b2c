# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine that comes up with any clock, and is told the right time later."""

import json
import random
import time

from campaign import SEED
from image import lab
from machine import BOOT_TIMEOUT, INSIDE, OUTSIDE
from netlab import wait_for

MINUTE = 60
# What an NTP daemon tells the kernel: adjtimex() with ADJ_STATUS, ADJ_MAXERROR and ADJ_ESTERROR, and STA_PLL alone.
SYNCHRONIZE = """perl -e '$t = pack("L x4 q q q q l x164", 0x1c, 0, 0, 0, 0, 1); exit syscall(159, $t) < 0'"""


def set_clock(machine, seconds, synchronized):
    machine.do(f"date -s @{int(seconds)}" + (f" && {SYNCHRONIZE}" if synchronized else ""))


def orders(machine):
    status, output = machine.run("lockdownctl status --json")
    assert status in (0, 3), output
    return {order["profile"]: order for order in json.loads(output)["orders"]}


def assert_held(machine, believed):
    now = orders(machine)
    assert set(now) == {"staff", "contractors"}
    for order in now.values():
        assert ("not believed" in " ".join(order["warnings"])) != believed, order["warnings"]
    for who in (lab.ALICE, lab.CAROL):
        before = machine.cable.of(who, INSIDE)
        machine.wait_for_packets(who, INSIDE, before + 2)
        assert machine.cable.of(who, OUTSIDE) == 0
    return now


def test_wrong_clocks(switched_off):
    """Staff by a duration, contractors by a point in time; the machine is said to have been off for hours."""
    machine = switched_off
    machine.boot_up()
    start = time.time()
    set_clock(machine, start, True)
    until = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(start + 240 * MINUTE))
    machine.do("lockdownctl order staff --for 4h")
    machine.do(f"lockdownctl order contractors --until '{until}'")
    machine.pull_plug(random.Random(SEED))

    for clock in ("2037-11-30T18:00:00", "2016-11-30T18:00:00"):
        machine.boot_up(clock=clock)
        assert_held(machine, False)
        # Somebody sets it, wrongly: that ends nothing either, nor does it begin anew.
        set_clock(machine, start + 3650 * 24 * 60 * MINUTE, False)
        before = assert_held(machine, False)
        assert all(order["remaining_usec"] <= 240 * MINUTE * 1e6 for order in before.values()), before
        if clock.startswith("2037"):
            machine.pull_plug(random.Random(SEED))

    # Right, two hours later: two hours are left. (Within ten seconds; nobody tells.)
    set_clock(machine, start + 120 * MINUTE, True)

    def left():
        return [order["remaining_usec"] / 1e6 for order in orders(machine).values()]

    wait_for(lambda: all(100 * MINUTE < seconds < 121 * MINUTE for seconds in left()), BOOT_TIMEOUT,
             "the right clock to be believed", interval=1)
    assert_held(machine, True)
    machine.pull_plug(random.Random(SEED))

    # Off until after the end: over as soon as the clock is right, and not before.
    machine.boot_up(clock="2016-11-30T18:00:00")
    assert_held(machine, False)
    set_clock(machine, start + 241 * MINUTE, True)
    for who in (lab.ALICE, lab.CAROL):
        machine.wait_for_packets(who, OUTSIDE)
    assert orders(machine) == {}
    assert {order["state"] for order in json.loads(machine.do("lockdownctl history --json"))["orders"][:2]} == {"expired"}
    assert not machine.do("find /var/lib/lockdownd -path '*/damaged/*'"), "the history can be read"
