# SPDX-License-Identifier: GPL-2.0-or-later
"""IPv6 lets everybody send from an address that is not the machine's: whatever answers would carry the packet there."""

import itertools
import socket

import checks
import probes
from lab import ALICE, BOB, HOST6, INTERNAL6, INTERNET6
from netlab import PATIENCE, wait_for

CHOSEN = "2001:db8:dead::1"  # where the answer is to go: the person's own server on the internet
_attempts = itertools.count(1)


def _reflected(lab, who):
    """What arrived that carries the payload, wherever it comes from and goes to."""
    tag = b"reflected %d:" % next(_attempts)  # an answer to an earlier attempt may still be under way
    mark = lab.mark()
    lab.host.call(probes.reflect_all, CHOSEN, (INTERNET6, HOST6, "::1", INTERNAL6), tag + b"x" * 400, who=who)
    return [p for p in lab.packets(mark) if tag in p.payload]


def test_no_answer_carries_it_out(lab):
    wait_for(lambda: _reflected(lab, ALICE), PATIENCE, "the control: without the lock it gets out")
    lab.do("order", "staff")
    for who in (ALICE, BOB):
        assert not _reflected(lab, who)
        checks.assert_blocked(lab, who)
    assert lab.orders()["staff"]["refused"]["packets"] >= 10
    lab.do("lift", "staff")
    assert _reflected(lab, ALICE)


def test_link_local_addresses_are_the_machine_s_own(lab):
    address = next(word.split("/")[0] for word in lab.world.check(
        ["/usr/sbin/ip", "-6", "-o", "addr", "show", "dev", "world0", "scope", "link"]).split() if word.startswith("fe80"))

    def send():
        s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        s.sendto(b"neighbour", (address, 4998, 0, socket.if_nametoindex("eth0")))

    def arrives():
        mark = lab.mark()
        lab.host.call(send, who=ALICE)
        return any(p.dport == 4998 for p in lab.packets(mark))

    wait_for(arrives, PATIENCE, "the neighbour")
    lab.do("order", "staff")
    assert arrives()
