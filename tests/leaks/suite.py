# SPDX-License-Identifier: GPL-2.0-or-later
"""What a row of the table is, and how one is played and judged.

A row's play is a generator that is given a stage and its ways out, one for each address family. What stands before its
first yield happens before the lock, what follows happens under it, and what follows a second yield happens after the
lock was taken off again. Nothing it returns counts: a way is open if anything with its tag or its port arrived in the
world after the lock was on.
"""

import contextlib
import dataclasses
import errno
import json
import os
import time
import typing

import lab as lab_
import netlab
import probes
from lab import BOB, INTERNAL4, INTERNAL6, INTERNET4, INTERNET6

OUTSIDE, INSIDE = {4: INTERNET4, 6: INTERNET6}, {4: INTERNAL4, 6: INTERNAL6}
LOOPBACK = {4: "127.0.0.1", 6: "::1"}
LOCAL_PORTS = (8080, 9999)  # of the harmless server on the host; other ports are free for doors
BOTH = (4, 6)
LATE = 60.0  # seconds in which a process says that it is done: a bound on hanging, on machines with much to do as well
CANNOT = {errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT, errno.EOPNOTSUPP, errno.ENOSYS, errno.EAFNOSUPPORT,
          errno.ENOPROTOOPT}


class Skip(Exception):
    """The row can't be played here; the text says why."""


@dataclasses.dataclass(frozen=True)
class Row:
    """ARRIVES: this is somebody's right, which a lock must leave. NAMED: the heading in lockdownd(8) under which the
    way stands as open. RULES, SECOND: whether something is to arrive where that lock stands alone, if it differs."""

    channel: int
    name: str
    play: typing.Callable
    families: tuple = BOTH
    keys: tuple = ()  # lines of the profile beyond the default one
    named: str = None
    rules: bool = None
    second: bool = None
    arrives: bool = False
    daemon: bool = False  # nothing to see unless the daemon runs
    only_lockdown: bool = False  # the same way is played with the key that closes it

    def expected(self, lock):
        """Whether something is to arrive under LOCK; None: nothing is promised of that lock."""
        if lock in ("none", "drop"):
            return lock == "none"
        if lock not in ("lockdown", "rules", "second"):
            return None
        alone = getattr(self, lock, None)
        return self.arrives or bool(self.named) if alone is None else alone


@dataclasses.dataclass
class Way:
    """One attempt's marks: a tag for what carries data, a port that nothing else has, for what carries none."""

    family: int
    port: int
    dst: str = ""

    def __post_init__(self):
        self.tag = f"leak<{self.port}>"
        self.dst = self.dst or OUTSIDE[self.family]

    @property
    def data(self):
        return self.tag.encode()

    @property
    def inside(self):
        return INSIDE[self.family]

    @property
    def domain(self):
        return lab_.socket.AF_INET6 if self.family == 6 else lab_.socket.AF_INET

    def spec(self, kind, dst=None, dport=None):
        """A probe of probes.py; with a port that is not the way's own, that is where it comes from."""
        return {"kind": kind, "dst": dst or self.dst, "dport": dport or self.port, "tag": self.tag,
                "sport": self.port if dport else 0}

    def seen(self, packet):
        if packet.only_reset:
            return False
        return self.data in packet.payload or self.port in (packet.sport, packet.dport)


