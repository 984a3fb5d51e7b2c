# SPDX-License-Identifier: GPL-2.0-or-later
"""What the daemon takes: cutting many sockets, reading long lists, memory, starting again with a block in force."""

import resource
import shutil
import signal
import socket
import time

from figures import Sample
from lab import MALLORY
from orders import configuration, member, ms
from place import Place, program

DOOR = 7  # the port that the subject's sockets are connected to
SUBJECTS, OTHERS = 10_000, 40_000  # sockets; each takes a port of the host's
ATTEMPTS = 65_536


def _hold(channel, count, address, port):
    """Connected sockets, until killed."""
    held = []
    for _ in range(count):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.connect((f"198.51.100.{address}", port))
        held.append(s)
    channel.send(len(held))
    channel.request(None)


class Sockets:
    """Held by as many processes as it takes. To be used in a with statement."""

    def __init__(self, place, who, count, port):
        self.host = place.lab.host
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        each = min(hard - 100, 5000)
        self.tasks = [self.host.spawn(_hold, min(each, count - first), 1 + first // each, port, who=who)
                      for first in range(0, count, each)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for task in self.tasks:
            task.receive(60)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for task in self.tasks:
            task.kill()
            self.host.tasks.remove(task)


def _all_ports():
    with open("/proc/sys/net/ipv4/ip_local_port_range", "w", encoding="ascii") as f:
        f.write("1024 65535")


def sever(place, report, profile, rounds):
    who = member(place)
    order = Sample(f"order that cuts {SUBJECTS:,} sockets among {SUBJECTS + OTHERS:,}", f"lockdownctl order {profile}")
    bare = Sample("bare list and destroy", f"destroy {who.uid}")
    ss = Sample("ss -K", f"ss -K -u dst 198.51.100.0/24 dport = {DOOR}")
    ways = [(order, place.ctl("order", profile)), (bare, [program("destroy"), str(who.uid)])]
    if shutil.which("ss", path="/usr/bin"):
        ways.append((ss, ["/usr/bin/ss", "-H", "-K", "-u", "dst", "198.51.100.0/24", "dport", "=", str(DOOR)]))
    place.lab.host.call(_all_ports)
    with Sockets(place, MALLORY, OTHERS, 9):
        for _ in range(rounds):
            for sample, words in ways:
                with Sockets(place, who, SUBJECTS, DOOR):
                    place.settle()
                    sample.add(ms(place.run(words)))
                if sample is order:
                    place.lift(profile)
    for sample, _ in ways:
        report.sample(sample)
    report.ratio("order / bare list and destroy", order.ratio(bare), "at most 1.3")


def _attempt(count):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for i in range(count):
        try:
            s.sendto(b"x", (f"198.51.100.{i // 60_000}", 1024 + i % 60_000))
        except OSError:
            pass  # refused: that is what is recorded


def read(place, report, profile, rounds):
    place.order(profile)
    place.lab.host.call(_attempt, ATTEMPTS, who=member(place), timeout=60.0)
    n = len(place.lab.json("attempts", profile, timeout=60.0)["profiles"][0]["entries"])
    for name, words in ((f"attempts, {n:,} of them", ("attempts", profile)), ("status", ("status",))):
        sample = Sample(name, f"lockdownctl {' '.join(words)}")
        for _ in range(rounds):
            sample.add(ms(place.run(place.ctl(*words))))
        report.sample(sample)
        report.ratio("seconds", sample.median / 1000, "at most 1")
    sample = Sample(f"lift that reads {n:,} attempts into the record", f"lockdownctl lift {profile}")
    sample.add(ms(place.lift(profile)))
    report.sample(sample)


def resident(place):
    with open(f"/proc/{place.lab.daemon.pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def memory(place, report, n, profile, repetitions):
    with Place([1], configuration([1])) as idle:
        nobody = resident(idle)
    samples = (Sample("resident, one member", "VmRSS", "KiB"), Sample(f"resident, {n:,} members", "VmRSS", "KiB"),
               Sample(f"… after {repetitions} orders", "VmRSS", "KiB"))
    samples[0].add(nobody)
    samples[1].add(resident(place))
    for _ in range(repetitions):
        place.run(place.ctl("order", profile))
        place.run(place.ctl("lift", profile))
    place.settle()
    samples[2].add(resident(place))
    for sample in samples:
        report.sample(sample)
    # Profiles pN and rN have the same members, each its own copy.
    report.ratio("bytes for each member above one member's", (samples[1].median - nobody) * 1024 / n / 2, "at most 24")
    report.ratio("after / before the orders", samples[2].median / samples[1].median, "1")


def restart(place, report, n, profile, rounds):
    sample = Sample(f"start with {n:,} members in force", "lockdownd, killed before: exec to READY=1")
    place.order(profile)
    for _ in range(rounds):
        place.settle()
        place.lab.daemon.end(signal.SIGKILL)
        begin = time.monotonic_ns()
        place.lab.start(wait=False)
        place.lab.daemon.wait_ready(60.0)
        sample.add(ms(time.monotonic_ns() - begin))
        assert profile in place.lab.orders()
    report.sample(sample)
    report.ratio("in ms", sample.median, "under 300")
    place.lift(profile)


def measure(report, n, rounds):
    few = max(3, rounds // 3)
    report.section("4. Cutting connections (UDP sockets; exec to exit)")
    with Place([n], configuration([n])) as place:
        sever(place, report, f"p{n}", few)
        report.section("6. Memory of the daemon")
        memory(place, report, n, f"p{n}", 100)
        report.section("5. Reading")
        read(place, report, f"p{n}", few)
        report.section("7. Starting again")
        restart(place, report, n, f"p{n}", few)
