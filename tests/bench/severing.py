# SPDX-License-Identifier: GPL-2.0-or-later
"""What it takes to cut connections, and who is kept waiting meanwhile."""

import resource
import shutil
import socket
import threading

from figures import Sample
from lab import MALLORY
from orders import configuration, member, ms
from place import Place, Stopwatch, program

DOOR = 7  # the port that the subject's sockets are connected to
SUBJECTS, OTHERS = 10_000, 40_000  # sockets; each takes a port of the host's


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


class Asking:
    """Somebody else who asks for the status over and over. To be used in a with statement."""

    def __init__(self, place, sample):
        self.place, self.sample, self.over = place, sample, threading.Event()
        self.watch = Stopwatch(place, "asking")
        self.thread = threading.Thread(target=self._ask)

    def _ask(self):
        longest = 0
        while not self.over.is_set():
            longest = max(longest, self.watch.run(self.place.ctl("status"), (0, 3))[0])
        self.sample.add(ms(longest))

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        self.watch.close()


def _sever(place, report, profile, rounds):
    who = member(place)
    order = Sample(f"order that cuts {SUBJECTS:,} sockets among {SUBJECTS + OTHERS:,}", f"lockdownctl order {profile}")
    nothing = Sample(f"the same with nothing to cut among {OTHERS:,}", f"lockdownctl order {profile}")
    once = Sample("bare list and destroy, once", f"destroy once {who.uid}")
    until = Sample("bare list and destroy, until a list finds none", f"destroy {who.uid}")
    ss = Sample("ss -K", f"ss -K -u dst 198.51.100.0/24 dport = {DOOR}")
    waits = Sample("the longest that somebody else waits for a status", "lockdownctl status, over and over")
    ways = [(order, place.ctl("order", profile)), (once, [program("destroy"), "once", str(who.uid)]),
            (until, [program("destroy"), str(who.uid)])]
    if shutil.which("ss", path="/usr/bin"):
        ways.append((ss, ["/usr/bin/ss", "-H", "-K", "-u", "dst", "198.51.100.0/24", "dport", "=", str(DOOR)]))
    with Sockets(place, MALLORY, OTHERS, 9):
        for _ in range(rounds):
            for sample, words in ways:
                with Sockets(place, who, SUBJECTS, DOOR):
                    place.settle()
                    sample.add(ms(place.run(words)))
                if sample is order:
                    place.lift(profile)
            nothing.add(ms(place.order(profile)))
            place.lift(profile)
            with Sockets(place, who, SUBJECTS, DOOR):
                place.settle()
                with Asking(place, waits):
                    place.run(place.ctl("order", profile))
            place.lift(profile)
    for sample in [sample for sample, _ in ways] + [nothing, waits]:
        report.sample(sample)
    report.ratio("order / bare, until a list finds none", order.ratio(until), "at most 1.3")
    report.ratio("order / bare, once", order.ratio(once))


def measure(report, n, rounds):
    report.section("4. Cutting connections (UDP sockets; exec to exit)")
    with Place([n], configuration([n])) as place:
        place.lab.host.call(_all_ports)
        _sever(place, report, f"p{n}", rounds)
