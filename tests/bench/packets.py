# SPDX-License-Identifier: GPL-2.0-or-later
"""What the packets of those pay who are not meant, by what is in force."""

import os
import shutil
import statistics

from figures import Sample
from lab import MALLORY
from netlab import Who
from orders import NFT
from place import FIRST_SUBORDINATE, APART, FIRST_UID, STEP, Place, Sender, ask, program

COUNT = 40_000  # datagrams a repetition, of some 20 ms
# Where the rules can tell them from members by less and less: between two members, and in the gap between the ranges
# of two, where only the interval sets know.
NEIGHBOUR = Who("neighbour", FIRST_UID + 1, FIRST_UID + 1)
STRANGER = Who("stranger", 3_999_999, 3_999_999)  # between the highest uid and the lowest range
IN_A_GAP = Who("in-a-gap", FIRST_SUBORDINATE + APART - 1, FIRST_SUBORDINATE + APART - 1)
PEOPLE = (("a uid below all", MALLORY), ("between two members'", NEIGHBOUR), ("between uids and ranges", STRANGER),
          ("in a gap between two ranges", IN_A_GAP))


class Case:
    """One thing that may be in force, in a place of its own or with others; OFF undoes ON."""

    def __init__(self, name, place, senders, on=None, off=None, command=""):
        self.name, self.on, self.off, self.senders = name, on, off, senders
        self.samples = [Sample(f"{name}; {who}", command, "ns") for who, _ in PEOPLE]

    def round(self):
        if self.on:
            self.on()
        for sender, sample in zip(self.senders, self.samples):
            sender.cost(COUNT // 10)
            sample.add(sender.cost(COUNT))
        if self.off:
            self.off()


def senders(place):
    return [Sender(place, who) for _, who in PEOPLE]


def profile(name, n, keys=""):
    return f"[Profile {name}]\nGroups=g{n}\nAllow=internal\n{keys}"


def ordered(place, name, what, command=None):
    return Case(what, place, place.senders, lambda: place.order(name), lambda: place.lift(name),
                command or f"lockdownctl order {name}")


def other_cases(place, n):
    def nft(text, what, command):
        path = place.lab.path(f"case{len(cases)}.nft")
        with open(path, "w", encoding="ascii") as f:
            f.write("table inet other {\n" + text + "\n}\n")
        cases.append(Case(what, place, place.senders, lambda: place.run([NFT, "-f", path]),
                          lambda: place.run([NFT, "delete", "table", "inet", "other"]), command))

    cases = [Case("no rules at all", place, place.senders)]
    chain = "chain output { type filter hook output priority 0; "
    nft(chain + "}", "an empty base chain", "nft: chain output { hook output }")
    cases.append(Case(f"one hash look-up, {n:,} uids", place, place.senders,
                      lambda: place.run([program("transaction"), "engage", "cheapest"]),
                      lambda: place.run([NFT, "delete", "chain", "inet", "cheapest", "output"]),
                      f"transaction whole bare {FIRST_UID} {n}"))
    ranges = ", ".join(f"{first}-{first + APART // 2 - 1}"
                       for first in range(FIRST_SUBORDINATE, FIRST_SUBORDINATE + n * APART, APART))
    uids = ", ".join(str(FIRST_UID + STEP * i) for i in range(n))
    nft("set uids { type uid; flags interval; elements = { " + uids + ", " + ranges + " } }\n" + chain +
        "meta skuid @uids reject; }", "uids and ranges in one interval set", "nft: meta skuid @uids reject")
    if shutil.which("iptables-nft", path="/usr/sbin:/usr/bin"):
        path = place.lab.path("hundred.iptables")
        with open(path, "w", encoding="ascii") as f:
            f.write("*filter\n" + "".join(f"-A OUTPUT -m owner --uid-owner {FIRST_UID + STEP * i} -j REJECT\n"
                                          for i in range(100)) + "COMMIT\n")
        cases.append(Case("one iptables rule a uid, 100", place, place.senders,
                          lambda: place.run(["/usr/sbin/iptables-nft-restore", path]),
                          lambda: place.run(["/usr/sbin/iptables-nft", "-F", "OUTPUT"]),
                          "iptables-nft: -m owner --uid-owner UID -j REJECT"))
    return cases


def measure(report, n, rounds):
    report.section(f"3. A packet of somebody who is not meant (64-byte UDP, CPU time of its send()), {n:,} members "
                   "with subordinate ranges")
    ours = profile("all", n) + profile("rules", n, "SecondLock=no\n")
    bare = os.path.join(os.environ["BUILD"], "tests/lockdownd-no-frames")
    with Place(start=False) as elsewhere, Place([n], ours, subordinate=True) as place, \
            Place([n], profile("bare", n, "SecondLock=no\n"), subordinate=True, lockdownd=bare) as unframed:
        elsewhere.lab.host.check([program("transaction"), "stage", "cheapest", str(FIRST_UID), str(n)])
        for p in (elsewhere, place, unframed):
            p.senders = senders(p)
        cases = other_cases(elsewhere, n)
        cases += [Case("staged, not in force", place, place.senders),
                  ordered(unframed, "bare", "in force: rules for packets alone", "… SecondLock=no, no netdev table"),
                  ordered(place, "rules", "in force: with the table for frames", "… SecondLock=no"),
                  ordered(place, "all", "in force: everything, the second lock too")]
        for _ in range(rounds):
            for case in cases:
                case.round()
        write(report, cases, place)


class Pieces:
    """The daemon's own table, hooked up piece by piece by a program of ours, and a neighbour of the members."""

    def __init__(self, place, n):
        self.process = place.popen([program("rules"), str(FIRST_UID), str(n), str(STEP), str(FIRST_SUBORDINATE), str(APART)])
        words = self.process.stdout.readline().split(" meta ")
        self.statements = [words[0].strip()] + ["meta " + word.strip().removesuffix(" return") for word in words[1:]]
        self.sender = Sender(place, NEIGHBOUR)

    def case(self, name, what):
        return Case(name, None, [self.sender], lambda: ask(self.process, what) if what else None,
                    lambda: ask(self.process, "off") if what else None)

    def cases(self):
        """Each with what is in the case before it."""
        n = len(self.statements)
        return [self.case("no hook", ""), self.case("chain output", "0 0 0"),
                *(self.case(f"+ {statement}", f"{k + 1} 0 0") for k, statement in enumerate(self.statements)),
                self.case("+ chain postrouting, the same rule", f"{n} 1 0"),
                self.case("+ egress of the device, meta rtclassid … return", f"{n} 1 1")]


def pieces(report, n, rounds):
    """What each rule that is in the way of others costs, in the order in which they come."""
    report.section(f"3b. What each rule costs somebody who is between two of {n:,} members: with all those above it")
    with Place(start=False) as place:
        cases = Pieces(place, n).cases()
        for _ in range(rounds):
            for case in cases:
                case.round()
    before = None
    for case in cases:
        sample = case.samples[0]
        sample.name = case.name
        report.sample(sample)
        if before:
            added = statistics.median(b - a for a, b in zip(before.values, sample.values))
            report.ratio(f"{added:+.0f} ns; of the packets without rules", cases[0].samples[0].ratio(sample))
        before = sample


def write(report, cases, place):
    for k in range(len(PEOPLE)):
        none, cheapest = cases[0].samples[k], cases[2].samples[k]
        for case in cases:
            report.sample(case.samples[k])
            if case is not cases[0]:
                aim = "1" if "staged" in case.name else "at least 0.85" if "everything" in case.name else None
                report.ratio("of the packets without rules", none.ratio(case.samples[k]), aim)
        report.ratio("everything, of the packets with one hash look-up", cheapest.ratio(cases[-1].samples[k]),
                     "at least 0.95")


def many(report, rounds, staged=64, in_force=16):
    report.section(f"8. {staged} profiles of 100 members staged, up to {in_force} in force")
    configuration = "".join(profile(f"m{i}", 100) for i in range(staged))
    with Place(start=False) as elsewhere, Place([100], configuration) as place:
        elsewhere.senders, place.senders = senders(elsewhere)[:1], senders(place)[:1]
        none = Case("no rules at all", elsewhere, elsewhere.senders)
        steps = [k for k in (0, 1, 4, 16) if k <= in_force]
        cases = {k: Case(f"{k} in force", place, place.senders, command="lockdownctl order m0 …") for k in steps}
        orders = {k: Sample(f"the next order with {k} in force", f"lockdownctl order m{staged - 1}") for k in steps}
        for _ in range(rounds):
            none.round()
            on = 0
            for k in steps:
                while on < k:
                    place.order(f"m{on}")
                    on += 1
                cases[k].round()
                orders[k].add(place.order(f"m{staged - 1}") / 1e6)
                place.lift(f"m{staged - 1}")
            place.lift("--all")
        report.sample(none.samples[0])
        for k in steps:
            report.sample(cases[k].samples[0])
            report.ratio("of the packets without rules", none.samples[0].ratio(cases[k].samples[0]))
        for k in steps:
            report.sample(orders[k])
