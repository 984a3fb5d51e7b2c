# SPDX-License-Identifier: GPL-2.0-or-later
"""Callers that mean no good, as many as their limits allow: an operator's order goes through, and the daemon stays as
big as it is. LONG=1: 10,000 connections of each of three users, then minutes of all."""

import array
import os
import resource
import signal
import socket
import statistics
import time

import pytest

import attacker
from attacker import Caller
from broker import Broker, over
from campaign import LONG, tell
from lab import ALICE, CAROL, ERIN, MALLORY, OPERATOR, CONFIGURATION as PLAIN
from netlab import PATIENCE, wait_for

CONFIGURATION = PLAIN + "\n[Profile spare]\nUsers=bob\n"
MIB = 1 << 20
ATTACKERS = (MALLORY, CAROL, ERIN)
CONNECTIONS = 10000 if LONG else 400  # that each attacker tries to hold
ROUNDS = 300 if LONG else 15
SECONDS = 300 if LONG else 10
# Three descriptors for each of the connections that are let in, and what the daemon has for itself meanwhile.
DESCRIPTORS_MORE = 3 * 128 + 32
# What 128 callers may cost: answers that are not read yet, the one long message that each may send.
MEMORY_MORE = 48 * MIB


@pytest.fixture(autouse=True)
def many_descriptors():
    """For those who attack: as many as this may have."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def _memory(pid, what):
    """Bytes: VmRSS, or VmHWM since the last _forget_peak()."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith(what))


def _forget_peak(pid):
    with open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as f:
        f.write("5")


def _processor_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _orders(operator, number):
    """Seconds that each took."""
    taken = []
    for _ in range(number):
        seconds, error = operator.ask("order", timeout=60.0)
        assert error is None, error
        taken.append(seconds)
    return taken


def _burn(channel):
    os.nice(10)  # as an attacker
    channel.send("ready")
    while channel.request() is None:
        sum(range(10000))


def _compared(lab, operator):
    """Seconds that orders take while as many as will attack keep the processors busy, and nothing else."""
    tasks = [lab.host.spawn(_burn, who=who) for who in ATTACKERS]
    for task in tasks:
        task.receive()
    try:
        return _orders(operator, ROUNDS)
    finally:
        for task in tasks:
            task.kill()
            lab.host.tasks.remove(task)


def _bystander(channel, path):
    """Somebody else who wants to know what is in force, again and again: answers how often it was told."""
    channel.send("ready")
    answered = 0
    while channel.request() is None:
        try:
            caller = Caller(path, timeout=60.0)
            error, _ = caller.ask(attacker.status())
            caller.close()
        except BlockingIOError:
            error = "no answer"
        except ConnectionError:
            continue  # no room: an answer, too
        assert error is None, error
        answered += 1
    channel.send(answered)


@pytest.mark.slow
def test_an_order_goes_through_whatever_others_do(lab):
    daemon = lab.daemon
    lab.do("order", "staff")  # so that questions cost something
    operator = lab.host.spawn(attacker.operate, lab.socket, "spare", who=OPERATOR)
    operator.receive()
    quiet = _compared(lab, operator)
    time.sleep(1.0)  # the programs of the next order are loaded when it has been quiet for a moment, and count as well
    descriptors, before = len(daemon.descriptors()), _memory(daemon.pid, "VmRSS")
    _forget_peak(daemon.pid)
    attackers = [lab.host.spawn(attacker.attack, lab.socket, CONNECTIONS, 10 ** 9, who=who)
                 for who in ATTACKERS]
    for one in attackers:
        one.receive()
    bystander = lab.host.spawn(_bystander, lab.socket, who=ALICE)
    bystander.receive()
    taken, most, started = [], 0, time.monotonic()
    while len(taken) < ROUNDS or time.monotonic() - started < SECONDS:
        taken += _orders(operator, 5)
        most = max(most, len(daemon.descriptors()))
    counts = [one.ask("stop", timeout=60.0) for one in attackers]
    served = bystander.ask("stop", timeout=90.0)
    peak = _memory(daemon.pid, "VmHWM")
    total = {key: sum(c[key] for c in counts) for key in counts[0]}
    lab.do("status", timeout=15.0)
    wait_for(lambda: len(daemon.descriptors()) <= descriptors + 2, PATIENCE, "the callers' descriptors to be given back")
    after = _memory(daemon.pid, "VmRSS")
    tell(f"flood: {total['connections']:,} connections by 3 users, {total['messages']:,} messages sent, "
         f"{total['descriptors']:,} descriptors passed; an order took {statistics.median(taken) * 1e3:.1f} ms "
         f"({statistics.median(quiet) * 1e3:.1f} ms while they only keep the processors busy; at the most "
         f"{max(taken) * 1e3:.0f} ms), "
         f"{served} questions of a fourth user answered; memory {before / MIB:.1f}, at the most {peak / MIB:.1f}, "
         f"afterwards {after / MIB:.1f} MiB; at the most {most} descriptors")
    assert total["connections"] > 100 and total["messages"] > 1000, counts
    assert served > 0
    assert most <= descriptors + DESCRIPTORS_MORE, most
    assert peak <= before + MEMORY_MORE, peak


