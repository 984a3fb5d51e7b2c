# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon's own user: what becomes of a lock that is in force when there is none, when there is another one, and when
the daemon was root before. Whoever is locked sends all through it (Streams), and nothing may arrive."""

import os
import subprocess

import pytest
from container import wait_for
from test_boot import STAFF, Streams, assert_locked, order_of
from test_sandbox import fields

DAEMON, GUARD = "lockdownd.service", "lockdownd-user.service"
CONFIGURATION = "/etc/lockdownd/lockdownd.conf"
AS_ROOT = f"/etc/systemd/system/{DAEMON}.d/root.conf"


@pytest.fixture(name="locked")
def fixture_locked_and_enabled(machine):
    machine.systemctl("enable", "--now", DAEMON)
    machine.systemctl("start", STAFF)
    machine.await_active(STAFF)
    assert runs_as(machine) == "lockdownd"
    yield order_of(machine)
    assert runs_as(machine) == "lockdownd"


def runs_as(machine):
    uids = set(fields(machine, machine.property(DAEMON, "MainPID"))["Uid"].split())
    assert len(uids) == 1, uids
    return machine.do("id", "-nu", uids.pop()).strip()


def owners(machine, *places):
    return set(machine.do("find", *places, "!", "-type", "s", "-printf", "%u:%g\\n").split())


def assert_in_force(machine, order, user, group=None):
    """Adopted, not recovered, with all that belongs to it and in the hands of USER."""
    assert runs_as(machine) == user
    assert order_of(machine) == order
    found, = machine.status()[1]["orders"]
    assert found["locks"]["second_lock"] == "in force", found["locks"]
    assert owners(machine, "/var/lib/lockdownd", "/run/lockdownd", "/sys/fs/bpf/lockdownd") == {f"{user}:{group or user}"}
    assert not machine.do("ls", "/var/lib/lockdownd/damaged").split()
    assert_locked(machine)


def said(machine):
    """The guard's last words."""
    machine.do("journalctl", "--sync")
    return machine.do("journalctl", "-b", "-o", "cat", "-u", GUARD, "-n", "8")


def restart(machine):
    machine.systemctl("restart", DAEMON)
    machine.systemctl("reset-failed", "lockdownd*")


def delete_user(machine):
    machine.do("userdel", "-f", "lockdownd")
    assert machine.run("id", "lockdownd").returncode != 0


def test_it_is_a_user_with_nothing_else(machine, locked):
    assert_in_force(machine, locked, "lockdownd")
    status = fields(machine, machine.property(DAEMON, "MainPID"))
    group = machine.do("id", "-g", "lockdownd").strip()
    assert set(status["Gid"].split()) == set(status["Groups"].split()) == {group}
    assert status["NoNewPrivs"] == "1"
    wait_for(lambda: "lockdownd" in machine.do("busctl", "list", "--no-legend", "--acquired"), 15.0, "its name on the bus")
    machine.do("lockdownctl", "verify")
    machine.systemctl("reload", DAEMON)


def test_launcher_whose_socket_is_made_anew(machine, locked):
    assert locked
    machine.systemctl("stop", "lockdownd-launcher.socket", "lockdownd-launcher.service")
    machine.systemctl("start", "lockdownd-launcher.socket")
    answer = machine.do("lockdownctl", "verify")
    assert "tried: as ordered" in answer, answer


def test_upgrade_from_root(machine, locked):
    """… and back."""
    with Streams(machine):
        machine.write(AS_ROOT, "[Service]\nUser=root\nGroup=root\nAmbientCapabilities=\n")
        machine.systemctl("daemon-reload")
        machine.systemctl("restart", DAEMON)
    assert_in_force(machine, locked, "root")
    with Streams(machine):
        machine.do("rm", AS_ROOT)
        machine.systemctl("daemon-reload")
        machine.systemctl("restart", DAEMON)
    assert_in_force(machine, locked, "lockdownd")


def test_user_that_is_deleted(machine, locked):
    machine.systemctl("mask", "systemd-sysusers.service")  # it does not run at every boot
    delete_user(machine)
    machine.reboot()
    machine.systemctl("unmask", "systemd-sysusers.service")
    assert_in_force(machine, locked, "lockdownd")


def test_user_that_has_another_number(machine, locked):
    before = machine.do("id", "-u", "lockdownd")
    delete_user(machine)
    machine.do("useradd", "--system", "--uid", "876", "lockdownd")
    assert before.strip() != "876"
    machine.reboot()
    assert_in_force(machine, locked, "lockdownd")


def test_user_that_cannot_be_made(machine, locked):
    """At the boot; and as soon as it can be made it is."""
    drop_in = f"/etc/systemd/system/{GUARD}.d/read-only.conf"
    machine.write(drop_in, "[Service]\nReadOnlyPaths=/etc\n")
    machine.systemctl("mask", "systemd-sysusers.service")
    delete_user(machine)
    machine.reboot()
    machine.systemctl("unmask", "systemd-sysusers.service")
    assert_in_force(machine, locked, "root")
    assert "there is no user lockdownd, and it could not be made" in said(machine)
    assert machine.is_active(GUARD) == "failed"
    machine.do("rm", drop_in)
    machine.systemctl("daemon-reload")
    with Streams(machine):
        restart(machine)
    assert_in_force(machine, locked, "lockdownd")


