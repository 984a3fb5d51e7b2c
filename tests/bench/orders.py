# SPDX-License-Identifier: GPL-2.0-or-later
"""What an order and a lift take, by the number of subjects, beside what else blocks uids."""

import os
import shutil
import time

from figures import Sample
from netlab import Who
from place import FIRST_UID, REST, STEP, Place, Stream, program

NFT = "/usr/sbin/nft"
ALLOW4, ALLOW6 = "10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 169.254.0.0/16", "fc00::/7, fe80::/10"
IPTABLES_MOST = 10_000  # it takes 4 s for ten times as many


def configuration(sizes, keys=""):
    """For each size pN, and rN without the second lock."""
    return "".join(f"[Profile p{n}]\nGroups=g{n}\nAllow=internal\n{keys}"
                   f"[Profile r{n}]\nGroups=g{n}\nAllow=internal\nSecondLock=no\n{keys}" for n in sizes)


def member(place):
    """u0, who is in all groups."""
    return Who("u0", FIRST_UID, FIRST_UID, tuple(5000 + k for k in range(len(place.sizes))))


def write_block(place, n):
    """The same block for nft: who they are, where they may go, one refusal. -> path"""
    path = place.lab.path(f"block{n}.nft")
    with open(path, "w", encoding="ascii") as f:
        f.write("table inet other {\n\tset uids { type uid; size " + str(n) + "; elements = { " +
                ", ".join(str(FIRST_UID + STEP * i) for i in range(n)) + " } }\n\tchain judge {\n"
                f"\t\toif lo return\n\t\tip daddr {{ {ALLOW4} }} return\n\t\tip6 daddr {{ {ALLOW6} }} return\n"
                "\t\treject with icmpx admin-prohibited\n\t}\n\tchain output {\n"
                "\t\ttype filter hook output priority 0\n\t\tmeta skuid @uids goto judge\n\t}\n}\n")
    return path


def write_iptables(place, n):
    path = place.lab.path(f"block{n}.iptables")
    with open(path, "w", encoding="ascii") as f:
        f.write("*filter\n" + "".join(f"-A OUTPUT -m owner --uid-owner {FIRST_UID + STEP * i} -j REJECT\n"
                                      for i in range(n)) + "COMMIT\n")
    return path


def ms(ns):
    return ns / 1e6