def _hold(channel, path, number, data, times=1):
    """NUMBER connections that send DATA, TIMES over: answers, when asked, how many are still open."""
    held = []
    for _ in range(number):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(10.0)
        s.connect(path)
        held.append(s)
    for s in held:
        try:
            for _ in range(times):
                s.sendall(data)
        except OSError:
            pass  # hung up on
        s.setblocking(False)
    channel.send("ready")
    while True:
        channel.request(None)
        count = 0
        for s in held:
            try:
                while s.recv(1 << 16):
                    pass
            except BlockingIOError:
                count += 1
            except OSError:
                pass
        channel.send(count)


@pytest.mark.parametrize("greeting, greeted", ((b"\0AUTH EXTERNAL\r\nDATA\r\n", b""), (attacker.GREETING, b"\r\n")),
                         ids=("before", "after"))
def test_descriptors_that_nobody_asked_for_are_not_kept(lab, greeting, greeted):
    """Before the end of the greeting, and with a message that is not whole."""
    before = len(lab.daemon.descriptors())

    def give(channel, path):
        held = []
        for _ in range(16):
            s = socket.socket(socket.AF_UNIX)
            s.connect(path)
            held.append(s)
            try:
                s.sendall(greeting)
                while greeted and greeted not in s.recv(4096):
                    pass
                for n in range(4):
                    s.sendmsg([attacker.message("Status", "s", announce=1000) if n == 0 else b"x"],
                              [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0] * 250))])
            except OSError:
                pass
        channel.send("ready")
        channel.request(None)

    task = lab.host.spawn(give, lab.socket, who=MALLORY)
    task.receive()
    lab.do("order", "staff")  # by then it has seen all of them
    assert len(lab.daemon.descriptors()) < before + DESCRIPTORS_MORE


def test_long_messages_are_not_taken_in(lab):
    _forget_peak(lab.daemon.pid)
    before = _memory(lab.daemon.pid, "VmRSS")
    data = attacker.GREETING + attacker.message("Status", "s", announce=(1 << 27) - 1024) + b"\0" * (1 << 20)
    tasks = [lab.host.spawn(_hold, lab.socket, 12, data, times=40 if LONG else 8, who=who) for who in (MALLORY, CAROL)]
    for task in tasks:
        task.receive(60.0)
        wait_for(lambda t=task: t.ask("open") == 0, PATIENCE, "whoever announces 128 MiB to be hung up on")
    lab.do("order", "staff")
    assert _memory(lab.daemon.pid, "VmHWM") < before + MEMORY_MORE


@pytest.mark.slow
@pytest.mark.parametrize("what", ("questions", "pings"))
def test_who_does_not_read_is_not_read(lab, what):
    """Pings are answered by sd-bus itself, without any handler of ours."""
    data = attacker.status() if what == "questions" else attacker.message(
        "Ping", interface="org.freedesktop.DBus.Peer")

    def push(channel, path):
        s = socket.socket(socket.AF_UNIX)
        s.connect(path)
        s.sendall(attacker.GREETING)
        s.setblocking(False)
        channel.send("ready")
        sent, rest, blocked_since, deadline = 0, b"", None, time.monotonic() + 40
        while time.monotonic() < deadline and sent < 64 << 20:
            rest = rest or data * 200
            try:
                n = s.send(rest)
                sent, rest, blocked_since = sent + n, rest[n:], None
            except BlockingIOError:
                blocked_since = blocked_since or time.monotonic()
                time.sleep(0.01)
            except OSError:
                channel.send((sent, True))
                return
        channel.send((sent, False))

    lab.do("order", "staff")
    _forget_peak(lab.daemon.pid)
    before = _memory(lab.daemon.pid, "VmRSS")
    task = lab.host.spawn(push, lab.socket, who=MALLORY)
    task.receive()
    sent, hung_up = task.receive(60.0)
    assert hung_up, f"{sent} bytes were taken, and no answer was read"
    assert sent < 16 * MIB, sent
    assert _memory(lab.daemon.pid, "VmHWM") < before + 16 * MIB


