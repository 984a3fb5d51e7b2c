# SPDX-License-Identifier: GPL-2.0-or-later
"""Logins: a real sshd, PAM and logind; people come in from the world, from outside addresses and from internal ones."""

import json
import signal
import socket
import subprocess
import threading

import pytest
from container import lab, wait_for
from lab import ALICE, BOB, INTERNAL4, INTERNET4, INTERNET6, MALLORY, OPERATOR

KEY = "/root/key"
SSHD = 22
AT_ONCE = 1.0
SLOW_RESTART = "/run/systemd/system/lockdownd.service.d/slow.conf"


class Login:
    """One ssh client in the world. What it says goes to a pipe."""

    def __init__(self, machine, who, source, command="echo here; exec cat"):
        host = lab.HOST6 if ":" in source else lab.HOST4
        self.source = source
        self.machine = machine
        self.program = machine.world.popen(
            ["nsenter", "-t", str(machine.leader), "-m", "ssh", "-F", "none", "-b", source, "-i", KEY, "-T",
             "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
             "-o", "LogLevel=ERROR", f"{who.name}@{host}", command],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})

    def line(self):
        return self.program.stdout.readline().strip()

    def here(self):
        assert self.line() == "here"
        return self

    def lives(self):
        return self.program.poll() is None

    def await_end(self, timeout=AT_ONCE):
        """What it says meanwhile is taken: a client of OpenSSH 10 does not end before it is rid of that."""
        said = []
        reader = threading.Thread(target=lambda: said.append(self.program.stdout.read()))
        reader.start()
        try:
            wait_for(lambda: not self.lives(), timeout, f"the end of the login from {self.source}")
        finally:
            if self.lives():
                self.program.kill()
            reader.join()
        return said[0]

    def close(self):
        if self.lives():
            self.program.kill()
        self.program.wait()
        self.program.stdin.close()
        self.program.stdout.close()


@pytest.fixture(name="log_in")
def fixture_log_in(machine):
    """Logs people in; lifts everything and ends the clients behind the test."""
    machine.systemctl("enable", "--now", "lockdownd.service")
    machine.systemctl("start", "ssh.service")  # where the first connection starts it (Ubuntu), too
    # IPv6 binds to addresses alone, not to routes; there is no option for it as there is for IPv4.
    machine.world.call(lab._write, "/proc/sys/net/ipv6/ip_nonlocal_bind", "1", None)  # pylint: disable=protected-access
    if machine.run("test", "-e", KEY).returncode:
        machine.do("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", KEY)
        machine.do("cp", KEY + ".pub", "/etc/ssh/everybody.pub")
    logins = []

    def log_in(*args):
        logins.append(Login(machine, *args))
        return logins[-1]

    yield log_in
    for login in logins:
        login.close()
    machine.do("lockdownctl", "lift", "--all", "--quiet")
    wait_for(lambda: not sessions(machine), 10.0, "the end of all sessions", interval=0.05)


def sessions(machine):
    """{(user, from)} of the remote ones logind knows."""
    found = set()
    for line in machine.do("loginctl", "list-sessions", "--no-legend").splitlines():
        lines = machine.run("loginctl", "show-session", line.split()[0], "-p", "Name", "-p", "RemoteHost", "-p", "Remote",
                            "-p", "State").stdout.splitlines()
        shown = dict(part.split("=", 1) for part in lines)
        if shown.get("Remote") == "yes" and shown["State"] != "closing":
            found.add((shown["Name"], shown["RemoteHost"]))
    return found


def order(machine, *args):
    return json.loads(machine.do("lockdownctl", "order", "--json", *args))


def data_of_sshd(machine, mark):
    """What sshd sent that carries something: {where to: bytes}"""
    sent = {}
    for packet in machine.packets(mark):
        if packet.protocol == socket.IPPROTO_TCP and packet.sport == SSHD and packet.length:
            sent[packet.dst] = sent.get(packet.dst, 0) + packet.length
    return sent


