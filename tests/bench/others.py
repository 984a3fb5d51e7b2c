# SPDX-License-Identifier: GPL-2.0-or-later
"""What takes everybody off at once, for it knows no groups: firewalld's panic mode, ufw."""

import os
import shutil

from figures import Sample
from orders import ms
from place import Place, program

SCRIPTS = os.path.join(os.path.dirname(os.path.realpath(__file__)), "../leaks/locks")
# name, programs it takes, what prepares it (run once; what it starts lives as long as the place), on, off
LOCKS = (
    ("firewalld, by its own client", ("firewalld", "firewall-cmd", "dbus-daemon"), "firewalld-prepare",
     ["/usr/bin/firewall-cmd", "--panic-on"], ["/usr/bin/firewall-cmd", "--panic-off"]),
    ("ufw", ("ufw",), "ufw-prepare", ["/usr/sbin/ufw", "--force", "enable"], ["/usr/sbin/ufw", "disable"]),
)


def missing(programs):
    return [p for p in programs if not shutil.which(p, path="/usr/sbin:/usr/bin:/sbin:/bin")]


def prepare(place, script):
    with open(os.path.join(SCRIPTS, script), encoding="utf-8") as f:
        text = f.read()
    done = place.lab.host.run(["/bin/sh", "-euc", text], timeout=60.0, join=True,
                              env=place.lab.environment({"LEAKS_LAB": place.lab.directory}))
    return None if done.returncode == 0 else (done.stderr or done.stdout).strip() or f"exit {done.returncode}"


def measure(report, rounds):
    report.section("2. Tools that know no groups (exec to exit)")
    for name, programs, script, on, off in LOCKS:
        gone = missing(programs)
        if gone:
            report.absent(f"{name}: not installed: {' '.join(gone)}")
            continue
        with Place(start=False) as place:
            problem = prepare(place, script)
            if problem:
                report.absent(f"{name}: {problem.splitlines()[-1]}")
                continue
            empty = Sample("an empty program", "empty")
            samples = [Sample(f"{name}: on", " ".join(on)), Sample(f"{name}: off", " ".join(off))]
            for _ in range(rounds):
                empty.add(ms(place.run([program("empty")])))
                for sample, words in zip(samples, (on, off)):
                    sample.add(ms(place.run(words)))
            for sample in [empty, *samples]:
                report.sample(sample)
