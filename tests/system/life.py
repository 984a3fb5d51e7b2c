# SPDX-License-Identifier: GPL-2.0-or-later
"""A long life in a short time: everything that is asked of a daemon, again and again, in an order that the seed decides."""

import os
import random
import subprocess

import netlab
import probes
from lab import BOB, ERIN, INTERNET4, MALLORY, OPERATOR
from netlab import wait_for

KEPT = 40  # finished orders
CONFIGURATION = f"""\
[Access]
Order=root @lockdown
Lift=root @lockdown

[Record]
KeepOrders={KEPT}

[Profile staff]
Groups=staff

[Profile other]
Groups=contractors
Allow=internal 203.0.113.10:443/tcp

[Profile relayed]
Groups=contractors
DNS=10.0.0.53 fd00:1::53

[Profile held]
Users=erin
Services=squid proxy@*.service
"""
BROKEN = CONFIGURATION.replace("Groups=contractors", "Groups=nosuch")
CHANGED = CONFIGURATION.replace("Allow=internal 203.0.113.10:443/tcp", "Allow=internal 203.0.113.0/24\nSessions=yes").replace(
    "[Profile staff]\nGroups=staff", "[Profile staff]\nGroups=staff nobodys\nForward=deny")
WITHOUT_RELAY = CONFIGURATION.replace("DNS=10.0.0.53 fd00:1::53", "DNS=deny")


def _runner(channel):
    """Runs programs for Life: a child of this small process costs a tenth of one of pytest's."""
    channel.send("ready")
    while True:
        argv, env, who, timeout = channel.request(None)
        whose = {} if who is netlab.ROOT else {"user": who.uid, "group": who.gid, "extra_groups": list(who.groups)}
        try:
            done = subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                                  timeout=timeout, **whose)
            channel.send((done.returncode, done.stdout + done.stderr))
        except subprocess.TimeoutExpired:
            channel.send((None, f"not done within {timeout} s"))


class Life:
    """One cycle is one call; nothing is in force, and the configuration is the first one, before and after it, but what
    ends by itself within a second."""

    def __init__(self, lab, seed, timeout=30.0):
        self.lab, self.random, self.timeout = lab, random.Random(seed), timeout
        self.runner = lab.host.spawn(_runner)
        self.runner.receive()
        self.unit = os.path.join(lab.cgroup, "system.slice/squid.service")
        os.makedirs(os.path.dirname(self.unit))
        self.kinds = [(self.by_profile, 6), (self.by_group, 4), (self.extended, 2), (self.expiring, 2), (self.changed, 2),
                      (self.joined, 2), (self.relayed, 1), (self.held, 2), (self.refused, 2), (self.asked, 2),
                      (self.broken, 1), (self.severing, 2), (self.devices, 1), (self.unconfirmed, 1)]
        self.done = {}

    def cycle(self):
        kind = self.random.choices([k for k, _ in self.kinds], [w for _, w in self.kinds])[0]
        self.done[kind.__name__] = self.done.get(kind.__name__, 0) + 1
        kind()

    def settle(self):
        """Until nothing is in force, and nobody is being looked up or answered."""
        wait_for(lambda: not self.lab.orders(), self.timeout, "the expiries")
        self.do("reload")
        wait_for(lambda: len(os.listdir(self.lab.path("state/history"))) <= KEPT, self.timeout, "the record within its bounds")

    def do(self, *words, codes=(0,), who=netlab.ROOT):
        self.run(self.lab.path("bin/lockdownctl"), *words, codes=codes, who=who)

    def run(self, *argv, codes=(0,), who=netlab.ROOT):
        code, said = self.runner.ask(argv, self.lab.environment(), who, self.timeout, timeout=self.timeout + 10)
        assert code in codes, f"{' '.join(argv)}: exit {code}\n{said}"
        return said

    # --- the kinds of cycles ---

    def by_profile(self):
        name = self.random.choice(("staff", "other"))
        self.do("order", name, "--reason", "again", who=self.random.choice((netlab.ROOT, OPERATOR)))
        self.do("lift", name)

    def by_group(self):
        self.do("order", "--group", "staff", "--user", "carol", "--name", "night")
        self.do("lift", "--all")

    def extended(self):
        self.do("order", "staff", "--for", "1h")
        self.do("extend", "staff", "--for", "2h")
        self.do("lift", "staff")

    def expiring(self):
        self.do("order", "--user", "carol", "--name", "short", "--for", "1s")

    def unconfirmed(self):
        self.do("order", "--user", "carol", "--name", "unsure", "--confirm-within", "1s")

    def changed(self):
        self.do("order", "staff")
        for text in (CHANGED, CONFIGURATION):
            self.lab.configure(text)
            self.do("reload")
        self.do("lift", "staff")

    def joined(self):
        """Erin joins and leaves while the order is in force; who asks waits until that is known."""
        self.do("order", "staff")
        self.lab.edit("group", lambda text: text.replace("staff:x:3000:bob", "staff:x:3000:bob,erin"))
        self.do("reload")
        self.lab.edit("group", lambda text: text.replace("staff:x:3000:bob,erin", "staff:x:3000:bob"))
        self.do("reload")
        self.do("lift", "staff")

    def relayed(self):
        self.do("order", "relayed")
        self.lab.configure(WITHOUT_RELAY)
        self.do("reload")
        self.lab.configure(CONFIGURATION)
        self.do("reload")
        self.do("lift", "relayed")

    def held(self):
        os.mkdir(self.unit)
        self.do("order", "held")
        os.rmdir(self.unit)
        os.mkdir(self.unit)
        self.do("lift", "held")
        os.rmdir(self.unit)

    def refused(self):
        self.do("lift", "--all", who=MALLORY, codes=(4,))
        self.do("order", "nosuch", codes=(1,))
        self.do("order", "--group", "nosuch", codes=(1,))
        self.do("order", "staff", "--until", "2001-01-01 00:00", codes=(1, 2))

    def asked(self):
        self.do("order", "other")
        for words in (("status", "--verbose"), ("attempts",), ("explain", "carol", INTERNET4), ("verify",), ("history",)):
            self.do(*words)
        self.do("order", "staff", "--dry-run")
        self.do("lift", "other")

    def broken(self):
        self.lab.configure(BROKEN)
        self.do("reload", codes=(1,))
        self.lab.configure(CONFIGURATION)
        self.do("reload")

    def severing(self):
        who = self.random.choice((BOB, ERIN))
        held = self.lab.host.spawn(probes.hold, INTERNET4, 9200, who=who)
        held.receive()
        self.do("order", "--user", "bob", "--user", "erin", "--name", "cut")
        listed = self.run("/usr/bin/ss", "-Htuwane", "dst", INTERNET4)  # orphans included
        assert not [line for line in listed.splitlines() if f"uid:{who.uid}" in line and "TIME-WAIT" not in line], listed
        held.kill()
        self.lab.host.tasks.remove(held)
        self.do("lift", "cut")

    def devices(self):
        self.do("order", "staff")
        self.run("/usr/sbin/ip", "link", "add", "more0", "type", "veth", "peer", "name", "more1")
        self.do("verify")
        self.run("/usr/sbin/ip", "link", "delete", "more0")
        self.do("lift", "staff")