def test_logins_from_outside_are_ended(machine, log_in):
    outside = [log_in(ALICE, INTERNET4).here(), log_in(BOB, INTERNET6).here()]
    others = [log_in(ALICE, INTERNAL4).here(), log_in(MALLORY, INTERNET4).here()]
    assert sessions(machine) == {("alice", INTERNET4), ("bob", INTERNET6), ("alice", INTERNAL4), ("mallory", INTERNET4)}

    text = machine.do("lockdownctl", "order", "remote", "--dry-run")
    assert f"of alice, logged in from {INTERNET4}" in text and f"of bob, logged in from {INTERNET6}" in text, text
    assert text.count("Would end session") == 2
    assert order(machine, "staff")["order"]["sessions_ended"] == 0  # RemoteSessions=keep
    assert all(login.lives() for login in outside + others)

    reply = order(machine, "remote")["order"]
    assert (reply["remote_sessions"], reply["sessions_ended"]) == ("end", 2)
    for login in outside:
        login.await_end()
    wait_for(lambda: sessions(machine) == {("alice", INTERNAL4), ("mallory", INTERNET4)}, 5.0, "logind to notice")
    assert all(login.lives() for login in others)
    machine.do("journalctl", "--sync")
    lines = machine.do("journalctl", "-b", "-o", "cat", "MESSAGE_ID=53f95fb70e654357b65ab74ba1e210ed").splitlines()
    assert any(f"of alice, logged in from {INTERNET4}, was ended" in line for line in lines), lines
    assert any(f"of bob, logged in from {INTERNET6}, was ended" in line for line in lines), lines
    assert "2 sessions from outside ended" in machine.do("lockdownctl", "status", "remote")


def test_later_logins_are_ended(machine, log_in):
    order(machine, "remote")
    inside = log_in(ALICE, INTERNAL4).here()
    for source in (INTERNET4, INTERNET6):
        login = log_in(ALICE, source)
        login.await_end(5.0)  # ssh's own hand-shake included
    wait_for(lambda: machine.status()[1]["orders"][0]["sessions_ended"] == 2, 5.0, "both to be counted")
    assert inside.lives()
    assert log_in(MALLORY, INTERNET4).here().lives()


def test_nothing_queued_goes_out(machine, log_in):
    """The client does not read, so sshd's socket is full when its session ends; then it reads again."""
    deaf = log_in(ALICE, INTERNET4, "echo here; exec cat /dev/zero").here()
    control = log_in(MALLORY, INTERNET6, "echo here; while echo more; do sleep 0.01; done").here()
    deaf.program.send_signal(signal.SIGSTOP)

    def is_stuck():
        mark = machine.mark()
        machine.barrier()
        return INTERNET4 not in data_of_sshd(machine, mark)

    wait_for(is_stuck, 10.0, "the queue to fill", interval=0.2)
    order(machine, "remote")
    wait_for(lambda: ("alice", INTERNET4) not in sessions(machine), 5.0, "logind to notice")
    mark = machine.mark()
    deaf.program.send_signal(signal.SIGCONT)
    deaf.await_end(5.0)
    wait_for(lambda: INTERNET6 in data_of_sshd(machine, mark), 5.0, "the control")
    assert INTERNET4 not in data_of_sshd(machine, mark)
    assert control.lives()


def test_nothing_more_arrives(machine, log_in):
    """A session that writes all the time: the last byte of it leaves before the order has returned, or right then."""
    talks = "echo here; while echo more; do sleep 0.001; done"
    log_in(ALICE, INTERNET4, talks).here()
    log_in(MALLORY, INTERNET6, talks).here()
    mark = machine.mark()
    wait_for(lambda: {INTERNET4, INTERNET6} <= set(data_of_sshd(machine, mark)), 5.0, "both to arrive")
    order(machine, "remote")
    mark = machine.mark()
    wait_for(lambda: INTERNET6 in data_of_sshd(machine, mark), 5.0, "the control")
    assert INTERNET4 not in data_of_sshd(machine, mark)


def test_sshd_moved_out_of_its_session(machine, log_in):
    """The half of sshd that has her uid, and all she runs, can be moved elsewhere by her own service manager."""
    login = log_in(ALICE, INTERNET4,
                   "busctl --user -q call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager "
                   "StartTransientUnit 'ssa(sv)a(sa(sv))' away.scope fail 1 PIDs au 2 $PPID $$ 0; "
                   "while grep -q session- /proc/$PPID/cgroup /proc/$$/cgroup; do sleep 0.05; done; echo here; exec cat")
    login.here()
    order(machine, "remote")
    login.await_end()


def test_own_session_of_who_orders(machine, log_in):
    """The answer can be read, then it is over."""
    login = log_in(OPERATOR, INTERNET4, "lockdownctl order operators --yes 2>&1; echo here; exec cat")
    said = login.await_end(5.0)
    assert "Lockdown operators is in force" in said and "your own session" in said, said
    assert "here" in said.split("\n")
    wait_for(lambda: machine.status()[1]["orders"][0]["sessions_ended"] == 1, 5.0, "it to be counted")


