# SPDX-License-Identifier: GPL-2.0-or-later
"""The units on a booted system, driven with systemctl, judged by what arrives in the world.

One story: the tests run in this order on one machine, and each says at its beginning what it needs to find.
"""

import json
import os
import socket

import pytest
from container import lab, wait_for
from lab import ALICE, BOB, CAROL, INTERNAL4, INTERNAL6, INTERNET4, INTERNET6, MALLORY, PARTNER4, PARTNER6, probes

OUTSIDE = (INTERNET4, INTERNET6, PARTNER4, PARTNER6)
INTERNAL = (INTERNAL4, INTERNAL6)
STAFF = "lockdown@staff.service"
REFUSED = {"ECONNREFUSED", "EACCES", "EPERM", "EHOSTUNREACH", "ENETUNREACH", "ECONNRESET"}
SLOW_RESTART = "/run/systemd/system/lockdownd.service.d/slow.conf"


# --- asking the world ---

def attempts(machine, who, destinations):
    specs = [machine.spec(kind, dst) for dst in destinations for kind in ("tcp", "udp", "ping")]
    return machine.probe(specs, who)


def describe(results):
    return [f"{r['kind']} {r['dst']}: {r['error'] or ('answered' if r['reply'] else 'no answer')}"
            f"{', arrived' if r['arrived'] else ''}" for r in results]


def assert_reaches(machine, who, destinations):
    results = attempts(machine, who, destinations)
    assert all(r["arrived"] and r["reply"] for r in results), (who.name, describe(results))


def assert_refused(machine, who, destinations=OUTSIDE):
    """Nothing arrives, and the program hears of it at once."""
    results = attempts(machine, who, destinations)
    assert not any(r["arrived"] for r in results), (who.name, describe(results))
    assert all(r["error"] in REFUSED for r in results), (who.name, describe(results))


def assert_locked(machine):
    assert_refused(machine, ALICE)
    assert_refused(machine, BOB)
    assert_reaches(machine, ALICE, INTERNAL)
    assert_reaches(machine, MALLORY, OUTSIDE)


def assert_open(machine):
    for who in (ALICE, BOB, MALLORY):
        assert_reaches(machine, who, OUTSIDE + INTERNAL)


class Streams:
    """Datagrams every few milliseconds, by members and by somebody else, all through a with block. Not one of the
    members' may arrive, and all of the other's must."""

    def __init__(self, machine):
        self.machine = machine

    def __enter__(self):
        self.mark = self.machine.mark()
        self.tasks = {}
        for who in (ALICE, BOB, MALLORY):
            for dst in (INTERNET4, INTERNET6):
                name = f"{who.name}-{'6' if ':' in dst else '4'}"
                self.tasks[name] = self.machine.host.spawn(probes.stream, dst, 443, 0.004, name, who=who)
        for task in self.tasks.values():
            task.receive()
        return self

    def __exit__(self, kind, *_):
        sent = {name: task.ask("stop")["sent"] for name, task in self.tasks.items()}
        for task in self.tasks.values():
            task.kill()
        if kind:
            return
        arrived = dict.fromkeys(sent, 0)
        for packet in self.machine.packets(self.mark):
            if packet.protocol == socket.IPPROTO_UDP and packet.payload.startswith(b"q:"):
                name = packet.payload.split(b":")[1].decode()
                if name in arrived:
                    arrived[name] += 1
        assert all(n > 0 for n in sent.values()), sent
        assert arrived == {n: sent[n] if n.startswith("mallory") else 0 for n in sent}, (arrived, sent)


def order_of(machine, profile="staff"):
    """Its id if it is in force, else None; as lockdownctl tells."""
    document = machine.status()[1]
    for order in document["orders"]:
        if order["profile"] == profile:
            return order["id"]
    return None


@pytest.fixture(name="locked")
def fixture_locked(machine):
    """Staff is in force, as the story left it or put there now."""
    machine.systemctl("start", STAFF)
    machine.await_active(STAFF)
    return order_of(machine)


@pytest.fixture(name="opened")
def fixture_opened(machine):
    """Nothing is in force."""
    machine.do("lockdownctl", "lift", "--all", "--quiet")
    machine.await_active(STAFF, "inactive")


# --- the story ---

def test_units_are_well_formed(machine):
    done = machine.run("systemd-analyze", "verify", "--man=no", "lockdownd.service", "lockdownd.socket",
                       "lockdownd-launcher.service", "lockdownd-launcher.socket", "lockdownd-units.service",
                       "lockdownd-user.service", "lockdown@staff.service")
    assert done.returncode == 0 and not done.stderr.strip(), done.stderr


