# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon's own files, where somebody else had a hand in them: whose word they are, and what becomes of the orders."""

import os
import shutil

import pytest

import checks
from checks import quick
from lab import ALICE, CONFIGURATION, MALLORY, OPERATOR


@pytest.fixture
def own(labs):
    return labs(CONFIGURATION)


def _file(own):
    return own.path("configuration/lockdownd.conf")


def _by_group(own):
    os.chown(_file(own), 0, MALLORY.gid)
    os.chmod(_file(own), 0o664)


def _by_everybody(own):
    os.chmod(_file(own), 0o646)


def _by_owner(own):
    os.chown(_file(own), MALLORY.uid, 0)


def _directory(own):
    os.chown(own.path("configuration"), 0, MALLORY.gid)
    os.chmod(own.path("configuration"), 0o775)


def _drop_in(own):
    own.configure("[Profile staff]\nGroups=contractors\n", "50-more.conf")
    os.chown(own.path("configuration/lockdownd.conf.d/50-more.conf"), MALLORY.uid, MALLORY.gid)


def _link(own, mode=0o777):
    """To a file that is as it should be, in a directory that is not."""
    place = own.path("elsewhere")
    os.mkdir(place)
    shutil.move(_file(own), place)
    os.symlink(os.path.join(place, "lockdownd.conf"), _file(own))
    os.chmod(place, mode)


@pytest.mark.parametrize("spoil, says", [
    (_by_group, f"lockdownd.conf: can be written by gid {MALLORY.gid}; "),
    (_by_everybody, "lockdownd.conf: can be written by everybody; "),
    (_by_owner, f"lockdownd.conf: belongs to uid {MALLORY.uid}; "),
    (_directory, f"configuration: can be written by gid {MALLORY.gid}"),
    (_drop_in, f"50-more.conf: belongs to uid {MALLORY.uid}; "),
    (_link, "elsewhere: can be written by everybody (the configuration is found through it); "),
], ids=["group", "everybody", "owner", "directory", "drop-in", "link"])
def test_what_others_can_write_is_no_configuration(own, spoil, says):
    """Neither for a reload, which changes nothing then, nor for a daemon that starts."""
    own.do("order", "staff")
    identity = own.orders()["staff"]["id"]
    spoil(own)
    done = own.ctl("reload")
    assert done.returncode == 1 and says in done.stderr, done.stderr
    check = own.host.run([own.lockdownd, "--check"], env=own.environment())
    assert check.returncode != 0 and says in check.stderr, check.stderr
    assert says in own.do("status", "--verbose")
    assert own.ctl("lift", "staff", who=OPERATOR).returncode == 0  # [Access] as before
    own.do("order", "staff")
    identity = own.orders()["staff"]["id"]

    own.daemon.end()
    own.start()
    assert own.orders()["staff"]["id"] == identity
    checks.assert_blocked(own, ALICE, ("tcp", "udp"))
    assert says in own.daemon.said() and says in own.do("status", "--verbose")
    assert own.ctl("lift", "staff", who=OPERATOR).returncode == 4
    own.do("lift", "staff")
    assert quick(own, ALICE)
    assert own.ctl("order", "staff").returncode == 1  # there is no such profile


def test_a_link_of_a_configuration_management(own):
    """As long as root alone can change what it leads to."""
    _link(own, 0o755)
    own.do("reload")
    own.do("order", "staff")
    checks.assert_blocked(own, ALICE, ("udp",))
    own.daemon.end()
    own.start()
    assert "not in force" not in own.do("status")
    os.unlink(own.path("elsewhere/lockdownd.conf"))  # not the same as no configuration at all
    done = own.ctl("reload")
    assert done.returncode == 1 and "lockdownd.conf: is a symbolic link that leads to nothing" in done.stderr, done.stderr
    assert not quick(own, ALICE)