class Size:
    """All samples for one number of subjects, and one round of them. What else there is runs in a place where nobody
    lives: nft and iptables look up each uid in /etc/passwd as if it were a name, which takes them minutes with 100,000
    people in it."""

    def __init__(self, place, elsewhere, n, in_memory=None):
        self.place, self.elsewhere, self.n, self.in_memory = place, elsewhere, n, in_memory
        self.block = write_block(elsewhere, n)
        iptables = n <= IPTABLES_MOST and shutil.which("iptables-nft-restore", path="/usr/sbin:/usr/bin")
        self.iptables = write_iptables(elsewhere, n) if iptables else None
        elsewhere.lab.host.check([program("transaction"), "stage-both", f"bare{n}", str(FIRST_UID), str(n)])

        def sample(what, command):
            return Sample(f"{what}, {n:,}", command)

        self.empty = sample("an empty program", "empty")
        self.order = sample("order", f"lockdownctl order p{n}")
        self.lift = sample("lift", f"lockdownctl lift p{n}")
        self.memory_order = sample("order, state in memory", f"lockdownctl order p{n}")
        self.memory_lift = sample("lift, state in memory", f"lockdownctl lift p{n}")
        self.rules_order = sample("order, SecondLock=no", f"lockdownctl order r{n}")
        self.rules_lift = sample("lift, SecondLock=no", f"lockdownctl lift r{n}")
        self.nft = sample("nft -f", f"nft -f block{n}.nft")
        self.nft_delete = sample("nft delete table", "nft delete table inet other")
        self.whole = sample("bare transaction, all of it", f"transaction whole bare {FIRST_UID} {n}")
        self.engage = sample("bare transaction, the hook alone", f"transaction engage bare{n}")
        self.restore = sample("iptables-nft-restore and ip6tables-",
                              f"ip{{,6}}tables-nft-restore --noflush block{n}.iptables")

    def round(self):
        self.round_of_ours()
        if self.in_memory:
            self.memory_order.add(ms(self.in_memory.order(f"p{self.n}")))
            self.memory_lift.add(ms(self.in_memory.lift(f"p{self.n}")))
        self.round_of_others()

    def round_of_ours(self):
        self.empty.add(ms(self.place.run([program("empty")])))
        self.order.add(ms(self.place.order(f"p{self.n}")))
        self.lift.add(ms(self.place.lift(f"p{self.n}")))
        self.rules_order.add(ms(self.place.order(f"r{self.n}")))
        self.rules_lift.add(ms(self.place.lift(f"r{self.n}")))

    def round_of_nft(self):
        self.nft.add(ms(self.elsewhere.run([NFT, "-f", self.block])))
        self.nft_delete.add(ms(self.elsewhere.run([NFT, "delete", "table", "inet", "other"])))

    def round_of_others(self):
        run, check = self.elsewhere.run, self.elsewhere.lab.host.check
        self.round_of_nft()
        self.whole.add(ms(run([program("transaction"), "whole", "bare", str(FIRST_UID), str(self.n)])))
        check([NFT, "delete", "table", "inet", "bare"])
        self.engage.add(ms(run([program("transaction"), "engage", f"bare{self.n}"])))
        check([NFT, "delete", "chain", "inet", f"bare{self.n}", "output"])
        if self.iptables:
            both = ("/usr/sbin/iptables-nft", "/usr/sbin/ip6tables-nft")
            self.restore.add(ms(sum(run([f"{tool}-restore", "--noflush", self.iptables]) for tool in both)))
            for tool in both:
                check([tool, "-F", "OUTPUT"])

    def write(self, report):
        for s in (self.empty, self.order, self.memory_order, self.rules_order, self.lift, self.memory_lift,
                  self.rules_lift, self.nft, self.nft_delete, self.whole, self.engage, self.restore):
            if s.values:
                report.sample(s)
        report.ratio("order / empty program", self.order.ratio(self.empty), "at most 2")
        if self.memory_order.values:
            report.ratio("order, state in memory / empty program", self.memory_order.ratio(self.empty), "at most 2")
            report.ratio("lift, state in memory / nft delete table", self.memory_lift.ratio(self.nft_delete))
        if self.nft.values:
            report.ratio("nft -f / order", self.nft.ratio(self.order), "400 at 100,000")
            report.ratio("lift / nft delete table", self.lift.ratio(self.nft_delete), "at most 0.10")


def fsync(place, report, rounds):
    """What a file system takes for what the daemon does to save an order: included above, shown apart."""
    sample = Sample("a file of 1 KiB made safe in the same directory", "write, fsync, rename, fsync the directory")
    directory = place.lab.path("state")
    for _ in range(rounds):
        sample.add(ms(place.lab.host.call(_save, directory)))
    report.sample(sample)


