# SPDX-License-Identifier: GPL-2.0-or-later
"""No overblocking: what is nobody's business here goes on through everything that can happen to an order, counted at the
receiver; and a lift gives back all, also to programs that kept running."""

import contextlib
import select
import socket
import time

import pytest

import checks
import probes
from lab import (ALICE, BOB, CAROL, ERIN, HOST4, HOST6, INTERNAL4, INTERNAL6, INTERNET4, INTERNET6, MALLORY, OWN4,
                 PARTNER4, ROOT)
from netlab import PATIENCE, wait_for

CONFIGURATION = """\
[Profile staff]
Groups=staff
Forward=deny

[Profile contractors]
Groups=contractors staff
DNS=10.0.0.53 fd00:1::53
Sessions=yes
"""

IPV6_FREEBIND = 78
INSIDE = (INTERNAL4, INTERNAL6)
OUTSIDE = (INTERNET4, INTERNET6)
LOCAL = ("127.0.0.1", "::1", HOST4, HOST6, OWN4)


class _Line:
    """To one destination: a stream of numbered datagrams, and a connection on which numbered lines are echoed."""

    def __init__(self, dst, name):
        local = dst in LOCAL
        family = socket.AF_INET6 if ":" in dst else socket.AF_INET
        self.prefix, self.target = f"q:{name}:", (dst, 9999 if local else 9000)
        self.sent, self.received, self.errors = 0, 0, []
        self.datagrams = socket.socket(family, socket.SOCK_DGRAM)
        self.connection = socket.create_connection((dst, 9999 if local else 9001), probes.TIMEOUT)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection.setblocking(False)

    def send(self):
        try:
            self.datagrams.sendto(f"{self.prefix}{self.sent}:".encode(), self.target)
            self.connection.send(b"%d\n" % self.sent)
        except OSError as e:
            self.errors.append(str(e))
        self.sent += 1

    def receive(self):
        try:
            data = self.connection.recv(65536)
            self.received += data.count(b"\n")
            if not data:
                self.errors.append("EOF")
        except BlockingIOError:
            pass
        except OSError as e:
            self.errors.append(str(e))

    def done(self):
        return self.errors or self.received == self.sent


def _talk(channel, places, interval=0.03):
    """PLACES: destination -> name. Answers "stop" with what was sent, echoed, and went wrong, by name."""
    lines = {name: _Line(dst, name) for dst, name in places.items()}
    channel.send("ready")
    while channel.request(interval) is None:
        for one in lines.values():
            one.send()
            one.receive()
    deadline = time.monotonic() + 5
    while not all(one.done() for one in lines.values()) and time.monotonic() < deadline:
        select.select([one.connection for one in lines.values() if not one.done()], [], [], 0.1)
        for one in lines.values():
            if not one.done():
                one.receive()
    channel.send({name: (one.sent, one.received, one.errors) for name, one in lines.items()})


def _numbers(name, payloads):
    prefix = f"q:{name}:".encode()
    return [int(p[len(prefix):].split(b":")[0]) for p in payloads if p.startswith(prefix)]


@contextlib.contextmanager
def unharmed(lab, people):
    """PEOPLE: who -> destinations. All numbered datagrams arrive, once and in order, all lines are echoed, no transfer
    stops or repeats a segment, and nobody is sent a reset."""
    mark = lab.mark()
    names = {who: {dst: f"{who.name}-{dst}-{mark}" for dst in places} for who, places in people.items()}
    talks = [lab.host.spawn(_talk, places, who=who) for who, places in names.items()]
    downloads = {f"{who.name}-{dst}": lab.host.spawn(probes.transfer, dst, 9999 if dst in LOCAL else 9001, 20_000,
                                                     who=who)
                 for who, dst in ((MALLORY, INTERNET4), (MALLORY, INTERNET6), (ALICE, INTERNAL4), (ALICE, INTERNAL6),
                                  (ALICE, "127.0.0.1"))}
    for task in talks + list(downloads.values()):
        task.receive()
    yield
    before = {name: task.ask("report") for name, task in downloads.items()}
    for name, task in downloads.items():
        wait_for(lambda n=name, t=task: t.ask("report")["received"] > before[n]["received"], PATIENCE, f"progress of {name}",
                 0.05)
        report = task.ask("report")
        assert (report["error"], report["retransmits"]) == (None, 0), (name, report)
    told = {}
    for task in talks:
        told.update(task.ask("stop"))
    packets, served = lab.packets(mark), lab.near.ask("udp")
    arrived = [p.payload for p in packets]
    for places in names.values():
        for dst, name in places.items():
            sent, echoed, errors = told[name]
            assert not errors and echoed == sent > 5, (name, told[name])
            numbers = _numbers(name, served if dst in LOCAL else arrived)
            assert numbers == list(range(sent)), f"{name}: {len(numbers)} of {sent} arrived"
    resets = [p for p in packets if p.protocol == 6 and p.flags & 4 and p.dport == 9001]
    assert not resets, resets


