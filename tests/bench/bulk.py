# SPDX-License-Identifier: GPL-2.0-or-later
"""What many members take: staging them, keeping them, starting again with them in force."""

import os
import signal
import time

from figures import Sample
from netlab import wait_for
from orders import ms
from place import FIRST_UID, Place, processor_time, program, resident
from severing import Asking

MEMORY = "/sys/fs/cgroup/memory"  # where there is a hierarchy of its own for it (cgroup v1)


def one_profile(n):
    return f"[Profile p{n}]\nGroups=g{n}\nAllow=internal\n"


# --- 2b ---

def _find(place, report, n, rounds):
    bare = Sample("getgrnam and one getpwent pass", f"members g{n}")
    ours = Sample("the worker's look-up", f"resolve g{n}")
    for _ in range(rounds):
        bare.add(ms(place.run([program("members"), f"g{n}"])))
        ours.add(ms(place.run([program("resolve"), f"g{n}"])))
    report.sample(bare)
    report.sample(ours)
    report.ratio("look-up / bare pass", ours.ratio(bare), "at most 2")


class _Reload:
    """What a reload takes, of the daemon's processor time too, and how long somebody else waits meanwhile."""

    def __init__(self, place, what):
        self.place = place
        self.reply = Sample(what, "lockdownctl reload")
        self.staged = Sample("… until they are staged", "lockdownctl reload; lockdownctl profiles, over and over")
        self.time = Sample("… the daemon's part of the processors'", "lockdownctl reload")
        self.waits = Sample("… the longest that somebody else waits", "lockdownctl status, over and over")

    def _carry_out(self):
        """It is answered after the first step of staging; the rest takes turns with who asks meanwhile."""
        begin = time.monotonic_ns()
        reply = self.place.run(self.place.ctl("reload"))
        wait_for(lambda: all(p["staged"] for p in self.place.lab.json("profiles")["profiles"]), 60.0, "all to be staged", 0.02)
        return reply, time.monotonic_ns() - begin

    def run(self, asked):
        """Asked by somebody else all the while, or left to itself."""
        self.place.settle()
        if asked:
            with Asking(self.place, self.waits):
                self._carry_out()
            return
        before = processor_time(self.place.lab.daemon.pid)
        reply, staged = self._carry_out()
        self.reply.add(ms(reply))
        self.staged.add(ms(staged))
        self.time.add(ms(processor_time(self.place.lab.daemon.pid) - before))

    def write(self, report):
        for sample in (self.reply, self.staged, self.time, self.waits):
            report.sample(sample)


def _stage(place, report, n, rounds):
    """One profile more, for the same group; then a few people less and more in the first."""
    whole = _Reload(place, f"reload that stages {n:,} members")
    few = _Reload(place, f"reload after three of {n:,} have gone or come")
    bare = Sample("bare transaction, both tables", f"transaction both bare {FIRST_UID} {n}")
    configured = place.configuration
    for i in range(2 * rounds):
        place.lab.configure(configured + f"[Profile more]\nGroups=g{n}\nAllow=internal\n")
        whole.run(asked=i % 2 == 0)
        place.lab.configure(configured)
        place.run(place.ctl("reload"))
        place.lab.edit("group", lambda text, i=i: text.replace("u3,u4,u5,", "") if i % 2 == 0 else
                       text.replace("u2,u6,", "u2,u3,u4,u5,u6,"))
        few.run(asked=i % 2 == 0)
        if i % 2 == 0:
            continue
        bare.add(ms(place.run([program("transaction"), "both", "bare", str(FIRST_UID), str(n)])))
        for family in ("inet", "netdev"):
            place.lab.host.check(["/usr/sbin/nft", "delete", "table", family, "bare"])
    whole.write(report)
    report.sample(bare)
    few.write(report)
    report.ratio("staging, the daemon's part / bare transaction", whole.time.ratio(bare), "at most 1.2")


def stage(report, n, rounds):
    report.section(f"2b. Staging {n:,} members")
    with Place([n], one_profile(n)) as place:
        _find(place, report, n, rounds)
        _stage(place, report, n, rounds)


def verify(report, n, rounds):
    """Read back and compared, all of it."""
    report.section(f"2c. Verifying an order of {n:,}")
    with Place([n], one_profile(n)) as place:
        whole = Sample("verify", "lockdownctl verify")
        waits = Sample("… the longest that somebody else waits", "lockdownctl status, over and over")
        soon = Sample("… a second after the order, by itself", "lockdownctl status, over and over")
        for _ in range(rounds):
            place.settle()
            place.order(f"p{n}")
            with Asking(place, soon):
                time.sleep(2.5)
            with Asking(place, waits):
                whole.add(ms(place.run(place.ctl("verify"))))
            place.lift(f"p{n}")
        for sample in (whole, waits, soon):
            report.sample(sample)