class Stage:
    """A lab with one lock under test; what plays use."""

    def __init__(self, lab, lock):
        self.lab, self.lock, self.mark, self.cleanup, self.silent = lab, lock, 0, None, False

    # --- processes ---

    def person(self, function, ways, who=BOB, machine=None, cgroup=None, **options):
        """Runs FUNCTION(WAYS), a generator of person.py, as WHO up to its first yield."""
        return self._spawn(in_steps, function, ways, who=who, machine=machine, cgroup=cgroup, **options)

    def service(self, function, ways, who, cgroup=None, **options):
        """Runs FUNCTION(channel, WAYS), somebody else's service; it sends None when it is ready, and goes on."""
        return self._spawn(function, ways, who=who, machine=None, cgroup=cgroup, **options)

    def _spawn(self, function, *arguments, who, machine, cgroup, **options):
        if cgroup:
            path = os.path.join(self.lab.cgroup, cgroup)
            os.makedirs(path, exist_ok=True)

            def enter():
                with open(f"{path}/cgroup.procs", "w", encoding="ascii") as f:
                    f.write("0")
                self.lab.host.enter_namespaces()
                who.become()

            task = netlab.fork_task(enter, function, *arguments, wants_channel=True, **options)
        else:
            task = (machine or self.lab.host).spawn(function, *arguments, who=who, **options)
        self.cleanup.callback(task.kill)
        self._step(task.receive(LATE))
        return task

    def go(self, *tasks):
        """They take their next step."""
        for task in tasks:
            task.channel.send("go")
        for task in tasks:
            self._step(task.receive(LATE))

    @staticmethod
    def _step(answer):
        if answer is not None:
            raise Skip(answer)

    def host(self, *argv, who=None, stdin=None, join=False):
        """A program on the host that must succeed."""
        return self.lab.host.check(list(argv), stdin=stdin, env=self.lab.environment(), who=who, join=join)

    def ip(self, text):
        self.lab.host.check(["/usr/sbin/ip", "-batch", "-"], stdin=text)

    def defer(self, function, *args):
        """At the end of the row."""
        self.cleanup.callback(function, *args)

    def sysctl(self, name, value):
        path = "/proc/sys/net/" + name
        before = self.lab.host.call(_read, path)
        self.lab.host.call(lab_._write, path, value, None)
        self.defer(self.lab.host.call, lab_._write, path, before, None)

    def edit(self, name, change):
        """CHANGE(text) becomes the text of /etc/NAME, for this row."""
        path = self.lab.path("etc", name)
        before = _read(path)

        def write(text):
            lab_._write(path + "~", text)
            os.rename(path + "~", path)

        self.defer(write, before)
        write(change(before))

    # --- judging ---

    def way(self, family, dst=""):
        return Way(family, next(self.lab.sports), dst)

    def settle(self):
        """What was sent has arrived."""
        if not self.silent:
            self.lab.barrier()

    def remark(self):
        """Only what arrives from here on is judged."""
        self.settle()
        self.mark = self.lab.far.ask("mark")

    def arrived(self, ways):
        """The families of those ways that something came by."""
        self.settle()
        packets, dropped = self.lab.far.ask("packets", self.mark)
        if dropped:
            raise netlab.Late(f"the sniffer lost {dropped} packets")
        return {way.family for way in ways if any(way.seen(p) for p in packets) or
                self.lab.far.ask("raw-has", self.mark, way.data)}  # in what the sniffer does not take for traffic

    @property
    def patience(self):
        """Seconds for what arrives soon, if it does at all."""
        return 0.3 if self.silent else 3.0

    def wait(self, ways, seconds, over=lambda: False):
        """Gives the kernel time to do what it does by itself: until all have arrived, it is over, or time is up."""
        with contextlib.suppress(netlab.Late):
            netlab.wait_for(lambda: len(self.arrived(ways)) == len(ways) or over(), seconds, interval=0.02)


def in_steps(channel, function, ways, **options):
    """In the person's process."""
    steps = function(ways, **options)
    try:
        next(steps)
    except OSError as e:
        if e.errno not in CANNOT:
            raise
        channel.send(f"this kernel has none of it ({errno.errorcode[e.errno]})")
        return
    channel.send(None)
    while channel.request(None):
        probes.attempt(next, steps, None)
        channel.send(None)


def by(function, who=BOB, **options):
    """The play of a person's program alone: its first step before the lock, the next under it."""

    def play(stage, ways):
        task = stage.person(function, ways, who, **options)
        yield
        stage.go(task)

    return play


def hardware_address(machine, device):
    link, = json.loads(machine.check(["/usr/sbin/ip", "-j", "link", "show", device]))
    return link["address"]


def _read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


@dataclasses.dataclass
class Result:
    """ARRIVED: the families something came by. SKIPPED: why it was not played."""

    row: Row
    arrived: set = dataclasses.field(default_factory=set)
    skipped: str = None
    error: str = None
    seconds: float = 0.0


def perform(stage, row):
    """Plays one row on a stage. -> Result"""
    began, result = time.monotonic(), Result(row)
    try:
        with contextlib.ExitStack() as cleanup:
            stage.cleanup = cleanup
            ways = [stage.way(family) for family in row.families]
            steps = row.play(stage, ways)
            next(steps)
            stage.lock.on(stage, row)
            with contextlib.ExitStack() as locked:
                locked.callback(stage.lock.off, stage, row)
                stage.remark()
                going = next(steps, "over") != "over"
                if going and stage.lock.lifts:
                    locked.close()
                    next(steps, None)
                result.arrived = stage.arrived(ways)
    except Skip as e:
        result.skipped = str(e)
    except (AssertionError, OSError) as e:
        result.error = str(e).strip().splitlines()[-1]
    stage.lab.end_tasks()
    stage.lab.far.ask("forget")
    result.seconds = time.monotonic() - began
    return result
