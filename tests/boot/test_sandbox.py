# SPDX-License-Identifier: GPL-2.0-or-later
"""What the units may do: no more than stands there with a reason, and enough for the job."""

import json
import time

import container  # it knows where the others are
import nameserver
import pytest
from lab import ALICE, RESOLVER4

# Lines of `systemd-analyze security` that the unit explains, and the figure they come to.
DAEMON = {"AmbientCapabilities", "PrivateDevices", "CapabilityBoundingSet_CAP_KILL", "CapabilityBoundingSet_CAP_BPF",
          "CapabilityBoundingSet_CAP_NET_ADMIN", "RestrictAddressFamilies_AF_NETLINK", "RestrictAddressFamilies_AF_UNIX",
          "SystemCallFilter_privileged", "ProtectProc", "ProcSubset", "PrivateNetwork", "PrivateUsers", "DeviceAllow",
          "ProtectClock", "SystemCallFilter_clock"}
LAUNCHER = {"UserOrDynamicUser", "PrivateDevices", "CapabilityBoundingSet_CAP_KILL",
            "CapabilityBoundingSet_CAP_SET_UID_GID_PCAP", "CapabilityBoundingSet_CAP_NET_ADMIN",
            "RestrictAddressFamilies_AF_NETLINK", "RestrictAddressFamilies_AF_UNIX",
            "RestrictAddressFamilies_AF_INET_INET6", "SystemCallFilter_privileged", "ProcSubset", "PrivateNetwork",
            "PrivateUsers", "DeviceAllow", "IPAddressDeny"}
FOLLOWER = {"UserOrDynamicUser", "RestrictAddressFamilies_AF_UNIX", "DeviceAllow", "PrivateUsers"}
ORDER = FOLLOWER | {"PrivateDevices", "PrivateNetwork"}
CAPABILITIES = {"lockdownd.service": {"cap_net_admin": 12, "cap_kill": 5, "cap_perfmon": 38, "cap_bpf": 39},
                "lockdownd-launcher.service": {"cap_net_admin": 12, "cap_kill": 5, "cap_setgid": 6, "cap_setuid": 7}}

CONFIGURATION = """
[Profile relayed]
Groups=boot-staff
DNS=10.0.0.53
SecondLock=no
"""


@pytest.mark.parametrize("unit, explained, most", [("lockdownd.service", DAEMON, 20),
                                                   ("lockdownd-launcher.service", LAUNCHER, 26),
                                                   ("lockdownd-units.service", FOLLOWER, 8),
                                                   ("lockdown@staff.service", ORDER, 15)])
def test_exposure_does_not_creep_up(machine, unit, explained, most):
    rows = json.loads(machine.do("systemd-analyze", "security", "--json=short", "--no-pager", unit))
    counted = {row["json_field"] for row in rows if row.get("exposure") and float(row["exposure"]) > 0}
    assert counted <= explained, f"{unit} may do more than its reasons tell: {counted - explained}"
    done = machine.run("systemd-analyze", "security", f"--threshold={most}", "--no-pager", unit)
    assert done.returncode == 0, f"{unit}: more than {most / 10}: {done.stdout.splitlines()[-1:]}"


def fields(machine, pid):
    """/proc/PID/status"""
    lines = machine.do("cat", f"/proc/{pid}/status").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def launched(machine, argument):
    """The processes that the launcher started with ARGUMENT, by their pids in the container."""
    main = machine.property("lockdownd-launcher.service", "MainPID")
    found = []
    for pid in machine.run("cat", f"/proc/{main}/task/{main}/children").stdout.split():
        words = machine.run("cat", f"/proc/{pid}/cmdline").stdout.split("\0")
        if argument in words:
            found.append(pid)
    return found


