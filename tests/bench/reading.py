# SPDX-License-Identifier: GPL-2.0-or-later
"""What long answers take: the daemon's and lockdownctl's time, and room."""

import json
import os
import socket

from figures import Sample
from orders import member, ms
from place import Place, processor_time, resident

ATTEMPTS, HISTORY = 65_536, 10_000


def _attempt(count):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for i in range(count):
        try:
            s.sendto(b"x", (f"198.51.100.{i // 60_000}", 1024 + i % 60_000))
        except OSError:
            pass  # refused: that is what is recorded


def _fill_history(place, profile):
    """As many finished orders as one answer holds, each the image of a real one. The daemon is started anew."""
    place.order(profile)
    place.lift(profile)
    place.lab.daemon.end()
    directory = place.lab.path("state/history")
    (name,) = os.listdir(directory)
    with open(os.path.join(directory, name), encoding="utf-8") as f:
        order = json.load(f)
    ended = order["ended_at"]
    for i in range(1, HISTORY):
        order["id"], order["ended_at"] = f"{i:032x}", ended - i * 1_000_000
        with open(f"{directory}/{order['ended_at']:020}-{order['id']}.json", "w", encoding="utf-8") as f:
            json.dump(order, f, indent=2)
    place.start()


class Answer:
    def __init__(self, place, what, *words):
        command = f"lockdownctl {' '.join(words)}"
        self.place, self.words = place, words
        self.wall = Sample(what, command)
        self.time = Sample("… of the processors'", f"{command}, with the daemon's part")

    def round(self):
        before = processor_time(self.place.lab.daemon.pid)
        self.wall.add(ms(self.place.run(self.place.ctl(*self.words))))
        self.time.add(ms(self.place.watch.processor + processor_time(self.place.lab.daemon.pid) - before))

    def write(self, report):
        report.sample(self.wall)
        report.sample(self.time)
        report.ratio("seconds", self.wall.median / 1000, "at most 1")


def measure(report, n, rounds):
    report.section("5. Reading (exec to exit)")
    profile = f"p{n}"
    with Place([n], f"[Profile {profile}]\nGroups=g{n}\nAllow=internal\n") as place:
        _fill_history(place, profile)
        place.order(profile)
        place.lab.host.call(_attempt, ATTEMPTS, who=member(place), timeout=60.0)
        entries = len(place.lab.json("attempts", profile, timeout=60.0)["profiles"][0]["entries"])
        before = resident(place)
        answers = [Answer(place, f"attempts, {entries:,} of them", "attempts", profile),
                   Answer(place, "… as JSON", "attempts", profile, "--json"),
                   Answer(place, f"history of {HISTORY:,} orders", "history"),
                   Answer(place, f"status, {n:,} members", "status"),
                   Answer(place, "… with their names", "status", "--verbose")]
        for _ in range(rounds):
            for answer in answers:
                answer.round()
        for answer in answers:
            answer.write(report)
        rooms = (Sample("the daemon's resident size before", "VmRSS", "KiB"),
                 Sample(f"… after {rounds} of each", "VmRSS", "KiB"))
        rooms[0].add(before)
        rooms[1].add(resident(place))
        for room in rooms:
            report.sample(room)
        sample = Sample(f"lift that reads {entries:,} attempts into the record", f"lockdownctl lift {profile}")
        sample.add(ms(place.lift(profile)))
        report.sample(sample)
