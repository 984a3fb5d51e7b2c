# SPDX-License-Identifier: GPL-2.0-or-later
"""Channel 2: sockets of all kinds, and those that outlive the rule."""

import lab as lab_
import netlab
import person
import probes
from lab import BOB
from netlab import orphans_have_owners
from person import OWN
from suite import LOOPBACK, Row, by

RAW = BOB.with_(raw=True)
KINDS = ("tcp", "mptcp", "udp", "udp-connected", "udplite", "ping", "raw")


def _far_ended(stage, ways):
    ports = {c["sport"] for c in stage.lab.far.ask("connections") if c["state"] == "open"}
    return not ports & {way.port for way in ways}


def _orphan(how, when):
    """More in the socket than the deaf peer takes; closed, or killed, before the lock or under it. Then the peer hears."""

    def leave(tasks):
        for task in tasks:
            if how == "killed":
                task.kill()
            else:
                task.ask("close")

    def play(stage, ways):
        tasks = [stage.lab.host.spawn(probes.stuff, way.dst, way.port, how == "closed", who=BOB) for way in ways]
        for way, task in zip(ways, tasks):
            assert task.receive()["queued"] > 100_000
        if when == "before":
            leave(tasks)
        yield
        if when == "under":
            leave(tasks)
        if when != "lift":
            stage.lab.far.ask("hear")
            stage.wait(ways, stage.patience, lambda: _far_ended(stage, ways))
        yield
        stage.lab.far.ask("hear")
        stage.wait(ways, stage.patience, lambda: _far_ended(stage, ways))

    return play


def _half_open(stage, ways):
    """The world does not answer the first call; the kernel calls again after a second, until it is told to stop."""
    ports = ", ".join(str(way.port) for way in ways)
    stage.lab.world.nft("table inet hole { chain c { type filter hook prerouting priority -400;\n"
                        f"tcp dport {{ {ports} }} drop; }}\n}}\n")
    stage.defer(stage.lab.world.nft, "delete table inet hole")
    stage.person(person.connecting, ways)
    yield
    stage.wait(ways, 1.3)


def _parted(stage, ways):
    """Closed before the lock, on this side alone; the far end follows under it, and the kernel acknowledges that."""
    stage.person(person.part, ways)

    def parted():
        listed = stage.host("/usr/bin/ss", "-tan").splitlines()
        return sum(any(f":{way.port} " in line for way in ways) for line in listed if "TIME-WAIT" in line or
                   "FIN-WAIT-2" in line) == len(ways)

    netlab.wait_for(parted, netlab.PATIENCE, "the far end to hear of it")
    yield
    stage.lab.far.ask("hear")
    stage.wait(ways, stage.patience)


def dial(stage, ways):
    """Somebody outside calls the person's server."""
    task = stage.lab.world.spawn(_dialled, ways)
    task.receive()
    stage.defer(task.kill)
    return task


def _dialled(channel, ways):
    steps = person.dial(ways, OWN)
    next(steps)
    channel.send("connecting")
    while True:
        channel.request(None)
        next(steps, None)
        channel.send("done")


def _listening(stage, ways):
    stage.person(person.serve, ways)
    yield
    dial(stage, ways)


def _cookies(stage, ways):
    """With SYN cookies the kernel answers before it has made a socket."""
    stage.sysctl("ipv4/tcp_syncookies", "2")
    return _listening(stage, ways)


def _accepted(stage, ways):
    task = stage.person(person.answer, ways)
    dial(stage, ways)
    stage.go(task)
    yield
    stage.go(task)


def _not_yet_accepted(stage, ways):
    """A connection that no program has taken: the kernel acknowledges what comes."""
    stage.person(person.serve, ways)
    stage.remark()
    outside = dial(stage, ways)
    stage.wait(ways, 1.0)
    yield
    outside.ask("hello")
    stage.wait(ways, 0.1)


def _answered(stage, ways):
    """A datagram came from outside before the lock; the answer goes under it."""
    task = stage.person(person.answer, ways, kind="udp")
    stage.lab.world.call(_datagrams_in, ways)
    stage.go(task)
    yield
    stage.go(task)


def _datagrams_in(ways):
    for way in ways:
        s = person.new_socket(way, "udp")
        if way.family == 6:
            s.setsockopt(lab_.socket.IPPROTO_IPV6, probes.IPV6_FREEBIND, 1)
        s.bind((way.dst, 0))
        s.sendto(b"question", (OWN[way.family], way.port))


def _rows():
    for kind in KINDS:
        who = RAW if kind == "raw" else BOB
        yield Row(2, f"new {kind}", by(person.knock, who, kinds=(kind,)))
    for kind in KINDS:
        who = RAW if kind == "raw" else BOB
        yield Row(2, f"open {kind}", by(person.go_on, who, kind=kind))
    for how in ("closed", "killed"):
        yield Row(2, f"orphan with queued data, {how} before", _orphan(how, "before"),
                  rules=None if orphans_have_owners() else True)
        yield Row(2, f"orphan with queued data, {how} under the lock", _orphan(how, "under"))
    yield Row(2, "data queued before, until after the lift", _orphan("left", "lift"))


ROWS = (
    *_rows(),
    Row(2, "half-open connection", _half_open),
    Row(2, "connection closed before, by one side", _parted, named="Let the kernel speak"),
    Row(2, "listener called from outside", _listening),
    Row(2, "listener under SYN cookies", _cookies, rules=True),
    Row(2, "accepted connection", _accepted),
    Row(2, "connection not yet accepted", _not_yet_accepted),
    Row(2, "answer to a datagram from outside", _answered),
    Row(2, "TCP Fast Open", by(person.fast_open)),
    Row(2, "io_uring", by(person.through_ring)),
    Row(2, "bound to a device", by(person.on_device)),
    Row(2, "chosen source, answered by an allowed host", by(person.reflect, targets=(lab_.INTERNAL6,)), (6,),
        second=True),
    Row(2, "chosen source, answered by this machine", by(person.reflect, targets=(LOOPBACK[6], OWN[6])), (6,),
        second=True),
    Row(2, "IP_TRANSPARENT, with CAP_NET_RAW", by(person.pretend, RAW), second=True),
    Row(2, "source routing by an allowed host", by(person.source_route)),
)
