# SPDX-License-Identifier: GPL-2.0-or-later
"""What is in force is verified: read back, put right, or told."""

import os
import shutil

import pytest

import checks
from lab import ALICE, CONFIGURATION, MALLORY, netlab
from netlab import PATIENCE, wait_for

NOT_HOLDING = "262ef907b80c4a42802f87e2a2ee1230"


@pytest.fixture
def own(labs):
    lab = labs(CONFIGURATION)
    lab.do("order", "staff")
    return lab


def _first_look(lab):
    return wait_for(lambda: lab.orders()["staff"] if lab.orders()["staff"].get("verified_at_usec") else None, PATIENCE,
                    "the first look")


def _pins(lab):
    path = lab.host.path("/sys/fs/bpf/lockdownd/staff")
    if lab.orders()["staff"]["locks"]["second_lock"] != "in force":
        pytest.skip(lab.orders()["staff"]["locks"]["second_lock"])
    _first_look(lab)  # so that it does not put right by itself what is undone next
    return path


def test_it_is_verified_by_itself(own):
    order = _first_look(own)
    assert order["verified_at_usec"] > order["ordered_at_usec"]
    assert "Verified" in own.do("status")
    wait_for(lambda: any("verified" in m for m in own.daemon.messages()), PATIENCE, "systemd to be told")
    before = order["verified_at_usec"]
    verdict, = own.json("verify")["verified"]
    assert verdict.pop("trial").startswith("as ordered")
    assert verdict == {"profile": "staff", "order": order["id"], "holds": True, "repaired": False}
    assert own.orders()["staff"]["verified_at_usec"] > before
    assert own.ctl("verify", "staff", who=MALLORY).returncode == 4
    own.do("lift", "staff")
    assert "verified_at_usec" not in own.json("order", "staff")["order"]  # that was the one before
    assert own.ctl("verify", "nosuch").returncode == 1
    own.do("lift", "staff")
    assert own.ctl("verify").returncode == 3


def test_a_second_lock_that_was_taken_off_is_put_on_again(own):
    pins = _pins(own)
    shutil.rmtree(pins)
    assert own.json("verify")["verified"][0]["repaired"]
    assert sorted(os.listdir(os.path.dirname(pins))) == ["staff"]
    assert own.json("verify")["verified"][0]["repaired"] is False
    checks.assert_blocked(own, ALICE, ("tcp", "udp"))


def test_what_cannot_be_put_right_is_told(own):
    pins = _pins(own)
    shutil.rmtree(pins)
    own.host.call(netlab.mount, "none", "/sys/fs/bpf/lockdownd", "tmpfs")
    done = own.ctl("verify")
    assert done.returncode == 1 and "does NOT hold" in done.stdout, done
    assert len(own.entries(MESSAGE_ID=NOT_HOLDING, PRIORITY="1")) == 1
    assert own.ctl("verify").returncode == 1
    assert len(own.entries(MESSAGE_ID=NOT_HOLDING)) == 1  # told once
    order = own.orders()["staff"]
    assert order["locks"]["second_lock"].startswith("NOT in force")
    checks.assert_blocked(own, ALICE, ("tcp", "udp"))  # never lifted for that
    own.host.call(netlab.umount, "/sys/fs/bpf/lockdownd")
    assert own.ctl("verify").returncode == 0
    assert own.orders()["staff"]["locks"]["second_lock"] == "in force"