def assert_confined(machine, pid, oom_score):
    status = fields(machine, pid)
    assert set(status["Uid"].split()) == set(status["Gid"].split()) == {"65534"} and not status["Groups"], status
    assert {status[name] for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")} == {"0" * 16}, status
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2", status
    launcher = fields(machine, machine.property("lockdownd-launcher.service", "MainPID"))
    assert int(status["Seccomp_filters"]) > int(launcher["Seccomp_filters"]), "it has no filter of its own"
    assert machine.do("cat", f"/proc/{pid}/oom_score_adj").strip() == oom_score
    limits = machine.do("cat", f"/proc/{pid}/limits")
    assert any(line.split()[:4] == ["Max", "core", "file", "size"] and line.split()[4] == "0"
               for line in limits.splitlines()), limits


@pytest.fixture(name="relayed")
def fixture_relayed(machine):
    """Alone in force, once it is ordered."""
    machine.do("lockdownctl", "lift", "--all", "--quiet")
    path = f"/proc/{machine.leader}/root/etc/lockdownd/lockdownd.conf"
    with open(path, encoding="utf-8") as f:
        before = f.read()
    machine.write("/etc/lockdownd/lockdownd.conf", before + CONFIGURATION)
    machine.do("lockdownctl", "reload")
    yield
    machine.do("lockdownctl", "lift", "--all", "--quiet")
    machine.write("/etc/lockdownd/lockdownd.conf", before)
    machine.do("lockdownctl", "reload")


@pytest.mark.parametrize("unit", CAPABILITIES)
def test_who_has_which_capabilities(machine, unit):
    expected = sum(1 << bit for bit in CAPABILITIES[unit].values())
    status = fields(machine, machine.property(unit, "MainPID"))
    for name in ("CapEff", "CapBnd"):
        assert int(status[name], 16) == expected, (name, status[name])


@pytest.mark.usefixtures("relayed")
def test_worker_and_relay_are_confined_and_ended(machine):
    """Started, doing their work, and killed: another user's processes, whatever they are doing."""
    machine.do("lockdownctl", "order", "relayed")
    relay, = container.wait_for(lambda: launched(machine, "--dns-relay"), 10.0, "the relay")
    worker, = container.wait_for(lambda: launched(machine, "--resolver-worker"), 10.0, "the worker")
    container.wait_for(lambda: fields(machine, relay)["Seccomp_filters"] == fields(machine, worker)["Seccomp_filters"], 10.0,
             "the relay to have confined itself")
    order, = machine.status()[1]["orders"]
    assert not [door for door in order["doors"] if "lockdownd" in door.get("unit", "")], order["doors"]
    assert_confined(machine, relay, "0")
    assert_confined(machine, worker, "1000")
    mark = machine.mark()
    machine.host.call(nameserver.ask, "127.0.0.1", "sandbox.test", timeout=0.5, who=ALICE)
    container.wait_for(lambda: [p for p in machine.packets(mark) if p.dst == RESOLVER4 and p.dport == 53], 10.0,
             "what was sent to the machine's own resolver to be relayed")
    machine.do("kill", "-STOP", worker, relay)
    machine.do("systemctl", "reload", "lockdownd.service")  # asks for the people again
    container.wait_for(lambda: worker not in launched(machine, "--resolver-worker"), 20.0, "the end of a worker that hangs")
    machine.do("lockdownctl", "lift", "relayed")
    container.wait_for(lambda: not launched(machine, "--dns-relay"), 10.0, "the end of the relay")


@pytest.mark.usefixtures("relayed")
def test_the_launcher_comes_and_goes(machine):
    """The daemon has no processes of its own. One that is killed takes its own along, and is started again; it ends with the
    daemon that it serves."""
    machine.do("lockdownctl", "order", "relayed")
    main = machine.property("lockdownd.service", "MainPID")
    assert not machine.do("cat", f"/proc/{main}/task/{main}/children").split()
    relay, = container.wait_for(lambda: launched(machine, "--dns-relay"), 10.0, "the relay")
    machine.systemctl("kill", "--kill-whom=main", "--signal=KILL", "lockdownd-launcher.service")
    container.wait_for(lambda: set(launched(machine, "--dns-relay")) - {relay}, 10.0, "another relay")
    assert machine.property("lockdownd.service", "MainPID") == main
    machine.systemctl("stop", "lockdownd-launcher.service")
    container.wait_for(lambda: launched(machine, "--dns-relay"), 10.0, "a third one")
    machine.do("lockdownctl", "verify", "relayed")
    launcher = machine.property("lockdownd-launcher.service", "MainPID")
    machine.systemctl("restart", "lockdownd.service")
    container.wait_for(lambda: launched(machine, "--dns-relay"), 10.0, "the relay of the next daemon")
    container.wait_for(lambda: not machine.run("cat", f"/proc/{relay}/cmdline").stdout, 10.0, "the end of the first relay")
    assert machine.property("lockdownd-launcher.service", "MainPID") != launcher or launcher == "0"


@pytest.mark.usefixtures("relayed")
def test_a_launcher_that_hangs_is_replaced(machine):
    drop_in = "/run/systemd/system/lockdownd-launcher.service.d/soon.conf"
    machine.do("mkdir", "-p", drop_in.rpartition("/")[0])
    machine.write(drop_in, "[Service]\nWatchdogSec=2s\n")
    machine.systemctl("daemon-reload")
    try:
        machine.do("lockdownctl", "order", "relayed")
        machine.systemctl("stop", "lockdownd-launcher.service")  # the next one is watched as closely
        relay = container.wait_for(lambda: launched(machine, "--dns-relay"), 10.0, "the relay")
        time.sleep(5.0)  # one that does not hang is let be
        assert launched(machine, "--dns-relay") == relay
        machine.systemctl("kill", "--kill-whom=main", "--signal=STOP", "lockdownd-launcher.service")
        container.wait_for(lambda: launched(machine, "--dns-relay") not in ([], relay), 20.0, "another launcher's relay")
    finally:
        machine.do("rm", drop_in)
        machine.systemctl("daemon-reload")


@pytest.mark.usefixtures("relayed")
def test_processes_in_other_namespaces_are_seen(machine):
    """Other people's processes, without rights over them."""
    machine.do("systemd-run", "--unit=elsewhere", "--quiet", "--property=PrivateNetwork=yes", f"--uid={ALICE.uid}",
               "/bin/sleep", "infinity")
    try:
        machine.do("lockdownctl", "order", "relayed")

        def seen():
            order, = machine.status()[1]["orders"]
            return any(ALICE.uid in n["uids"] for n in order["uncovered_namespaces"])

        container.wait_for(seen, 10.0, "her process in another network namespace to be named", interval=0.1)
    finally:
        machine.systemctl("stop", "elsewhere.service")