def test_no_descriptors_left(lab):
    """Whoever waits goes on waiting, the daemon does not run in circles, and all goes on when there are some again."""
    daemon = lab.daemon
    used = max(int(n) for n in os.listdir(f"/proc/{daemon.pid}/fd"))
    old = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    tasks = []
    try:
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (used + 10, old[1]))
        # Root's may stay for ever, so that nobody gives his back.
        data = attacker.GREETING + attacker.status()
        tasks.append(lab.host.spawn(_hold, lab.socket, 12, data))
        tasks[0].receive()
        started = _processor_seconds(daemon.pid)
        time.sleep(2.0)  # that long it has nothing to do
        assert _processor_seconds(daemon.pid) - started < 0.5
        assert "callers have to wait" in daemon.said()
    finally:
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, old)
    lab.do("order", "staff")


def test_refusals_are_counted_and_not_all_journalled(labs):
    lab = labs()
    number = 500

    def ask(path):
        caller = Caller(path)
        errors = {caller.ask(attacker.order("staff", n), n)[0] for n in range(1, number + 1)}
        caller.close()
        return errors

    for who in (MALLORY, CAROL):
        assert lab.host.call(ask, lab.socket, who=who) == {attacker.NAME + ".Error.NotPermitted"}
    lab.daemon.end()  # which is told at the latest now
    for who in (MALLORY, CAROL):
        entries = lab.entries(LOCKDOWN_CALLER_UID=str(who.uid), LOCKDOWN_EVENT="refused-caller")
        more = [int(e["MESSAGE"].split("refused ")[1].split()[0]) for e in entries if "more times" in e["MESSAGE"]]
        assert len(entries) < 30 and len(entries) - len(more) + sum(more) == number, (len(entries), more)


def test_who_has_no_right_to_ask_hears_nothing(lab):
    lab.configure(CONFIGURATION.replace("Status=*", "Status=root @staff"))
    lab.do("reload")

    def listen(channel, path):
        caller = Caller(path, timeout=2.0)
        channel.send(caller.ask(attacker.status())[0])
        channel.request(None)
        caller.socket.sendall(attacker.status(2))
        channel.send([caller.read()[0]])

    try:
        for who, first in ((ALICE, attacker.SIGNAL), (MALLORY, attacker.ERROR)):
            task = lab.host.spawn(listen, lab.socket, who=who)
            task.receive()
            lab.do("order", "staff")
            lab.do("lift", "staff")
            assert task.ask("go on") == [first], who
    finally:
        lab.configure(CONFIGURATION)
        lab.do("reload")


# --- the system bus ---

@pytest.fixture
def broker(labs):
    lab = labs(CONFIGURATION, start=False)
    one = Broker(lab)
    lab.start()
    one.wait_for_lockdownd()
    yield lab, one
    one.signal(signal.SIGCONT)


def test_the_message_bus_says_who_calls(broker):
    lab, bus = broker
    for who, error in ((MALLORY, attacker.NAME + ".Error.NotPermitted"), (OPERATOR, None)):
        found = lab.host.call(over, bus.path, attacker.order("staff", 7, destination=attacker.NAME), who=who)
        assert found[0] == error, found
    assert lab.orders()["staff"]["ordered_by"]["uid"] == OPERATOR.uid

    def vanish(path):
        caller = Caller(path, broker=True)
        caller.socket.sendall(attacker.order("spare", 7, destination=attacker.NAME))
        caller.close()

    for _ in range(20):
        lab.host.call(vanish, bus.path, who=MALLORY)
    lab.host.call(over, bus.path, attacker.status(7, destination=attacker.NAME), who=ALICE)
    assert list(lab.orders()) == ["staff"]