def test_configuration_that_only_root_can_read(machine, locked):
    """A reload is refused and says what to do; a daemon that starts is root, rather than without its profiles."""
    machine.do("chmod", "600", CONFIGURATION)
    done = machine.run("lockdownctl", "reload")
    assert done.returncode != 0 and "chgrp lockdownd" in done.stderr, done
    checked = machine.run("lockdownd", "--check")
    assert checked.returncode == 1 and f"{CONFIGURATION}: cannot be read" in checked.stderr, checked
    machine.systemctl("start", DAEMON)  # while one runs nothing is tried: it could see to the outcome
    assert machine.is_active(GUARD) == "inactive" and not machine.property(DAEMON, "DropInPaths")
    restart(machine)
    assert_in_force(machine, locked, "root")
    assert f"cannot read {CONFIGURATION}" in said(machine)
    machine.do("lockdownd", "--check")  # root can
    machine.do("lockdownctl", "reload")
    machine.do("chgrp", "lockdownd", CONFIGURATION)
    machine.do("chmod", "640", CONFIGURATION)
    assert machine.run("lockdownd", "--check").returncode == 0
    machine.systemctl("start", DAEMON)  # nothing is taken from the one that runs
    assert_in_force(machine, locked, "root")
    restart(machine)
    assert_in_force(machine, locked, "lockdownd")
    machine.do("chgrp", "root", CONFIGURATION)
    machine.do("chmod", "644", CONFIGURATION)


def test_directory_that_hangs(machine, locked, tmp_path):
    """systemd asks it for the user's groups and waits; the start must not. Nor is it a reason to be root: many can keep a
    directory busy."""
    library = tmp_path / "libnss_hang.so.2"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, os.path.join(os.path.dirname(__file__), "nss-hang.c")],
                   check=True)
    place = os.path.dirname(machine.do("find", "/usr/lib", "-name", "libnss_compat.so*").split()[0])
    root = f"/proc/{machine.leader}/root"
    subprocess.run(["cp", library, root + place], check=True)
    before = machine.do("cat", "/etc/nsswitch.conf")
    machine.write("/etc/nsswitch.conf", before + "initgroups: files [SUCCESS=continue] hang\n")
    try:
        with Streams(machine):
            restart(machine)
        assert "does not say within five seconds" in said(machine)
        assert_in_force(machine, locked, "lockdownd", "root")
        group = machine.do("id", "-g", "lockdownd").strip()
        assert fields(machine, machine.property(DAEMON, "MainPID"))["Groups"].split() == [group]
    finally:
        machine.write("/etc/nsswitch.conf", before)
    restart(machine)
    assert_in_force(machine, locked, "lockdownd")


def test_program_that_a_group_could_have_put_there(machine, locked):
    """/usr/local is the group staff's on some systems. What the guard runs is not from there."""
    place, trace = "/usr/local/bin/timeout", "/run/somebody-elses"
    machine.write(place, f"#!/bin/sh\nid >{trace}\nshift\nexec \"$@\"\n")
    machine.do("chmod", "755", place)
    try:
        restart(machine)
        assert machine.run("test", "-e", trace).returncode != 0, machine.do("cat", trace)
    finally:
        machine.do("rm", place)
    assert_in_force(machine, locked, "lockdownd")


def test_root_by_hand(machine, locked):
    """Where there is no service manager: root takes the service's place, and the service root's."""
    done = machine.run("lockdownd")
    assert done.returncode != 0 and "another lockdownd is running" in done.stderr, done
    # The follower would start the units of orders, and they the service's own socket.
    machine.systemctl("stop", "lockdownd-units.service", "lockdownd.socket", DAEMON)
    machine.do("systemd-run", "--quiet", "--unit=by-hand", "--property=Type=notify", "/usr/local/sbin/lockdownd")
    try:
        assert order_of(machine) == locked
        machine.do("lockdownctl", "order", "blue-team", "--quiet")
        assert not machine.do("ls", "/var/lib/lockdownd/damaged").split()
        assert owners(machine, "/var/lib/lockdownd", "/run/lockdownd/lock") == {"lockdownd:lockdownd"}
        done = machine.run("lockdownd")
        assert done.returncode != 0 and "another lockdownd is running" in done.stderr, done
        assert_locked(machine)
    finally:
        machine.systemctl("stop", "by-hand.service")
        machine.systemctl("start", "lockdownd.socket", DAEMON, "lockdownd-units.service")
    second = order_of(machine, "blue-team")
    assert second
    machine.do("lockdownctl", "lift", "blue-team", "--quiet")
    assert_in_force(machine, locked, "lockdownd")