def test_enable_and_start(machine):
    machine.systemctl("enable", "--now", "lockdownd.service")
    for unit in ("lockdownd.service", "lockdownd.socket"):
        assert machine.systemctl("is-enabled", unit).strip() == "enabled"
        machine.await_active(unit)
    machine.await_active("lockdownd-units.service")


def test_nothing_is_in_force_until_ordered(machine):
    assert machine.is_active(STAFF) == "inactive"
    assert machine.status()[0] == 3
    assert_open(machine)


def test_start_orders(machine):
    """Also with what is open at that moment: theirs is cut, and nobody else's."""
    downloads = {who.name: machine.host.spawn(probes.transfer, INTERNET4, 443, who=who) for who in (ALICE, BOB, MALLORY)}
    for task in downloads.values():
        task.receive()
    machine.systemctl("start", STAFF)
    reports = {}
    for name, task in downloads.items():
        if name != "mallory":
            wait_for(lambda task=task: task.ask("report")["error"], 5.0, f"{name}'s download to break")
        reports[name] = task.ask("report")
    so_far = reports["mallory"]["received"]
    wait_for(lambda: downloads["mallory"].ask("report")["received"] > so_far, 5.0, "mallory's download to go on")
    assert downloads["mallory"].ask("report")["error"] is None
    for task in downloads.values():
        task.kill()
    assert machine.is_active(STAFF) == "active"
    assert_locked(machine)
    assert order_of(machine)


def test_start_again_changes_nothing(machine, locked):
    machine.systemctl("start", STAFF)
    assert order_of(machine) == locked
    assert machine.do("lockdownctl", "order", "staff", "--quiet") == ""
    assert order_of(machine) == locked


def test_both_locks_hold_inside_the_sandbox(machine, locked):
    order, = json.loads(machine.do("lockdownctl", "status", "--json"))["orders"]
    assert locked
    assert order["locks"]["nftables"] == "in force"
    verdict, = json.loads(machine.do("lockdownctl", "verify", "--json"))["verified"]
    assert verdict["holds"] and verdict["trial"].startswith("as ordered, as uid "), verdict
    if not os.path.exists("/sys/kernel/btf/vmlinux"):
        pytest.skip("this kernel does not describe itself: " + order["locks"]["second_lock"])
    assert order["locks"]["second_lock"] == "in force"


def test_doors_are_named_inside_the_sandbox(machine, locked):
    """Without rights over other people's processes: by control group. Sockets of systemd's lead to their service."""
    assert locked
    machine.write("/run/systemd/system/privoxy.socket", "[Socket]\nListenStream=127.0.0.1:3131\n")
    machine.write("/run/systemd/system/privoxy.service", "[Service]\nExecStart=/bin/sleep 60\n")
    machine.systemctl("daemon-reload")
    machine.systemctl("start", "privoxy.socket")
    machine.do("systemd-run", "--unit=squid.service", "--property=User=nobody", "--quiet",
               "systemd-socket-activate", "--listen=127.0.0.1:3129", "/bin/cat")

    def listed():
        order, = json.loads(machine.do("lockdownctl", "status", "--json"))["orders"]
        assert "doors_unseen" not in order, order["doors_unseen"]
        return {d.get("port"): d for d in order["doors"]}

    try:
        doors = wait_for(lambda: 3129 in listed() and listed(), 10.0, "the proxy to listen")
        assert (doors[3129]["kind"], doors[3129]["unit"]) == ("proxy", "squid.service"), doors
        assert doors[3129]["program"] == "systemd-socket-" and doors[3129]["uid"] == 65534
        assert (doors[3131]["kind"], doors[3131]["unit"]) == ("proxy", "privoxy.socket"), doors
    finally:
        machine.systemctl("stop", "squid.service", "privoxy.socket")
        machine.do("rm", "/run/systemd/system/privoxy.socket", "/run/systemd/system/privoxy.service")
        machine.systemctl("daemon-reload")


def test_status_of_the_service_tells(machine, locked):
    assert locked
    text = machine.systemctl("status", "--no-pager", "--lines=0", "lockdownd.service")
    status = [line for line in text.splitlines() if "Status:" in line]
    assert status and "staff" in status[0], text


def test_killed_daemon_leaves_the_block(machine, locked):
    machine.write(SLOW_RESTART, "[Service]\nRestartSec=4s\n")
    machine.systemctl("daemon-reload")
    pid = machine.property("lockdownd.service", "MainPID")
    owned = machine.status()[1]["daemon"]["tables_owned"]
    with Streams(machine):
        machine.systemctl("kill", "--kill-whom=main", "--signal=KILL", "lockdownd.service")
        machine.await_active("lockdownd.service", "activating")
        assert_refused(machine, ALICE)
        assert_refused(machine, BOB)
        if owned:  # the service manager keeps the socket that owns them
            for words in (("delete", "table", "inet", "lockdown-staff"), ("flush", "table", "inet", "lockdown-staff")):
                done = machine.host.run(["/usr/sbin/nft", *words])
                assert done.returncode != 0 and "not permitted" in done.stderr, (words, done.stderr)
        assert machine.is_active("lockdownd.service") == "activating", "it must have been away all that time"
        machine.await_active("lockdownd.service", "active", 15.0)
    assert machine.property("lockdownd.service", "MainPID") not in (pid, "0")
    assert order_of(machine) == locked
    assert machine.is_active(STAFF) == "active"
    assert_locked(machine)
    machine.do("rm", SLOW_RESTART)
    machine.systemctl("daemon-reload")