def _save(directory):
    begin = time.perf_counter_ns()
    name = os.path.join(directory, "bench")
    with open(name + "~", "wb") as f:
        f.write(b"x" * 1024)
        f.flush()
        os.fsync(f.fileno())
    os.rename(name + "~", name)
    fd = os.open(directory, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
    taken = time.perf_counter_ns() - begin
    os.unlink(name)
    return taken


def last_packets(place, elsewhere, report, sizes, rounds):
    ours, theirs = Stream(place, member(place)), Stream(elsewhere, member(place))
    for n in sizes:
        order = Sample(f"order to last packet at the receiver, {n:,}", f"lockdownctl order p{n}")
        nft = Sample(f"nft -f to last packet at the receiver, {n:,}", f"nft -f block{n}.nft")
        for _ in range(rounds):
            place.settle()
            order.add(ms(ours.last_after(place.ctl("order", f"p{n}"))))
            place.lift(f"p{n}")
            nft.add(ms(theirs.last_after([NFT, "-f", elsewhere.lab.path(f"block{n}.nft")])))
            elsewhere.run([NFT, "delete", "table", "inet", "other"])
        report.sample(order)
        report.sample(nft)
        report.ratio("order's median, in ms", order.median, "under 2")
        report.ratio("nft -f / order", nft.ratio(order))


# The first hook of its kind on the whole machine makes the kernel patch itself, and stop all processors for that. Where
# any namespace has a firewall or containers, somebody else's was the first.
HOOKS = """\
table inet hooks {
	chain output { type filter hook output priority 0; }
	chain postrouting { type filter hook postrouting priority 0; }
}
table netdev hooks {
	chain egress { type filter hook egress device lo priority 0; }
}
"""


def among_hooks(place, elsewhere, report, n, rounds):
    """The same where another namespace has such hooks."""
    path = elsewhere.lab.path("hooks.nft")
    with open(path, "w", encoding="ascii") as f:
        f.write(HOOKS)
    empty = Sample("an empty program, others have hooks", "empty")
    order = Sample(f"order, {n:,}, others have hooks", f"lockdownctl order p{n}")
    rules = Sample(f"order, SecondLock=no, {n:,}, others have hooks", f"lockdownctl order r{n}")
    lift = Sample(f"lift, {n:,}, others have hooks", f"lockdownctl lift p{n}")
    last = Sample(f"order to last packet at the receiver, {n:,}, others have hooks", f"lockdownctl order p{n}")
    stream = Stream(place, member(place))
    both, alone = (Sample(f"asked to acknowledged{what}, {n:,}, others have hooks",
                          f"lockdownctl --json order {kind}{n}: held_after_usec", "µs")
                   for kind, what in (("p", ""), ("r", ", SecondLock=no")))
    elsewhere.lab.host.check([NFT, "-f", path])
    for _ in range(rounds):
        empty.add(ms(place.run([program("empty")])))
        for sample, held, kind in ((order, both, "p"), (rules, alone, "r")):
            sample.add(ms(place.order(f"{kind}{n}")))
            lifted = place.lift(f"{kind}{n}")
            if sample is order:
                lift.add(ms(lifted))
            place.settle()
            held.add(place.lab.json("order", f"{kind}{n}")["held_after_usec"])
            place.lift(f"{kind}{n}")
        place.settle()
        last.add(ms(stream.last_after(place.ctl("order", f"p{n}"))))
        place.lift(f"p{n}")
    for family in ("inet", "netdev"):
        elsewhere.lab.host.check([NFT, "delete", "table", family, "hooks"])
    for sample in (empty, order, rules, lift, both, alone, last):
        report.sample(sample)
    report.ratio("order / empty program", order.ratio(empty), "at most 2")
    report.ratio("order's last packet, median in ms", last.median, "under 2")


def _devices(place):
    return [line.split()[0].partition("@")[0] for line in place.lab.host.check(["ip", "-br", "link"]).splitlines()]


def within(place, elsewhere, report, sizes, rounds):
    """The daemon's own part: from being asked until nothing gets out."""
    check, devices = elsewhere.lab.host.check, _devices(elsewhere)
    for n in sizes:
        both, rules = (Sample(f"asked to acknowledged{what}, {n:,}", f"lockdownctl --json order {kind}{n}: held_after_usec", "µs")
                       for kind, what in (("p", ""), ("r", ", SecondLock=no")))
        bare = Sample(f"bare transaction, the hook alone, {n:,}", f"transaction engage bare{n}: sent to acknowledged", "µs")
        hooks = Sample(f"bare transaction, as many hooks, {n:,}", f"transaction engage-all bare{n} {' '.join(devices)}", "µs")
        for _ in range(rounds):
            for sample, kind in ((both, "p"), (rules, "r")):
                place.settle()
                sample.add(place.lab.json("order", f"{kind}{n}")["held_after_usec"])
                place.lift(f"{kind}{n}")
            for sample, what in ((bare, ["engage", f"bare{n}"]), (hooks, ["engage-all", f"bare{n}", *devices])):
                time.sleep(REST)
                sample.add(float(check([program("transaction"), *what])))
                check([NFT, "delete", "chain", "inet", f"bare{n}", "output"])
            for family, chain in (("inet", "postrouting"), *(("netdev", device) for device in devices)):
                check([NFT, "delete", "chain", family, f"bare{n}", chain])
        for sample in (both, rules, bare, hooks):
            report.sample(sample)
        report.ratio("both locks / bare transaction", both.ratio(bare))
        report.ratio("the rules / bare transaction", rules.ratio(bare), "at most 1.5")
        report.ratio("the rules / bare transaction with as many hooks", rules.ratio(hooks))


def in_a_row(place, report, sizes, rounds):
    """The second of two orders: what it needs must have been made ready with what the first needed, for that takes a while."""
    first, second = sizes[:2]
    alone = Sample(f"order, SecondLock=no, {second:,}", f"lockdownctl order r{second}")
    rules = Sample("… right after another order", f"lockdownctl order p{first}; lockdownctl order r{second}")
    both = Sample(f"order, {second:,}, right after another order", f"lockdownctl order p{first}; lockdownctl order p{second}")
    for _ in range(rounds):
        alone.add(ms(place.order(f"r{second}")))
        place.lift("--all")
        for sample, kind in ((rules, "r"), (both, "p")):
            place.order(f"p{first}")
            sample.add(ms(place.run(place.ctl("order", f"{kind}{second}"))))
            place.lift("--all")
    for sample in (alone, rules, both):
        report.sample(sample)
    report.ratio("the rules, right after another order / alone", rules.ratio(alone), "1")


def ad_hoc(place, elsewhere, report, n, rounds):
    """Nothing is staged: the people are looked up first."""
    order = Sample(f"order of a group that no profile has, {n:,}", f"lockdownctl order --group g{n}")
    members = Sample(f"getgrnam and one getpwent pass, {n:,}", f"members g{n}")
    whole = Sample(f"bare transaction, all of it, {n:,}", f"transaction whole bare {FIRST_UID} {n}")
    both = Sample(f"… and the same for frames, {n:,}", f"transaction both bare {FIRST_UID} {n}")
    least = Sample("the pass and both tables", "the sum of these two")

    def bare(what):
        taken = ms(elsewhere.run([program("transaction"), what, "bare", str(FIRST_UID), str(n)]))
        for family in ("inet", "netdev") if what == "both" else ("inet",):
            elsewhere.lab.host.check([NFT, "delete", "table", family, "bare"])
        return taken

    for _ in range(rounds):
        place.settle()
        order.add(ms(place.run(place.ctl("order", "--group", f"g{n}"))))
        place.lift("--all")
        members.add(ms(place.run([program("members"), f"g{n}"])))
        whole.add(bare("whole"))
        both.add(bare("both"))
        least.add(members.values[-1] + both.values[-1])
    for sample in (order, members, whole, both, least):
        report.sample(sample)
    report.ratio("ad-hoc order / bare transaction", order.ratio(whole), "at most 1.3")
    report.ratio("ad-hoc order / the pass and both tables", order.ratio(least), "at most 1.3")


def by_size(place, elsewhere, in_memory, report, sizes, rounds):
    all_sizes = [Size(place, elsewhere, n, in_memory) for n in sizes]
    for _ in range(rounds):
        for size in all_sizes:
            size.round()
    for size in all_sizes:
        size.write(report)
    first = all_sizes[0]
    for size in all_sizes[1:]:
        report.ratio(f"order of {size.n:,} / of {first.n:,}", size.order.ratio(first.order), "1")
        report.ratio(f"lift of {size.n:,} / of {first.n:,}", size.lift.ratio(first.lift), "1")
    fsync(place, report, rounds)


def measure(report, sizes, rounds):
    for tool in ("nft", "iptables-nft-restore", "ip6tables-nft-restore", "ss"):
        if not shutil.which(tool, path="/usr/sbin:/usr/bin"):
            report.absent(tool)
    report.section("1. Order and lift, by the number of subjects (exec to exit; fsync of the state included)")
    with Place(sizes, configuration(sizes)) as place, Place(start=False) as elsewhere, \
            Place(sizes, configuration(sizes), in_memory=True) as in_memory:
        by_size(place, elsewhere, in_memory, report, sizes, rounds)
        report.section("1b. Until the last packet of a subject that sends every 20 µs (exec to arrival)")
        last_packets(place, elsewhere, report, [n for n in sizes if n in (100, 100_000)], rounds)
        report.section("1c. In the daemon, until the kernel has acknowledged it (the tables of frames included)")
        within(place, elsewhere, report, sizes, rounds)
        among_hooks(in_memory, elsewhere, report, sizes[-1], rounds)
        if len(sizes) > 1:
            report.section("1d. Two orders, one right after the other (state in memory)")
            in_a_row(in_memory, report, sizes, rounds)
        report.section("1e. An order that is not staged")
        ad_hoc(place, elsewhere, report, max(n for n in sizes if n <= 100_000), max(3, rounds // 3))