def _flood_bus(channel, path, data, connections):
    """All the calls that the message bus takes, over so many connections, until told; no answer is read."""
    os.nice(10)
    held = []
    for _ in range(connections):
        caller = Caller(path, broker=True)
        caller.socket.setblocking(False)
        held.append([caller.socket, b""])
    channel.send("ready")
    sent = 0
    while channel.request() is None:
        for one in held:
            one[1] = one[1] or data
            try:
                n = one[0].send(one[1])
                one[1] = one[1][n:]
                sent += n
            except BlockingIOError:
                pass
            except OSError:
                one[0].close()
                caller = Caller(path, broker=True)
                caller.socket.setblocking(False)
                one[:] = caller.socket, b""
    channel.send(sent)


def test_a_flood_by_the_message_bus(broker):
    lab, bus = broker
    lab.do("order", "staff")
    operator = lab.host.spawn(attacker.operate, lab.socket, "spare", who=OPERATOR)
    operator.receive()
    quiet = _compared(lab, operator)
    before = _memory(lab.daemon.pid, "VmRSS")
    _forget_peak(lab.daemon.pid)
    to = {"destination": attacker.NAME}
    data = b"".join((attacker.status(2, **to), attacker.order("staff", 3, **to),
                     attacker.message("Frobnicate", serial=4, **to),
                     attacker.message("Introspect", serial=5, interface="org.freedesktop.DBus.Introspectable", **to),
                     attacker.message("GetAll", "s", attacker.strings(attacker.NAME), 6,
                                      "org.freedesktop.DBus.Properties", **to)))
    tasks = [lab.host.spawn(_flood_bus, bus.path, data, 4, who=who) for who in ATTACKERS]
    for task in tasks:
        task.receive()
    taken = _orders(operator, ROUNDS)
    sent = sum(task.ask("stop", timeout=60.0) for task in tasks)
    peak = _memory(lab.daemon.pid, "VmHWM")
    tell(f"flood by the message bus: {sent * 5 // len(data):,} messages of 3 users; an order by the private socket took "
         f"{statistics.median(taken) * 1e3:.1f} ms ({statistics.median(quiet) * 1e3:.1f} ms while they only keep the "
         f"processors busy); memory "
         f"{before / MIB:.1f}, at the most {peak / MIB:.1f} MiB")
    assert peak <= before + MEMORY_MORE


def test_a_message_bus_that_stands_still(broker):
    """Calls are there whose senders nobody can tell any more: who comes by the private socket does not notice."""
    lab, bus = broker
    callers = 30
    operator = lab.host.spawn(attacker.operate, lab.socket, "spare", who=OPERATOR)
    operator.receive()

    def call(channel, path):
        held = [Caller(path, broker=True) for _ in range(callers)]
        channel.send("ready")
        channel.request(None)
        for one in held:
            one.socket.sendall(attacker.message("Profiles", serial=7, destination=attacker.NAME))
        # It has taken all of them when it answers the last one.
        for one in held:
            one.ask(attacker.message("GetId", "", b"", 8, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                                     "org.freedesktop.DBus"), 8)
        channel.send("sent")
        channel.request(None)

    quiet = _orders(operator, 5)
    task = lab.host.spawn(call, bus.path, who=MALLORY)
    task.receive()
    lab.daemon.kill(signal.SIGSTOP)
    task.ask("call")
    bus.signal(signal.SIGSTOP)
    lab.daemon.kill(signal.SIGCONT)
    taken = _orders(operator, 5)
    tell(f"a message bus that stands still with {callers} calls before it: an order by the private socket took "
         f"{statistics.median(taken) * 1e3:.0f} ms ({statistics.median(quiet) * 1e3:.0f} ms before)")
    # Waiting for the message bus takes two seconds, each time.
    assert statistics.median(taken) < statistics.median(quiet) + 1.5, taken
    bus.signal(signal.SIGCONT)
    # … and it is served again
    wait_for(lambda: lab.host.call(over, bus.path, attacker.message("Profiles", serial=7, destination=attacker.NAME),
                                   who=ALICE)[0] is None, PATIENCE, "calls by the message bus to be answered again", 0.2)