def test_restarted_daemon_keeps_the_block(machine, locked):
    with Streams(machine):
        machine.systemctl("restart", "lockdownd.service")
        machine.systemctl("restart", "lockdownd-units.service")
    assert order_of(machine) == locked
    assert machine.is_active(STAFF) == "active"


def test_stopped_daemon_keeps_the_block(machine, locked):
    with Streams(machine):
        machine.systemctl("stop", "lockdownd.socket", "lockdownd.service")
        assert machine.is_active("lockdownd.service") == "inactive"
        assert machine.is_active(STAFF) == "active"
        assert_refused(machine, ALICE)
        assert_refused(machine, BOB)
        machine.systemctl("start", "lockdownd.service")
    assert machine.is_active("lockdownd.socket") == "active"
    assert order_of(machine) == locked


def test_socket_starts_the_daemon(machine, locked):
    machine.systemctl("stop", "lockdownd.service")
    assert machine.is_active("lockdownd.service") in ("inactive", "activating", "active")  # the follower may have called
    assert order_of(machine) == locked
    assert machine.is_active("lockdownd.service") == "active"


def test_reload_is_no_gap(machine, locked):
    with Streams(machine):
        machine.systemctl("reload", "lockdownd.service")
    assert order_of(machine) == locked


def test_refused_configuration_fails_the_reload(machine, locked):
    path = f"/proc/{machine.leader}/root/etc/lockdownd/lockdownd.conf"
    with open(path, encoding="utf-8") as f:
        good = f.read()
    try:
        machine.write("/etc/lockdownd/lockdownd.conf", good + "\nNonsense=yes\n")
        assert machine.run("systemctl", "reload", "lockdownd.service").returncode != 0
        assert machine.is_active("lockdownd.service") == "active"
        assert order_of(machine) == locked
        assert_refused(machine, ALICE)
    finally:
        machine.write("/etc/lockdownd/lockdownd.conf", good)
    machine.systemctl("reload", "lockdownd.service")


def test_rescue_mode_is_no_way_out(machine, locked):
    with Streams(machine):
        machine.systemctl("isolate", "rescue.target")
        wait_for(lambda: machine.is_active("multi-user.target") != "active", 15.0, "rescue mode")
        assert machine.is_active("lockdownd.service") == "active"
        assert machine.is_active(STAFF) == "active"
        assert order_of(machine) == locked
        assert_refused(machine, ALICE)
        machine.systemctl("isolate", "multi-user.target")
        wait_for(lambda: machine.is_active("multi-user.target") == "active", 15.0, "the way back")
    assert machine.is_active(STAFF) == "active"
    assert order_of(machine) == locked


def test_unit_that_cannot_order_fails_and_lifts_nothing(machine, locked):
    unit = "lockdown@no_such_profile.service"
    assert machine.run("systemctl", "start", unit).returncode != 0
    assert machine.is_active(unit) == "failed"
    machine.systemctl("reset-failed", unit)
    assert order_of(machine) == locked
    assert_refused(machine, ALICE)


def test_reboot_keeps_the_order(machine, locked):
    machine.reboot()
    machine.await_active("lockdownd.service")
    machine.await_active(STAFF)
    assert order_of(machine) == locked
    assert_locked(machine)

    def entered(unit):
        return int(machine.property(unit, "ActiveEnterTimestampMonotonic"))

    assert machine.is_active("network-pre.target") == "active"
    assert 0 < entered("lockdownd.service") <= entered("network-pre.target")


def test_stop_lifts(machine, locked):
    assert locked
    machine.systemctl("stop", STAFF)
    assert machine.is_active(STAFF) == "inactive"
    assert order_of(machine) is None
    assert machine.status()[0] == 3
    assert_open(machine)


def test_lifted_stays_lifted_after_a_reboot(machine, opened):
    assert opened is None
    machine.reboot()
    machine.await_active("lockdownd.service")
    machine.await_active("lockdownd-units.service")
    assert machine.is_active(STAFF) == "inactive"
    assert order_of(machine) is None
    assert_open(machine)


