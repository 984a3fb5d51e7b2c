# SPDX-License-Identifier: GPL-2.0-or-later
"""Where it is measured: labs with as many people as are asked for, and processes in them that measure."""

import os
import shutil
import subprocess
import time

import lab as lab_
import netlab
from lab import ROOT
from netlab import wait_for

# Every other number, so that no two people make a range; STEP stands in transaction.c, too.
FIRST_UID, STEP, FIRST_SUBORDINATE, APART = 200_000, 2, 4_000_000, 4096
REST = 0.2  # in the middle of it the daemon loads the programs of orders to come
SINK = "192.0.2.130"  # behind a device that throws away what it is given
PROGRAMS = os.path.join(lab_.build_directory(), "tests/bench")


def program(name):
    return os.path.join(PROGRAMS, name)


class Place:
    """A lab with users u0 … and groups gN of the first N of them. To be used in a with statement."""

    def __init__(self, sizes=(), configuration="", subordinate=False, lockdownd=None, start=True,
                 in_memory=False):
        self.sizes, self.most = sorted(sizes), max(sizes, default=0)
        self.configuration = "[Access]\nOrder=root\nLift=root\nStatus=*\n" + configuration
        self.lab = lab_.Lab(self.configuration, start=False)
        self.watch = None
        try:
            self._people(subordinate)
            self._quiet()
            if in_memory:  # the state directory: what a disk takes is left out
                self.lab.host.call(netlab.mount, "tmpfs", self.lab.path("state"), "tmpfs", 0, "mode=0755")
            if lockdownd:
                self._install(lockdownd)
            self.stage_seconds = None
            if start:
                begin = time.monotonic()
                self.start()
                self.stage_seconds = time.monotonic() - begin
            self.watch = Stopwatch(self)
        except BaseException:
            self.lab.close()
            raise

    def _people(self, subordinate):
        lab = self.lab
        with open(lab.path("etc/passwd"), "a", encoding="ascii") as f:
            f.writelines(f"u{i}:x:{FIRST_UID + STEP * i}:{FIRST_UID}::/:/bin/sh\n" for i in range(self.most))
        with open(lab.path("etc/group"), "a", encoding="ascii") as f:
            f.writelines(f"g{n}:x:{5000 + k}:{','.join(f'u{i}' for i in range(n))}\n"
                         for k, n in enumerate(self.sizes))
        if subordinate:  # with a gap after each, or they were one range
            for name in ("subuid", "subgid"):
                with open(lab.path("etc", name), "a", encoding="ascii") as f:
                    f.writelines(f"u{i}:{FIRST_SUBORDINATE + i * APART}:{APART // 2}\n" for i in range(self.most))

    def _quiet(self):
        """What the other tests watch with would cost more here than what is measured."""
        lab = self.lab
        lab.far.kill()
        lab.world.tasks.remove(lab.far)
        lab.world.check(["/usr/sbin/nft", "delete", "table", "inet", "world"])
        for kind in ("dummy", "ifb"):  # not every kernel has the first; both drop at once
            if lab.host.run(["/usr/sbin/ip", "link", "add", "sink", "type", kind]).returncode == 0:
                break
        lab.host.check(["/usr/sbin/ip", "-batch", "-"], stdin="link set sink up\naddr add 192.0.2.129/25 dev sink\n")

    def _install(self, path):
        temporary = self.lab.lockdownd + "~"
        subprocess.run(["/usr/bin/install", "-m", "755", path, temporary], check=True)
        os.rename(temporary, self.lab.lockdownd)

    def start(self):
        """Until all that is configured is staged."""
        self.lab.start(wait=False)
        self.lab.daemon.wait_ready(240.0)
        wait_for(lambda: all(p["staged"] for p in self.lab.json("profiles")["profiles"]), 120.0, "all to be staged", 0.05)

    def settle(self):
        """Until the daemon has done what it does after it has answered. The kernel still frees what the last change took
        away, and the next change would wait for that; it has told nobody when it is done, so it gets its time."""
        self.run(self.ctl("profiles"))
        time.sleep(REST)

    def order(self, profile):
        """-> ns from exec to exit"""
        self.settle()
        return self.run(self.ctl("order", profile))

    def lift(self, *words):
        self.settle()
        return self.run(self.ctl("lift", *words))

    def ctl(self, *words):
        return [self.lab.path("bin/lockdownctl"), *words]

    def run(self, words):
        """Runs a program of the lab's that must succeed. -> ns from exec to exit"""
        return self.watch.run(words)[0]

    def anybody(self, name):
        """A program of ours that everybody can run, wherever the sources are."""
        copy = self.lab.path("bin", name)
        if not os.path.exists(copy):
            shutil.copy(program(name), copy)
            os.chmod(copy, 0o755)
        return copy

    def popen(self, words, who=ROOT, machine=None):
        return (machine or self.lab.host).popen(words, who, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                                env=self.lab.environment())

    def close(self):
        self.lab.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def ask(process, line):
    process.stdin.write(line + "\n")
    process.stdin.flush()
    answer = process.stdout.readline().split()
    assert answer, f"{process.args} ended"
    return answer


def processor_time(pid):
    """-> ns that a process has taken, all its threads"""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as f:
                total += int(f.read().split()[0])
        except FileNotFoundError:
            pass  # it has just ended
    return total


def resident(place):
    """-> KiB of the daemon's"""
    with open(f"/proc/{place.lab.daemon.pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


class Stopwatch:
    def __init__(self, place, name="said"):
        self.said, self.host = place.lab.path(name), place.lab.host
        self.processor = 0  # ns that the last program took of the processors' time
        self.process = place.lab.host.popen([program("stopwatch"), self.said], join=False, stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, text=True, env=place.lab.environment())

    def run(self, words, codes=(0,)):
        """-> (ns from exec to exit, the wall clock at exec in ns)"""
        status, elapsed, wall, self.processor = (int(word) for word in ask(self.process, "\t".join(words)))
        if status not in codes:
            with open(self.said, encoding="utf-8", errors="replace") as f:
                raise AssertionError(f"{' '.join(words)}: exit {status}: {f.read()[-500:]}")
        return elapsed, wall

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.host.programs.remove(self.process)


class Sender:
    """Somebody whose datagrams are paid for."""

    def __init__(self, place, who, address=SINK):
        self.process = place.popen([place.anybody("datagrams"), "cost", address, "9"], who)

    def cost(self, count):
        """-> ns of CPU time for one datagram"""
        cost, failed = ask(self.process, str(count))
        assert failed == "0", f"{failed} datagrams could not be sent"
        return float(cost)


class Stream:
    """A subject that sends every 20 µs, and the world's receiver."""

    def __init__(self, place, who):
        self.place, self.who = place, who
        self.receiver = place.popen([place.anybody("datagrams"), "receive", "9"], machine=place.lab.world)

    def last_after(self, words):
        """Runs WORDS while the subject sends. -> ns from its exec to the last arrival"""
        sender = self.place.popen([self.place.anybody("datagrams"), "tick", lab_.INTERNET4, "9"], self.who)
        try:
            sender.stdout.readline()
            before = int(ask(self.receiver, "")[0])
            wait_for(lambda: int(ask(self.receiver, "")[0]) > before + 100, 5.0, "the stream to flow")
            _, wall = self.place.watch.run(words)
            count, last = (int(word) for word in ask(self.receiver, ""))
            time.sleep(0.02)  # what is under way
            assert int(ask(self.receiver, "")[0]) == count, "datagrams still arrive"
            return last - wall
        finally:
            sender.kill()
            sender.wait()
            self.place.lab.host.programs.remove(sender)