# --- 6 ---

def _resident(place, name):
    sample = Sample(name, "VmRSS", "KiB")
    sample.add(resident(place))
    return sample


def _settled(place, profile):
    """After an order was given, verified and lifted."""
    place.order(profile)
    time.sleep(3)
    place.lift(profile)
    place.settle()


def _kernel_memory(place, report, n):
    """What the kernel charges the daemon for the table of an order, by a control group of its own."""
    group = os.path.join(MEMORY, place.lab.name)
    if not os.path.exists(os.path.join(MEMORY, "memory.kmem.usage_in_bytes")):
        report.absent("kernel memory: no memory controller with memory.kmem.usage_in_bytes")
        return
    os.mkdir(group)
    try:
        with open(os.path.join(group, "cgroup.procs"), "w", encoding="ascii") as f:
            f.write(str(place.lab.daemon.pid))
        sample = Sample(f"kernel memory of an order of {n:,}", "memory.kmem.usage_in_bytes", "KiB")
        used = []
        for words in (None, ("order", "--group", f"g{n}", "--name", "adhoc")):
            if words:
                place.run(place.ctl(*words))
            with open(os.path.join(group, "memory.kmem.usage_in_bytes"), encoding="ascii") as f:
                used.append(int(f.read()))
        sample.add((used[1] - used[0]) / 1024)
        report.sample(sample)
        report.ratio("bytes of the kernel's for each member", (used[1] - used[0]) / n)
        place.lift("adhoc")
        with open(os.path.join(MEMORY, "cgroup.procs"), "w", encoding="ascii") as f:
            f.write(str(place.lab.daemon.pid))
    finally:
        os.rmdir(group)


def _again(place, report, profile, before, repetitions):
    for _ in range(repetitions):
        place.run(place.ctl("order", profile))
        place.run(place.ctl("lift", profile))
    place.settle()
    time.sleep(3)
    after = _resident(place, f"… after {repetitions:,} orders")
    report.sample(after)
    report.ratio("after / before the orders", after.median / before.median, "1")


def _orders(one, many, report, n, rounds):
    samples = [Sample(f"order, {size:,}", f"lockdownctl order p{size}") for size in (1, n)]
    for _ in range(rounds):
        for place, size, sample in ((one, 1, samples[0]), (many, n, samples[1])):
            time.sleep(n / 250_000)  # after the order before, its people are looked up once more
            sample.add(ms(place.order(f"p{size}")))
            place.lift(f"p{size}")
    for sample in samples:
        report.sample(sample)
    report.ratio(f"order of {n:,} / of 1", samples[1].ratio(samples[0]), "1")


def memory(report, sizes, rounds, repetitions):
    report.section("6. Memory of the daemon, and orders of as many as there may be")
    with Place([1], one_profile(1)) as one:
        _settled(one, "p1")
        nobody = _resident(one, "resident, one member")
        report.sample(nobody)
        for n in sizes:
            with Place([n], one_profile(n)) as place:
                _settled(place, f"p{n}")
                sample = _resident(place, f"resident, {n:,} members")
                report.sample(sample)
                report.ratio("bytes for each above one member's", (sample.median - nobody.median) * 1024 / n, "at most 24")
                _orders(one, place, report, n, rounds)
                if n == sizes[0]:
                    _again(place, report, f"p{n}", sample, repetitions)
                    _kernel_memory(place, report, n)


# --- 7 ---

def restart(report, n, rounds):
    report.section("7. Starting again")
    with Place([n], one_profile(n)) as place:
        sample = Sample(f"start with {n:,} members in force", "lockdownd, killed before: exec to READY=1")
        taken = Sample("… of the processors' time", "lockdownd, killed before: exec to READY=1")
        place.order(f"p{n}")
        for _ in range(rounds):
            place.settle()
            place.lab.daemon.end(signal.SIGKILL)
            begin = time.monotonic_ns()
            place.lab.start(wait=False)
            place.lab.daemon.wait_ready(60.0)
            sample.add(ms(time.monotonic_ns() - begin))
            taken.add(ms(processor_time(place.lab.daemon.pid)))
            assert place.lab.orders()[f"p{n}"]["holds"]
        report.sample(sample)
        report.sample(taken)
        report.ratio("in ms", sample.median, "under 300")


def measure(report, n, rounds):
    stage(report, n, rounds)
    verify(report, n, rounds)
    memory(report, [n, 10 * n], rounds, 1000)
    restart(report, n, rounds)