def test_unit_follows_orders_given_elsewhere(machine, opened):
    assert opened is None
    machine.do("lockdownctl", "order", "staff", "--reason", "IR-42")
    machine.await_active(STAFF)
    assert "IR-42" in machine.systemctl("status", "--no-pager", "--lines=0", "lockdownd.service")
    machine.do("lockdownctl", "lift", "staff")
    machine.await_active(STAFF, "inactive")
    assert order_of(machine) is None
    assert_open(machine)


def test_unit_follows_quick_changes(machine, opened):
    """A unit that is being stopped because its order ended must not lift the next order."""
    assert opened is None
    for _ in range(5):
        machine.do("lockdownctl", "order", "staff", "--quiet")
        machine.await_active(STAFF)
        machine.do("lockdownctl", "lift", "staff", "--quiet")
        machine.do("lockdownctl", "order", "staff", "--quiet")
        identity = order_of(machine)
        assert identity
        machine.await_active(STAFF)
        # Whatever the follower had still to do about the first order is done when it has seen a third.
        machine.do("lockdownctl", "order", "blue-team", "--quiet")
        machine.await_active("lockdown@blue-team.service")
        assert order_of(machine) == identity
        assert machine.is_active(STAFF) == "active"
        machine.do("lockdownctl", "lift", "--all", "--quiet")
        machine.await_active(STAFF, "inactive")
        machine.await_active("lockdown@blue-team.service", "inactive")


def test_expiry_stops_the_unit(machine, opened):
    assert opened is None
    machine.do("lockdownctl", "order", "staff", "--for", "5s")
    machine.await_active(STAFF)
    assert_refused(machine, ALICE)
    machine.await_active(STAFF, "inactive", 15.0)
    assert order_of(machine) is None
    assert_open(machine)


def test_profile_with_a_dash(machine, opened):
    assert opened is None
    unit = "lockdown@blue-team.service"
    machine.systemctl("start", unit)
    assert order_of(machine, "blue-team")
    assert_refused(machine, CAROL)
    assert_reaches(machine, ALICE, OUTSIDE)
    machine.systemctl("stop", unit)
    assert order_of(machine, "blue-team") is None
    assert_reaches(machine, CAROL, OUTSIDE)


def test_unprivileged_callers(machine, opened):
    """Both ways in: the private socket and the system bus. Status for all, orders for some."""
    assert opened is None
    bus = ("busctl", "call", "org.egresslockdown.Lockdown1", "/org/egresslockdown/Lockdown1",
           "org.egresslockdown.Lockdown1")
    assert machine.run("lockdownctl", "status", who=MALLORY).returncode == 3
    assert machine.run("lockdownctl", "order", "staff", who=MALLORY).returncode == 4
    wait_for(lambda: machine.run(*bus, "Status", "sb", "", "false", who=MALLORY).returncode == 0, 10.0,
             "the daemon on the system bus", interval=0.1)
    done = machine.run(*bus, "Order", "sa{sv}", "staff", "0", who=MALLORY)
    assert done.returncode != 0, done.stdout
    done = machine.run(*bus, "Lift", "ss", "staff", "", who=MALLORY)
    assert done.returncode != 0, done.stdout
    assert order_of(machine) is None
    assert_open(machine)
    assert machine.run("lockdownctl", "order", "staff", "--quiet", who=lab.OPERATOR).returncode == 0
    assert_refused(machine, ALICE)
    assert machine.run("lockdownctl", "lift", "staff", "--quiet", who=lab.OPERATOR).returncode == 0


def test_journal(machine):
    """Structured entries with a MESSAGE_ID each, and a text for it in the catalog."""
    machine.do("journalctl", "--update-catalog")
    machine.do("journalctl", "--sync")
    lines = machine.do("journalctl", "-b", "-o", "json", "-u", "lockdownd.service").splitlines()
    entries = [entry for entry in map(json.loads, lines) if "LOCKDOWN_PROFILE" in entry and "MESSAGE_ID" in entry]
    kinds = {entry["MESSAGE_ID"] for entry in entries}
    assert len(kinds) >= 3, kinds  # ordered, lifted, expired
    assert all(len(kind) == 32 for kind in kinds)
    listed = machine.do("journalctl", "--list-catalog")
    assert all(kind in listed for kind in kinds), listed
    assert any("IR-42" in entry.get("LOCKDOWN_REASON", "") for entry in entries)


def test_nothing_failed(machine):
    # The follower's own start of a unit fails when the order was lifted meanwhile; it cleans up behind itself.
    wait_for(lambda: not machine.systemctl("list-units", "--failed", "--plain", "--no-legend", "lockdown*").strip(),
             10.0, "no unit that failed", interval=0.1)
    assert machine.property("lockdownd.service", "NRestarts") == "0", "it restarted by itself since the last boot"