@pytest.mark.slow
def test_nobody_loses_what_stays_allowed_whatever_happens_to_the_orders(labs):
    lab = labs(CONFIGURATION)
    people = {ALICE: INSIDE + LOCAL, BOB: INSIDE + ("127.0.0.1",), CAROL: INSIDE, ERIN: INSIDE + ("::1",),
              MALLORY: OUTSIDE + INSIDE + LOCAL, ROOT: OUTSIDE + ("127.0.0.1",)}
    with unharmed(lab, people):
        lab.do("order", "staff", "--for", "1h")
        checks.wait_blocked(lab, ALICE)
        lab.do("order", "contractors")
        lab.do("extend", "staff", "--for", "2h")
        # whom: somebody joins, subordinate ranges come and go, somebody leaves
        lab.edit("group", lambda t: t.replace(":bob\n", ":bob,erin\n"))
        checks.wait_blocked(lab, ERIN)
        for name in ("subuid", "subgid"):
            lab.edit(name, lambda t: t + "carol:300000:65536\nerin:400000:65536\n")
        wait_for(lambda: lab.orders()["contractors"]["subjects"]["subordinate_ids"] == 4 * 65536, PATIENCE, "the ranges")
        # where to: other networks and endpoints, tables of another structure
        for allow in (f"Allow=internal {PARTNER4}:443/tcp 100.64.0.0/16", "Allow=internal 2001:db8:1::/48\nDNS=allow",
                      "Allow=internal\nSecondLock=no\nSessions=yes", "Allow=internal\nLoopbackDeny=3128 9050"):
            lab.configure(CONFIGURATION.replace("Groups=staff\n", f"Groups=staff\n{allow}\n"))
            lab.do("reload")
        lab.edit("group", lambda t: t.replace(":bob,erin\n", ":bob\n"))
        checks.wait_freed(lab, ERIN)
        lab.edit("subuid", lambda t: t.replace("erin:400000:65536\n", ""))
        lab.do("lift", "contractors")
        lab.do("order", "--user", "erin", "--user", "carol", "--name", "tonight")
        lab.do("lift", "tonight")
        lab.do("lift", "staff")
    checks.assert_free(lab, ALICE, ("tcp", "udp"))


def _program(channel):
    """What a person's program holds from before the order: an unconnected socket of each family, a listener."""
    def datagram(family):
        s = socket.socket(family, socket.SOCK_DGRAM)
        s.settimeout(0.5)
        return s

    sockets = {".": datagram(socket.AF_INET), ":": datagram(socket.AF_INET6)}
    listener = socket.create_server(("::", 7171), family=socket.AF_INET6, dualstack_ipv6=True)
    listener.settimeout(2.0)
    channel.send("ready")
    while True:
        verb, *args = channel.request(None)
        try:
            if verb == "send":
                dst, text = args
                s = sockets[":" if ":" in dst else "."]
                s.sendto(text, (dst, 9001))
                while s.recv(2048) != text:
                    pass
            elif verb == "accept":
                s, _ = listener.accept()
                s.sendall(s.recv(100))
                s.close()
            channel.send(None)
        except OSError as e:
            channel.send(type(e).__name__)


def _calls(source, target):
    """Somebody outside (or inside) connects to the host's port 7171. Was it answered?"""
    try:
        with socket.socket(probes._family(target), socket.SOCK_STREAM) as s:  # pylint: disable=protected-access
            s.settimeout(0.5)
            if s.family == socket.AF_INET6:
                s.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
            s.bind((source, 0))
            s.connect((target, 7171))
            s.sendall(b"hello")
            return s.recv(100) == b"hello"
    except OSError:
        return False


def _works(lab, program, number):
    """What of the program works at this moment: sending to each family, being called."""
    result = []
    for dst in OUTSIDE:
        result.append(program.ask("send", dst, f"datagram {number} to {dst}".encode()) is None)
    for source, target in ((INTERNET4, HOST4), (INTERNET6, HOST6)):
        program.channel.send(("accept",))
        result.append(lab.world.call(_calls, source, target))
        program.receive()
    return result


@pytest.mark.parametrize("second", ["auto", "no"])
def test_a_lift_restores_programs_that_kept_running(labs, second):
    lab = labs(f"[Profile staff]\nGroups=staff\nSecondLock={second}\n")
    program = lab.host.spawn(_program, who=ALICE)
    program.receive()
    assert _works(lab, program, 0) == [True] * 4
    for number in (1, 3):
        lab.do("order", "staff")
        assert _works(lab, program, number) == [False] * 4
        lab.do("lift", "staff")
        assert _works(lab, program, number + 1) == [True] * 4
