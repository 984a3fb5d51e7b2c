# SPDX-License-Identifier: GPL-2.0-or-later
"""Who may do what, what the tool answers with, and a socket that cannot be clogged."""

import os
import socket
import stat
import time

import pytest

import checks
from checks import quick
from lab import ALICE, ERIN, LOCKDOWN, MALLORY, OPERATOR, ROOT
from netlab import PATIENCE, wait_for

DONE, FAILED, USAGE, NONE, DENIED, UNREACHABLE = range(6)


def _code(lab, *args, **kwargs):
    done = lab.ctl(*args, **kwargs)
    if done.returncode not in (DONE, NONE):
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr  # one sentence, and a useful one
        assert not done.stdout
    return done.returncode


@pytest.mark.parametrize("verb", [("order", "staff"), ("lift", "staff"), ("lift", "--all"),
                                  ("extend", "staff", "--for", "9h"), ("order", "--user", "erin"), ("reload",)],
                         ids=" ".join)
def test_people_without_the_right_are_refused_and_journalled(lab, verb):
    lab.do("order", "staff", "--for", "1h")
    before = lab.orders()["staff"]["until_usec"]
    for who in (MALLORY, ALICE):
        already = len(lab.entries(LOCKDOWN_CALLER_UID=str(who.uid)))
        assert _code(lab, *verb, who=who) == DENIED
        entries = lab.entries(LOCKDOWN_CALLER_UID=str(who.uid))
        assert len(entries) == already + 1, entries
        assert entries[-1]["MESSAGE_ID"]
    assert lab.orders()["staff"]["until_usec"] == before and list(lab.orders()) == ["staff"]
    assert not quick(lab, ALICE)


def test_a_member_of_the_listed_group_may(lab):
    order = lab.json("order", "staff", who=OPERATOR)["order"]
    assert order["ordered_by"]["uid"] == OPERATOR.uid
    assert wait_for(lambda: lab.orders()["staff"]["ordered_by"].get("name") == "oper", PATIENCE)
    assert not quick(lab, ALICE)
    lab.do("lift", "staff", who=OPERATOR)
    assert quick(lab, ALICE)
    # Who carries the group by newgrp's doing has the right, too; the number counts, not what is claimed.
    assert _code(lab, "order", "staff", who=ERIN.with_(groups=(ERIN.gid, LOCKDOWN))) == DONE
    assert _code(lab, "lift", "staff", who=ERIN) == DENIED


def test_anybody_may_ask(lab):
    assert _code(lab, "status", who=MALLORY) == NONE
    lab.do("order", "staff", "--reason", "for all to read")
    assert "for all to read" in lab.do("status", who=MALLORY)
    assert "for all to read" in lab.do("status", who=ALICE)
    for verb in (("profiles",), ("history",), ("attempts",)):
        assert _code(lab, *verb, who=MALLORY) in (DONE, DENIED)


def test_status_for_some_only(lab):
    lab.configure("[Access]\nStatus=root @staff\n[Profile staff]\nGroups=staff\n")
    try:
        lab.do("reload")
        assert _code(lab, "status", who=ALICE) == NONE
        assert _code(lab, "status", who=MALLORY) == DENIED
        assert _code(lab, "history", who=MALLORY) == DENIED
        assert _code(lab, "order", "staff", who=OPERATOR) == DENIED  # the default: root alone
    finally:
        lab.configure("[Access]\nOrder=root @lockdown\nLift=root @lockdown\nStatus=*\n"
                      "[Profile staff]\nGroups=staff\n")
        lab.do("reload")


def test_root_may_whoever_else_is_named(lab):
    """The units order and lift as root, and follow what is in force as root."""
    lab.configure("[Access]\nOrder=oper\nLift=oper\nStatus=oper\n[Profile staff]\nGroups=staff\n")
    try:
        lab.do("reload")
        assert _code(lab, "order", "staff", who=OPERATOR) == DONE
        assert _code(lab, "status") == DONE and _code(lab, "status", who=MALLORY) == DENIED
        assert _code(lab, "lift", "staff", who=MALLORY) == DENIED
        assert _code(lab, "lift", "staff") == DONE
    finally:
        lab.configure("[Access]\nOrder=root @lockdown\nLift=root @lockdown\nStatus=*\n"
                      "[Profile staff]\nGroups=staff\n")
        lab.do("reload")


def test_exit_codes(lab):
    assert _code(lab, "status") == NONE
    assert _code(lab, "order", "staff") == DONE
    assert _code(lab, "status") == DONE
    assert _code(lab, "status", "staff") == DONE
    assert _code(lab, "lift", "staff") == DONE
    assert _code(lab, "lift", "staff") == DONE
    assert _code(lab, "order", "nosuchprofile") == FAILED
    assert _code(lab, "order", "--group", "nosuchgroup") == FAILED
    assert _code(lab, "order", "--user", "nosuchuser") == FAILED
    for wrong in (("order",), ("lift",), ("frobnicate",), ("order", "staff", "--for", "soon"), ("status", "--for", "1h"),
                  ("order", "staff", "--until", "yesterday"), ("order", "staff", "--user", "erin"), ("extend", "staff"),
                  ("order", "--user", "erin", "--allow", "0.0.0.0/0"), ("order", "--user", "erin", "--allow", "bad")):
        assert _code(lab, *wrong) == USAGE, wrong
    assert _code(lab, "status", "--socket", "/run/nothing") == UNREACHABLE
    assert lab.orders() == {}


