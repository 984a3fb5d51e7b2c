# SPDX-License-Identifier: GPL-2.0-or-later
"""On kernels that know no owned tables everybody with the right may change ours: it is noticed, repaired, and told."""

import os
import shutil
import signal

import pytest

import checks
from checks import quick
from lab import ALICE, BOB, CONFIGURATION, MALLORY, build_directory
from netlab import PATIENCE, wait_for

# The second lock would hide the holes.
ALONE = CONFIGURATION.replace("Groups=staff\n", "Groups=staff\nSecondLock=no\n")


@pytest.fixture
def own(labs):
    program = os.path.join(build_directory(), "tests", "lockdownd-unowned")
    if not os.path.exists(program):
        pytest.skip(f"{program} was not built (make system does)")
    lab = labs(ALONE, start=False)
    shutil.copy(program, lab.lockdownd)
    lab.start()
    assert lab.json("status", codes=(0, 3))["daemon"]["tables_owned"] is False
    return lab


CHANGES = {
    "flushed": "flush ruleset",
    "deleted": "delete table inet lockdown-staff",
    "accept-first": "insert rule inet lockdown-staff output accept\ninsert rule inet lockdown-staff postrouting accept",
    "element": f"delete element inet lockdown-staff uids {{ {ALICE.uid} }}\nflush set inet lockdown-staff gids",
}


@pytest.mark.parametrize("how", CHANGES)
def test_what_others_change_is_put_right(own, how):
    own.do("order", "staff")
    ids = {n: o["id"] for n, o in own.orders().items()}
    own.daemon.kill(signal.SIGSTOP)  # not dead, but it cannot notice yet: so the hole is there to be seen
    own.host.nft(CHANGES[how])
    assert quick(own, ALICE)
    own.daemon.kill(signal.SIGCONT)
    checks.wait_blocked(own, ALICE)
    for who in (ALICE, BOB):
        checks.assert_blocked(own, who, ("tcp", "udp"))
    checks.assert_free(own, MALLORY, ("tcp", "udp"))
    assert {n: o["id"] for n, o in own.orders().items()} == ids
    repairs = [e for e in own.entries(LOCKDOWN_EVENT="repaired")]
    assert repairs and "nft" in repairs[-1]["MESSAGE"], repairs
    own.do("lift", "staff")
    assert quick(own, ALICE)


def test_a_staged_table_that_was_removed_is_staged_again(own):
    own.host.nft("flush ruleset")
    wait_for(lambda: "staff" in own.tables(), PATIENCE, "the staged table")
    own.do("order", "staff")
    checks.assert_blocked(own, ALICE, ("tcp", "udp"))


def test_changes_to_other_tables_are_nobody_s_business(own):
    own.do("order", "staff")
    own.host.nft("table inet other {\nchain c {\ntype filter hook output priority 0\n}\n}")
    own.host.nft("delete table inet other")
    assert not quick(own, ALICE)
    assert not own.entries(LOCKDOWN_EVENT="repaired")


def test_killed_it_leaves_the_block(own):
    own.do("order", "staff")
    own.daemon.end(signal.SIGKILL)
    checks.assert_blocked(own, ALICE, ("tcp", "udp"))
    own.start()
    checks.assert_blocked(own, ALICE, ("tcp", "udp"))
