# SPDX-License-Identifier: GPL-2.0-or-later
"""What a lock must leave: the person's internal network, everybody else's everything, the machine's necessities."""

import identities
import person
from lab import ALICE, BACKUP, BOB, ERIN, MALLORY, ROOT
from suite import INSIDE, LOOPBACK, Row, by


def _local(stage, ways):
    """A service on loopback: heard of only in what it says, which a non-member carries out."""
    doors = {way.family: ("tcp", LOOPBACK[way.family], 8888) for way in ways}
    stage.service(person.relay, ways, MALLORY, doors=doors)
    task = stage.person(person.ask_door, ways, doors=doors)
    yield
    stage.go(task)


def _stays_free(stage, ways):
    """Removed from the group while locked: free within a second."""
    stage.edit("group", lambda text: text.replace("staff:x:3000:bob", "staff:x:3000:bob,erin"))
    if stage.lab.daemon:
        stage.lab.do("reload")
    task = stage.person(person.knock, ways, ERIN)
    yield
    stage.edit("group", lambda text: text.replace("bob,erin", "bob"))
    identities.until(stage, ERIN, free=True)
    stage.go(task)


def _restored(who):
    """A program that kept running through it all."""

    def play(stage, ways):
        task = stage.person(person.knock, ways, who)
        yield
        yield
        stage.go(task)

    return play


ROWS = (
    *(Row(0, f"the person's {kind} to the internal network", by(person.knock, BOB, kinds=(kind,), dst=INSIDE),
          arrives=True) for kind in ("tcp", "udp", "ping")),
    Row(0, "a service on loopback", _local, arrives=True),
    *(Row(0, f"somebody else's new {kind}", by(person.knock, MALLORY, kinds=(kind,)), arrives=True)
      for kind in ("tcp", "udp", "ping")),
    *(Row(0, f"somebody else's open {kind}", by(person.go_on, MALLORY, kind=kind), arrives=True)
      for kind in ("tcp", "udp-connected")),
    Row(0, "somebody else's DNS", by(person.knock, MALLORY, kinds=("udp",), dport=53), arrives=True),
    Row(0, "root's open tcp", by(person.go_on, ROOT, kind="tcp"), arrives=True),
    Row(0, "NTP by root", by(person.knock, ROOT, kinds=("udp",), dport=123), arrives=True),
    Row(0, "root's packet socket, as DHCP has one", by(person.packet_socket, ROOT, how="cooked"), arrives=True),
    Row(0, "a member who is excepted", by(person.knock, BACKUP), keys=("ExceptUsers=backup",), arrives=True),
    Row(0, "removed from the group while locked", _stays_free, arrives=True, daemon=True),
    Row(0, "a member after the lift", _restored(ALICE), arrives=True),
)
