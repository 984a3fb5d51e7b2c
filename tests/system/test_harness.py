# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab itself: without a lock everything arrives, behind a wall nothing does, and a hole is noticed."""

import pytest

import checks
import probes
from lab import ALICE, BOB, INTERNAL4, INTERNET4, INTERNET6, MALLORY, ROOT, Lab


@pytest.fixture(scope="module")
def bare():
    with Lab(start=False) as lab:
        yield lab


@pytest.mark.parametrize("who", [ALICE, BOB, MALLORY, ROOT], ids=lambda w: w.name)
def test_without_a_lock_everything_arrives(bare, who):
    checks.assert_free(bare, who)
    checks.assert_passed(bare.probe(checks.loopback(bare), who), local=True)


def test_subordinate_uids_are_somebody_else(bare):
    bare.host.nft(f"table inet wall {{\nchain o {{\ntype filter hook output priority 0; meta skuid {BOB.uid} drop\n}}\n}}")
    specs = [bare.spec("tcp", INTERNET4), bare.spec("udp", INTERNET6)]
    try:
        checks.assert_passed(bare.probe_as_subordinate(specs, BOB))
    finally:
        bare.host.nft("delete table inet wall")


def test_behind_a_wall_nothing_arrives(bare):
    bare.host.nft(f"table inet wall {{\nchain o {{\ntype filter hook output priority 0; meta skuid {ALICE.uid} drop\n}}\n}}")
    try:
        specs = checks.outside(bare) + [bare.spec("tcp", INTERNAL4)]
        results = bare.probe(specs, ALICE.with_(raw=True), timeout=0.1)
        assert not [checks.line(r) for r in results if r["arrived"]]
        # A wall that swallows is not a refusal: programs hang, and the tests must say so.
        with pytest.raises(AssertionError, match="not told"):
            checks.assert_refused(results)
        assert checks.quick(bare, MALLORY)
    finally:
        bare.host.nft("delete table inet wall")


def test_a_hole_is_noticed(bare):
    bare.host.nft(f"table inet wall {{\nchain o {{\ntype filter hook output priority 0; udp dport 5000 accept\n"
             f"meta skuid {ALICE.uid} reject with icmpx admin-prohibited\n}}\n}}")
    try:
        specs = [bare.spec("udp", INTERNET4), bare.spec("udp", INTERNET6)]
        checks.assert_refused(bare.probe(specs, ALICE))
        with pytest.raises(AssertionError, match="arrived in the world"):
            checks.assert_refused(bare.probe([*specs, bare.spec("udp", INTERNET4, 5000)], ALICE))
    finally:
        bare.host.nft("delete table inet wall")


def test_a_lost_packet_is_noticed(bare):
    with checks.unharmed(bare, MALLORY):
        pass
    # Dropped at the very end, where the sender is not told.
    bare.host.nft("table netdev wall {\nchain e {\ntype filter hook egress device eth0 priority 0;\n}\n}")
    try:
        with pytest.raises(AssertionError, match="lost"):
            with checks.unharmed(bare, MALLORY):
                bare.host.nft("add rule netdev wall e udp dport 9000 numgen inc mod 10 == 5 drop")
                for _ in range(5):
                    checks.quick(bare, MALLORY)
                bare.host.nft("flush chain netdev wall e")
    finally:
        bare.host.nft("delete table netdev wall")


def test_an_orphan_goes_on_sending(bare):
    """What severing is for: a socket nobody owns any more still delivers what was queued."""
    task = bare.host.spawn(probes.stuff, INTERNET4, 9100, who=ALICE)
    queued = task.receive()
    assert queued["queued"] > 100_000
    task.ask("close")
    mark = bare.mark()
    bare.far.ask("hear")
    checks.wait_for(lambda: sum(p.length for p in bare.packets(mark) if p.sport == queued["sport"]) > 50_000)


def test_two_labs_at_a_time(bare):
    with Lab(start=False) as other:
        assert checks.quick(other, ALICE)
        other.host.nft(f"table inet wall {{\nchain o {{\ntype filter hook output priority 0; meta skuid {ALICE.uid} drop\n"
                  "}\n}")
        assert not checks.quick(other, ALICE)
        assert checks.quick(bare, ALICE)
