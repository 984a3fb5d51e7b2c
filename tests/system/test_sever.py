# SPDX-License-Identifier: GPL-2.0-or-later
"""What is already open is cut, nothing queued leaves, and nothing slips through while the order is given."""

import pytest

import checks
import probes
from lab import ALICE, BOB, INTERNAL4, INTERNAL6, INTERNET4, INTERNET6, MALLORY, ROOT
from netlab import PATIENCE, orphans_have_owners, wait_for

CUT = {"ECONNABORTED", "ECONNRESET", "EPIPE", "ECONNREFUSED", "EDESTADDRREQ", "ENOTCONN", "EOF"}


def _open(lab, who, dst, dport=9200, kind="tcp"):
    task = lab.host.spawn(probes.hold, dst, dport, kind, who=who)
    return task, task.receive()


def _far(lab, sport):
    return next(c for c in lab.far.ask("connections") if c["sport"] == sport)


@pytest.mark.parametrize("who", [ALICE, BOB], ids=lambda w: w.name)
def test_open_connections_are_cut(lab, who):
    targets = (INTERNET4, INTERNET6, "::ffff:" + INTERNET4)
    opened = [_open(lab, who, dst) for dst in targets]
    datagrams = [_open(lab, who, dst, kind="udp") for dst in targets]
    kept = [_open(lab, who, dst) for dst in (INTERNAL4, INTERNAL6)] + [_open(lab, who, "127.0.0.1", 8080)]
    others = [_open(lab, w, dst) for w in (MALLORY, ROOT) for dst in targets]
    assert all(t.ask("send") is None for t, _ in opened + datagrams + kept + others)
    reply = lab.json("order", "staff")
    assert reply["severed"] == len(opened) + len(datagrams)
    assert reply["order"]["severed"] == len(opened) + len(datagrams)
    for task, sport in opened:
        assert task.ask("send") in CUT
        wait_for(lambda s=sport: _far(lab, s)["state"] == "reset", PATIENCE, "the peer to see a reset")
    mark = lab.mark()
    for task, _ in datagrams:
        assert task.ask("send") in CUT | checks.REFUSALS
    mine = {sport for _, sport in opened + datagrams}
    assert not [p for p in lab.packets(mark) if p.dport == 9200 and p.sport in mine and not p.only_reset]
    assert [t.ask("send") for t, _ in kept + others] == [None] * len(kept + others)
    assert lab.json("status")["orders"][0]["severed"] == reply["severed"]


def test_the_number_is_told(lab):
    task, _ = _open(lab, ALICE, INTERNET4)
    text = lab.do("order", "staff")
    assert "1 connection was severed" in text, text
    task.kill()


def test_connected_ping_and_raw_sockets_are_cut(lab):
    def hold(channel, kind, protocol, dst):
        s = probes.socket.socket(probes.socket.AF_INET, kind, protocol)
        s.connect((dst, 0))
        channel.send("ready")
        channel.request(None)
        try:
            s.send(b"\x08\0\0\0\0\0\0\1tag-of-a-ping")
            channel.send(None)
        except OSError as e:
            channel.send(probes.errno.errorcode[e.errno])

    tasks = [lab.host.spawn(hold, probes.socket.SOCK_DGRAM, probes.socket.IPPROTO_ICMP, INTERNET4, who=ALICE),
             lab.host.spawn(hold, probes.socket.SOCK_RAW, probes.ANYTHING, INTERNET4, who=ALICE.with_(raw=True))]
    for task in tasks:
        task.receive()
    lab.do("order", "staff")
    mark = lab.mark()
    assert [t.ask("send") in CUT | checks.REFUSALS for t in tasks] == [True, True]
    assert not [p for p in lab.packets(mark) if b"tag-of-a-ping" in p.payload]


@pytest.mark.parametrize("dst", [INTERNET4, INTERNET6], ids=["v4", "v6"])
@pytest.mark.parametrize("how", ["closed", "killed", "open"])
def test_queued_data_never_leaves(lab, dst, how):
    """An orphan has no owner any more that a rule could match."""
    task = lab.host.spawn(probes.stuff, dst, 9100, how == "closed", who=ALICE)
    queued = task.receive()
    assert queued["queued"] > 100_000
    if how == "closed":
        task.ask("close")
    elif how == "killed":
        task.kill()
    lab.do("order", "staff")
    mark = lab.mark()
    heard = _far(lab, queued["sport"])["received"]
    lab.far.ask("hear")  # an orphan that is left would send now
    if how == "open" or orphans_have_owners():
        wait_for(lambda: _far(lab, queued["sport"])["state"] != "open", PATIENCE, "the peer to be told")
    else:
        wait_for(lambda: _far(lab, queued["sport"])["received"] > heard, PATIENCE, "the peer to make room for more")
    sent = [p for p in lab.packets(mark) if p.sport == queued["sport"] and not p.only_reset]
    assert not sent, f"{sum(p.length for p in sent)} bytes left after the order returned"


def test_a_download_stops(lab):
    mine = lab.host.spawn(probes.transfer, INTERNET4, 9001, who=BOB)
    hers = lab.host.spawn(probes.transfer, INTERNET4, 9001, who=MALLORY)
    mine.receive(), hers.receive()
    wait_for(lambda: mine.ask("report")["received"] > 1000 and hers.ask("report")["received"] > 1000)
    lab.do("order", "staff")
    stopped, going = mine.ask("report"), hers.ask("report")
    assert stopped["error"] in CUT
    wait_for(lambda: hers.ask("report")["received"] > going["received"] + 10_000, PATIENCE, "progress")
    assert mine.ask("report")["received"] == stopped["received"]


@pytest.mark.parametrize("who", [ALICE, BOB], ids=lambda w: w.name)
def test_nothing_begun_after_the_order_returned_arrives(lab, who):
    task = lab.host.spawn(probes.hammer, INTERNET4, INTERNET6, 9300, range(20000, 32000), who=who)
    mark = lab.mark()
    task.receive()
    wait_for(lambda: len([p for p in lab.packets(mark) if p.dport == 9300]) > 100)
    lab.do("order", "staff")
    returned = probes.time.monotonic()
    wait_for(lambda: probes.time.monotonic() > returned + 0.3)
    begun = task.ask("stop")
    before = {sport for sport, at in begun if at <= returned}
    after = {sport for sport, at in begun if at > returned}
    assert len(before) > 50 and len(after) > 50, (len(before), len(after))
    arrived = {p.sport for p in lab.packets(mark) if p.dport == 9300 and not p.only_reset}
    assert len(arrived & before) > 50
    assert not arrived & after


def test_a_race_of_sockets_leaves_none_open(lab):
    """Connections made in the very moment of the order are cut, too."""

    def connect(channel):
        held = []
        channel.send("ready")
        while channel.request() is None:
            s = probes.socket.socket()
            s.settimeout(1.0)
            try:
                s.connect((INTERNET4, 9301))
                held.append(s)
            except OSError:
                pass
        alive = 0
        for s in held:
            try:
                s.send(b"late:")
                alive += 1
            except OSError:
                pass
        channel.send(alive)

    task = lab.host.spawn(connect, who=ALICE)
    task.receive()
    wait_for(lambda: len([c for c in lab.far.ask("connections") if c["state"] == "open"]) > 50)
    lab.do("order", "staff")
    assert task.ask("stop") == 0
