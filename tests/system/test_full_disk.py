# SPDX-License-Identifier: GPL-2.0-or-later
"""No room in the state directory: people are blocked and freed all the same, what is not on disk is told, and saved by
itself as soon as there is room."""

import os
import signal

import pytest

import checks
import netlab
from checks import quick
from lab import ALICE, CONFIGURATION, INTERNET4
from netlab import wait_for

RETRIED = 40.0  # every ten seconds


class Disk:
    """A small one, for the state directory. Its path is the host's."""

    def __init__(self, lab):
        self.lab, self.file = lab, lab.path("state/full")
        lab.host.call(netlab.mount, "tmpfs", lab.path("state"), "tmpfs", 0, "size=256k,mode=0700")

    def fill(self, keep=()):
        """With all spare files but those to KEEP."""
        for name in set(self.list("spare")) - set(keep):
            self.lab.host.call(os.unlink, self.lab.path("state/spare", name))

        def write(path):
            with open(path, "wb", buffering=0) as f:
                try:
                    while True:
                        f.write(b"x" * 1024)
                except OSError:
                    pass

        self.lab.host.call(write, self.file)

    def clear(self):
        self.lab.host.call(os.unlink, self.file)

    def list(self, name):
        return self.lab.host.call(os.listdir, self.lab.path("state", name))


@pytest.fixture
def own(labs):
    return labs(CONFIGURATION, start=False)


@pytest.fixture
def disk(own):
    made = Disk(own)
    own.start()
    return made


def _warnings(lab):
    return lab.json("status", codes=(0, 3))["warnings"]


def test_an_order_blocks_and_is_saved_later(own, disk):
    disk.fill()
    done = own.ctl("order", "staff", "--for", "30min")
    assert done.returncode == 0, done.stderr
    assert "will not survive a reboot: it could not be saved since" in done.stdout + done.stderr
    checks.assert_blocked(own, ALICE)
    order = own.orders()["staff"]
    assert order["saved"] is False and order["save_error"] == "No space left on device"
    assert "could not be saved since" in order["warnings"][0], order["warnings"]
    assert "NOT SAVED" in [m for m in own.daemon.messages() if m.startswith("STATUS=")][-1]
    assert disk.list("orders") == []
    disk.clear()
    wait_for(lambda: own.orders()["staff"]["saved"], RETRIED, "it to be saved by itself")
    assert disk.list("orders") == [order["id"] + ".json"]
    assert own.entries(MESSAGE="staff: saved; it survives a reboot now")
    own.do("lift", "staff")
    assert quick(own, ALICE) and not _warnings(own)


def test_a_spare_file_is_there_for_an_order(own, disk):
    """One who is to be locked has filled the disk, and hopes for a reboot."""
    spare = wait_for(lambda: len(disk.list("spare")) >= 2 and disk.list("spare"), RETRIED, "two spare files")
    disk.fill(spare)
    own.do("order", "--user", "alice", "--name", "one", "--for", "1h")
    order = own.orders()["one"]
    assert order["saved"] and not order["warnings"], order
    own.do("extend", "one", "--for", "2h")  # it is written anew in place of itself
    assert own.orders()["one"]["saved"]
    assert disk.list("orders") == [order["id"] + ".json"] and "one" in disk.list("members")
    own.daemon.end(signal.SIGKILL)
    own.start()
    again = own.orders()["one"]
    assert again["id"] == order["id"] and again["until"] > order["until"] and not again["recovered"], again
    checks.assert_blocked(own, ALICE)
    disk.clear()
    wait_for(lambda: len(disk.list("spare")) >= 2, RETRIED, "spare files anew")
    own.do("lift", "one")


def test_a_lift_frees_and_is_saved_later(own, disk):
    order = own.json("order", "staff")["order"]["id"]
    own.probe([own.spec("udp", INTERNET4, 1001, reply=False)], ALICE)
    disk.fill()
    done = own.ctl("lift", "staff")
    assert done.returncode == 0 and "staff would come back after a reboot" in done.stdout + done.stderr, done
    assert quick(own, ALICE)
    assert "would come back after a reboot" in _warnings(own)[0]
    assert disk.list("history") == [] and disk.list("orders") == [order + ".json"]
    disk.clear()
    wait_for(lambda: not _warnings(own), RETRIED, "it to be saved by itself")
    assert disk.list("orders") == []
    finished = own.json("history")["orders"][0]
    assert finished["id"] == order and finished["refused"]["packets"] == 1
    entries = own.json("attempts", order)["profiles"][0]["entries"]
    assert [(e["port"], e["packets"]) for e in entries] == [(1001, 1)]
    own.daemon.end(signal.SIGKILL)
    own.start()
    assert own.orders() == {} and quick(own, ALICE)


def test_a_lift_that_was_never_saved_errs_to_the_closed_side(own, disk):
    own.do("order", "staff")
    disk.fill()
    own.do("lift", "staff")
    own.daemon.end(signal.SIGKILL)
    own.start()
    assert "staff" in own.orders()
    checks.assert_blocked(own, ALICE, ("tcp",))


def test_what_an_order_refused_is_kept_until_there_is_room(own, disk):
    """Its table is replaced while the disk is full."""
    own.do("order", "staff")
    own.probe([own.spec("udp", INTERNET4, 1001, reply=False)], ALICE)
    disk.fill()
    own.configure(CONFIGURATION.replace("Groups=staff\n", "Groups=staff\nServices=none.service\n"))
    own.do("reload")
    own.probe([own.spec("udp", INTERNET4, 1002, reply=False)], ALICE)

    def ports():
        return {e["port"]: e["packets"] for e in own.json("attempts", "staff")["profiles"][0]["entries"]}

    assert ports() == {1001: 1, 1002: 1}
    disk.clear()
    wait_for(lambda: disk.list("attempts"), RETRIED, "they to be saved by themselves")
    assert ports() == {1001: 1, 1002: 1}