def test_own_session_of_who_reloads(machine, log_in):
    """Likewise, where the order says so only from that reload on."""
    path = f"/proc/{machine.leader}/root/etc/lockdownd/lockdownd.conf"
    with open(path, encoding="utf-8") as f:
        before = f.read()
    try:
        machine.write("/etc/lockdownd/lockdownd.conf",
                      before.replace("Groups=lockdown\nRemoteSessions=end\n", "Groups=lockdown\n"))
        machine.do("lockdownctl", "reload")
        order(machine, "operators", "--yes")
        machine.write("/etc/lockdownd/lockdownd.conf", before)
        said = log_in(OPERATOR, INTERNET4, "lockdownctl reload 2>&1; echo here; exec cat").await_end(10.0)
        assert "your own session" in said and "here" in said.split("\n"), said
    finally:
        machine.write("/etc/lockdownd/lockdownd.conf", before)
        machine.do("lockdownctl", "reload")


@pytest.mark.parametrize("what", ["operators", "--everyone"])
def test_cutting_off_oneself_wants_a_yes(machine, log_in, what):
    """Nothing is changed without it; from inside, and where it ends by itself unless confirmed, none is wanted."""
    login = log_in(OPERATOR, INTERNET4, f"lockdownctl order {what} 2>&1; echo $?; exec cat")
    said = login.line()
    assert "NOT in force" in said and "--yes" in said and INTERNET4 in said, said
    assert login.line() == "2"
    assert machine.status()[0] == 3 and login.lives()
    dry = log_in(OPERATOR, INTERNET4, f"lockdownctl order {what} --dry-run >/dev/null 2>&1; echo $?")
    assert dry.line() == "0"
    inside = log_in(OPERATOR, INTERNAL4, f"lockdownctl order {what} >/dev/null 2>&1; echo $?; exec cat")
    assert inside.line() == "0"
    machine.do("lockdownctl", "lift", "--all", "--quiet")
    tried = log_in(OPERATOR, INTERNET4, f"lockdownctl order {what} --confirm-within 1s >/dev/null 2>&1; echo $?; exec cat")
    assert tried.line() == "0"
    wait_for(lambda: machine.status()[0] == 3, 5.0, "the end of what nobody confirmed")


def test_login_while_the_daemon_is_away(machine, log_in):
    order(machine, "remote")
    machine.write(SLOW_RESTART, "[Service]\nRestartSec=3s\n")
    machine.systemctl("daemon-reload")
    try:
        machine.systemctl("kill", "--kill-whom=main", "--signal=KILL", "lockdownd.service")
        machine.await_active("lockdownd.service", "activating")
        login = log_in(ALICE, INTERNET4).here()
        assert machine.is_active("lockdownd.service") == "activating", "it must have been away all that time"
        machine.await_active("lockdownd.service", "active", 15.0)
        login.await_end()
    finally:
        machine.do("rm", SLOW_RESTART)
        machine.systemctl("daemon-reload")


def test_reload_and_membership(machine, log_in):
    """Whoever comes under it later, by either way."""
    path = f"/proc/{machine.leader}/root/etc/lockdownd/lockdownd.conf"
    with open(path, encoding="utf-8") as f:
        before = f.read()
    order(machine, "staff")
    first, second = log_in(ALICE, INTERNET4).here(), log_in(MALLORY, INTERNET6).here()
    try:
        machine.write("/etc/lockdownd/lockdownd.conf", before.replace("[Profile staff]\n",
                                                                      "[Profile staff]\nRemoteSessions=end\n"))
        machine.do("lockdownctl", "reload")
        first.await_end()
        assert second.lives()
        machine.do("usermod", "-aG", "boot-staff", "mallory")
        second.await_end(5.0)
    finally:
        machine.run("gpasswd", "-d", "mallory", "boot-staff")
        machine.write("/etc/lockdownd/lockdownd.conf", before)
        machine.do("lockdownctl", "reload")


def test_sessions_hold_helpers_of_later_logins(machine, log_in):
    """Sessions=yes: somebody else's identity does not help a program that was started from her session."""
    machine.do("install", "-m", "6755", "-o", "mallory", "-g", "mallory", "/bin/bash", "/usr/local/bin/as-mallory")
    reach = (f"echo here; as-mallory -p -c 'exec 3<>/dev/tcp/{INTERNET4}/443'; "
             f"as-mallory -p -c 'exec 3<>/dev/tcp/{INTERNAL4}/443'; echo done")

    def arrives():
        mark = machine.mark()
        login = log_in(ALICE, INTERNAL4, reach).here()
        login.await_end(10.0)
        seen = {p.dst for p in machine.packets(mark) if p.dport == 443}
        return INTERNET4 in seen, INTERNAL4 in seen

    order(machine, "staff")
    assert arrives() == (True, True)
    order(machine, "sessions")
    assert arrives() == (False, True)