def test_errors_say_what_to_do(lab):
    assert "did you mean staff?" in lab.ctl("order", "stafff").stderr
    assert "nosuchgroup" in lab.ctl("order", "--group", "nosuchgroup").stderr
    assert "nosuchuser" in lab.ctl("order", "--user", "nosuchuser").stderr
    assert "lockdownd" in lab.ctl("status", "--socket", "/run/nothing").stderr
    assert "no profile or order guests" in lab.ctl("extend", "guests", "--for", "1h").stderr
    assert "lockdownctl order staff" in lab.ctl("extend", "staff", "--for", "1h").stderr
    late = lab.ctl("confirm", "guests").stderr
    assert "too late" in late and "order guests" not in late, late  # of an ad-hoc order nobody knows what it was
    assert "no ended order 0123456789" in lab.ctl("attempts", "0123456789").stderr
    root = lab.ctl("order", "--user", "root")
    assert root.returncode == USAGE and "ad-hoc" in root.stderr, root.stderr
    for verb, key in (("lift", "Lift="), ("order", "Order="), ("verify", "Order="), ("confirm", "Order=")):
        assert f"{key} in [Access]" in lab.ctl(verb, "staff", who=MALLORY).stderr, verb
    document = lab.json("order", "stafff", codes=(1,))
    assert document["error"]


def test_no_daemon_no_root(lab, labs):
    other = labs(start=False)
    done = other.ctl("status")
    assert done.returncode == UNREACHABLE and "systemctl start lockdownd" in done.stderr, done.stderr
    os.makedirs(other.path("run/lockdownd"), exist_ok=True)
    done = other.host.run([other.lockdownd], who=MALLORY, env=other.environment())
    assert done.returncode != 0 and "root" in done.stderr, done.stderr
    for wrong in ("--chek", "-c", "staff"):
        done = other.host.run([other.lockdownd, wrong], env=other.environment())
        assert done.returncode == USAGE and f"no option '{wrong}'" in done.stderr, done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr


def _connect(channel, path, number):
    held = []
    errors = 0
    for _ in range(number):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            s.connect(path)
            held.append(s)
        except OSError:
            errors += 1
    channel.send((len(held), errors))
    while True:
        channel.request(None)
        closed = 0
        for s in held:
            try:
                closed += s.recv(1) == b""
            except BlockingIOError:
                pass
            except OSError:
                closed += 1
        channel.send(closed)


def test_idle_connections_of_one_do_not_stop_another(lab):
    before = lab.daemon.descriptors().count("socket")
    task = lab.host.spawn(_connect, lab.socket, 300, who=MALLORY)
    task.receive()
    started = time.monotonic()
    lab.do("order", "staff", timeout=20.0)
    assert time.monotonic() - started < 3.0
    assert not quick(lab, ALICE)
    assert lab.daemon.descriptors().count("socket") < before + 100
    lab.do("status", who=ALICE, timeout=20.0)
    task.kill()
    wait_for(lambda: lab.daemon.descriptors().count("socket") <= before, PATIENCE, "the connections' descriptors to be given back")


def test_two_who_clog_do_not_stop_root(lab):
    tasks = [lab.host.spawn(_connect, lab.socket, 300, who=ROOT.with_(name=str(uid), uid=uid, gid=uid))
             for uid in range(50000, 50012)]
    for task in tasks:
        task.receive()
    lab.do("order", "staff", timeout=20.0)
    assert not quick(lab, ALICE)


@pytest.mark.slow
def test_half_open_clients_are_dropped(lab):
    """Connected, and then not a word, or half a word of the handshake."""
    task = lab.host.spawn(_connect, lab.socket, 3, who=MALLORY)
    assert task.receive() == (3, 0)

    def half(channel, path):
        s = socket.socket(socket.AF_UNIX)
        s.connect(path)
        s.send(b"\0AUTH EXT")
        channel.send("ready")
        channel.request(None)
        s.settimeout(0.05)
        while True:
            try:
                if not s.recv(4096):
                    break
            except TimeoutError:
                channel.send(False)
                channel.request(None)
            except OSError:
                break
        channel.send(True)

    other = lab.host.spawn(half, lab.socket, who=MALLORY)
    other.receive()
    wait_for(lambda: task.ask("closed") == 3, PATIENCE, "silent clients to be dropped", 0.2)
    wait_for(lambda: other.ask("closed"), PATIENCE, "the half-open client to be dropped", 0.2)


def test_nonsense_on_the_socket_does_no_harm(lab):
    def send(path, data):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(2.0)
        s.connect(path)
        try:
            s.sendall(data)
            s.recv(4096)
        except OSError:
            pass

    for data in (b"\0AUTH EXTERNAL 30\r\nBEGIN\r\n" + b"\xff" * 4096, b"GET / HTTP/1.0\r\n\r\n", b"\0" * 70000,
                 b"\0AUTH EXTERNAL 30\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\nl\1\0\1\xff\xff\xff\xff\1\0\0\0\xff\xff\xff\xff"):
        lab.host.call(send, lab.socket, data, who=MALLORY)
    assert _code(lab, "status") == NONE
    # Claiming to be uid 0 in the handshake is no way to become it.
    assert _code(lab, "order", "staff", who=MALLORY) == DENIED


def test_state_is_private(lab):
    lab.do("order", "staff")
    for directory, _, names in os.walk(lab.path("state")):
        assert stat.S_IMODE(os.stat(directory).st_mode) & 0o077 == 0 or directory == lab.path("state")
        for name in names:
            assert stat.S_IMODE(os.stat(os.path.join(directory, name)).st_mode) & 0o077 == 0, name
    lab.do("lift", "staff")
    checks.assert_free(lab, ALICE, ("tcp",))
