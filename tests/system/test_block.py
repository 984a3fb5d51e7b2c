# SPDX-License-Identifier: GPL-2.0-or-later
"""Who is blocked and from what: judged by what arrives in the world."""

import struct

import pytest

import checks
import lab as lab_
from checks import assert_blocked, assert_free, assert_passed, assert_refused
from lab import (ALICE, BACKUP, BOB, CAROL, ERIN, HOST4, HOST6, INTERNAL4, INTERNAL6, INTERNET4, INTERNET6, MALLORY,
                 PARTNER4, PARTNER6, RESOLVER4, RESOLVER6, ROOT, STAFF)

CONFIGURATION = """\
[Access]
Order=root @lockdown
Lift=root @lockdown

[Profile staff]
Groups=staff
ExceptUsers=backup
Allow=internal

[Profile contractors]
Groups=contractors

[Profile partner]
Groups=contractors
Allow=203.0.113.10:443/tcp
Allow=203.0.113.20:8000-8010/udp 100.64.0.0/16
Allow=[2001:db8:1::10]:443/tcp

[Profile names]
Groups=contractors
DNS=allow

[Profile redirect]
Groups=contractors
DNS=10.0.0.53 fd00:1::53

[Profile proxy]
Groups=contractors
LoopbackDeny=8080

[Profile none]
Groups=contractors
Allow=none

[Profile all]
Everyone=yes
ExceptUsers=backup
"""


@pytest.mark.parametrize("who", [ALICE, BOB], ids=["primary", "supplementary"])
def test_members_lose_the_internet_and_nothing_else(lab, who):
    assert_free(lab, who)
    lab.do("order", "staff", "--reason", "test")
    assert_blocked(lab, who)
    lab.do("lift", "staff")
    assert_free(lab, who)


@pytest.mark.parametrize("who", [
    ALICE.with_(gid=ALICE.uid, groups=()),  # after newgrp to another group
    BOB.with_(gid=STAFF),  # after newgrp to the listed one
    MALLORY.with_(gid=STAFF),  # a setgid program run by somebody not listed
], ids=["left-the-group", "newgrp", "group-only"])
def test_changing_groups_is_no_way_out(lab, who):
    lab.do("order", "staff")
    assert_blocked(lab, who)


@pytest.mark.parametrize("who", [BOB, ALICE], ids=lambda w: w.name)
def test_subordinate_uids_are_blocked(lab, who):
    kinds = ("tcp", "udp", "udp-connected", "udplite", "ping")
    assert_passed(lab.probe_as_subordinate(checks.outside(lab, kinds), who))
    lab.do("order", "staff")
    assert_refused(lab.probe_as_subordinate(checks.outside(lab, kinds), who))
    assert_passed(lab.probe_as_subordinate(checks.inside(lab), who))


@pytest.mark.parametrize("who", [MALLORY, ROOT, BACKUP.with_(gid=BACKUP.uid, groups=(BACKUP.uid,)), BACKUP],
                         ids=["non-member", "root", "excepted", "excepted-with-the-group"])
def test_others_are_left_alone(lab, who):
    lab.do("order", "staff")
    assert_free(lab, who)


def test_others_lose_not_one_packet(lab):
    with checks.unharmed(lab, MALLORY, ROOT):
        lab.do("order", "staff", "--for", "1h")
        lab.do("order", "contractors")
        lab.do("order", "--user", "erin", "--name", "one")
        lab.do("extend", "staff", "--for", "2h")
        lab.do("reload")
        lab.do("lift", "staff")
        lab.do("lift", "--all")


def test_nothing_outside_goes_by_multicast_or_broadcast(lab):
    specs = [lab.spec("udp", dst, 9999, reply=False) for dst in ("239.255.1.1", "ff0e::1234", "255.255.255.255")]
    assert all(r["arrived"] for r in lab.probe(specs, ALICE))
    lab.do("order", "staff")
    assert_refused(lab.probe(specs, ALICE), arrived_only=True)


def test_address_translation_opens_no_way(lab):
    """The first judgement sees an internal address, the last one where the packet really goes."""
    lab.host.nft(f"""table inet door {{
        chain out {{
            type nat hook output priority -100;
            ip daddr {INTERNAL4} meta l4proto {{ tcp, udp }} dnat ip to {INTERNET4}
            ip6 daddr {INTERNAL6} meta l4proto {{ tcp, udp }} dnat ip6 to {INTERNET6}
        }}
    }}""")
    specs = [lab.spec(kind, dst, 9999) for kind in ("tcp", "udp") for dst in (INTERNAL4, INTERNAL6)]
    try:
        assert_passed(lab.probe(specs, ALICE))
        lab.do("order", "staff")
        again = [lab.spec(s["kind"], s["dst"], s["dport"]) for s in specs]
        assert_refused(lab.probe(again, ALICE, timeout=0.3), arrived_only=True)
        assert_passed(lab.probe([lab.spec(s["kind"], s["dst"], s["dport"]) for s in specs], MALLORY))
    finally:
        lab.host.nft("delete table inet door")


def _segment_routed(lab, final, first, who):
    """A datagram whose IPv6 destination is FIRST and whose routing header leads on to FINAL. Arrived?"""
    spec = lab.spec("udp", final)

    def send():
        s = lab_.socket.socket(lab_.socket.AF_INET6, lab_.socket.SOCK_DGRAM)
        header = struct.pack("!BBBBBBH", 0, 4, 4, 1, 1, 0, 0)
        segments = lab_.socket.inet_pton(s.family, final) + lab_.socket.inet_pton(s.family, first)
        try:
            s.setsockopt(lab_.socket.IPPROTO_IPV6, lab_.socket.IPV6_RTHDR, header + segments)
            s.sendto(spec["tag"].encode(), (final, 443))
        except OSError as e:
            return lab_.probes.errno.errorcode[e.errno]
        return None

    mark = lab.mark()
    error = lab.host.call(send, who=who)
    return error, any(spec["tag"].encode() in p.payload for p in lab.packets(mark))


def test_routing_headers_open_no_way(lab):
    error, arrived = _segment_routed(lab, INTERNET6, INTERNAL6, ALICE)
    if error:
        pytest.skip(f"this kernel sends no segment routing header ({error})")
    assert arrived
    lab.do("order", "staff")
    _, arrived = _segment_routed(lab, INTERNET6, INTERNAL6, ALICE)
    assert not arrived


def test_own_server_answers_nobody_outside(lab):
    """What comes in from outside for a subject gets no answer; from inside it does."""

    def serve(channel):
        s = lab_.socket.create_server(("::", 7070), family=lab_.socket.AF_INET6, dualstack_ipv6=True)
        channel.send("ready")
        held = []
        while True:
            held.append(s.accept())

    def connect(source, target):
        try:
            lab_.socket.create_connection((target, 7070), timeout=0.4, source_address=(source, 0)).close()
            return True
        except OSError:
            return False

    task = lab.host.spawn(serve, who=ALICE)
    task.receive()
    pairs = [(INTERNET4, HOST4), ("2001:db8::7", HOST6)]
    for source, target in pairs[:1]:
        assert lab.world.call(connect, source, target)
    lab.do("order", "staff")
    mark = lab.mark()
    for source, target in pairs[:1]:
        assert not lab.world.call(connect, source, target)
    answers = [p for p in lab.packets(mark) if p.sport == 7070 and not p.only_reset]
    assert not answers, answers
    assert lab.world.call(connect, INTERNAL4, HOST4)


# --- destinations ---


def test_local_doors_are_shut(lab):
    """Proxies and resolvers on this machine lead outside; other local services go on."""
    ports = (3128, 8118, 9050, 53, 853, 5353, 5355)
    specs = [lab.spec(kind, dst, port) for kind in ("tcp", "udp") for dst in ("127.0.0.1", "::1") for port in ports]
    assert_passed(lab.probe(specs, ALICE), local=True)
    lab.near.ask("forget")
    lab.do("order", "staff")
    again = [lab.spec(s["kind"], s["dst"], s["dport"]) for s in specs]
    results = lab.probe(again, ALICE)
    assert_refused(results)
    served = lab.near.ask("udp") + [c["sport"] for c in lab.near.ask("connections")]
    assert not [checks.line(r) for r in results if r["sport"] in served or r["tag"].encode() in served]
    assert_passed(lab.probe(checks.loopback(lab), ALICE), local=True)
    assert_passed(lab.probe([lab.spec("udp", "127.0.0.1", 53)], MALLORY), local=True)


def test_loopback_deny_lists_what_it_says(lab):
    lab.do("order", "proxy")
    assert_refused(lab.probe([lab.spec("tcp", "127.0.0.1", 8080), lab.spec("tcp", "::1", 8080)], CAROL))
    assert_passed(lab.probe([lab.spec("tcp", "127.0.0.1", 9999), lab.spec("tcp", "::1", 9999)], CAROL), local=True)


def test_dns_deny(lab):
    """The default: no resolver anywhere, an internal one included, for a tunnel may lead through it."""
    specs = [lab.spec(kind, dst, port) for kind in ("tcp", "udp") for dst in (RESOLVER4, RESOLVER6)
             for port in (53, 853, 5353, 5355)]
    lab.do("order", "staff")
    assert_refused(lab.probe(specs, ALICE))


def test_dns_allow(lab):
    lab.do("order", "names")
    assert_passed(lab.probe([lab.spec(kind, dst, 53) for kind in ("tcp", "udp") for dst in (RESOLVER4, RESOLVER6)],
                            CAROL))
    assert_passed(lab.probe([lab.spec("udp", dst, 53) for dst in ("127.0.0.1", "::1")], CAROL), local=True)
    assert_refused(lab.probe([lab.spec("udp", dst, 53) for dst in (INTERNET4, INTERNET6)], CAROL))


def test_dns_redirect(lab):
    lab.do("order", "redirect")
    specs = [lab.spec(kind, dst, 53) for kind in ("udp", "udp-connected", "tcp")
             for dst in (INTERNET4, INTERNET6, RESOLVER4, RESOLVER6)]
    mark = lab.mark()
    results = lab.probe(specs, CAROL)
    bad = [checks.line(r) for r in results if r["error"] or not r["reply"]]
    assert not bad, bad
    went = {(p.dst, p.dport) for p in lab.packets(mark) if p.dport == 53}
    assert went == {(RESOLVER4, 53), (RESOLVER6, 53)}, went
    assert_refused(lab.probe([lab.spec("udp", INTERNET4, 443), lab.spec("tcp", INTERNET6, 443)], CAROL))
    mark = lab.mark()  # others' questions go where they asked
    lab.probe([lab.spec("udp", INTERNET4, 53)], MALLORY)
    assert {p.dst for p in lab.packets(mark) if p.dport == 53} == {INTERNET4}


def test_allowed_endpoints(lab):
    lab.do("order", "partner")
    assert_passed(lab.probe([
        lab.spec("tcp", PARTNER4, 443), lab.spec("tcp", PARTNER6, 443), lab.spec("tcp", "::ffff:" + PARTNER4, 443),
        lab.spec("udp", "203.0.113.20", 8000), lab.spec("udp", "203.0.113.20", 8010), lab.spec("udp", "100.64.1.1", 9),
        lab.spec("ping", "100.64.255.255")], CAROL))
    assert_refused(lab.probe([
        lab.spec("udp", PARTNER4, 443), lab.spec("tcp", PARTNER4, 444), lab.spec("tcp", PARTNER6, 442),
        lab.spec("tcp", "203.0.113.11", 443), lab.spec("udp", "203.0.113.20", 7999), lab.spec("ping", PARTNER4),
        lab.spec("udp", "203.0.113.20", 8011), lab.spec("tcp", "203.0.113.20", 8005), lab.spec("tcp", INTERNET4),
        lab.spec("udp", INTERNAL4), lab.spec("tcp", INTERNAL6), lab.spec("udp", "100.64.1.1", 53)], CAROL))


def test_allow_none_isolates(lab):
    lab.do("order", "none")
    assert_refused(lab.probe(checks.outside(lab) + checks.inside(lab), CAROL.with_(raw=True)))
    assert_passed(lab.probe(checks.loopback(lab), CAROL), local=True)


# --- everyone, ad hoc, several at a time ---


def test_everyone_but_the_excepted(lab):
    lab.do("order", "all")
    for who in (ALICE, MALLORY, ERIN, MALLORY.with_(uid=54321, gid=54321)):
        assert_blocked(lab, who)
    assert_refused(lab.probe_as_subordinate([lab.spec("tcp", INTERNET4), lab.spec("udp", INTERNET6)], BOB))
    for who in (BACKUP, ROOT):
        assert_free(lab, who)


@pytest.mark.parametrize("arguments, blocked, free", [
    (("--group", "contractors"), (CAROL,), (ALICE, MALLORY)),
    (("--user", "mallory", "--user", "erin"), (MALLORY, ERIN), (ALICE, CAROL)),
    (("--group", "staff", "--user", "carol"), (ALICE, BOB, CAROL), (MALLORY,)),
    (("--everyone",), (ALICE, CAROL, MALLORY), (ROOT,)),
], ids=["group", "users", "both", "everyone"])
def test_ad_hoc(lab, arguments, blocked, free):
    lab.do("order", *arguments, "--name", "tonight")
    assert list(lab.orders()) == ["tonight"]
    for who in blocked:
        assert_blocked(lab, who, ("tcp", "udp"))
    for who in free:
        assert_free(lab, who, ("tcp", "udp"))
    lab.do("lift", "tonight")
    for who in blocked:
        assert_free(lab, who, ("tcp", "udp"))
    assert "tonight" not in lab.tables()


def test_ad_hoc_allow(lab):
    lab.do("order", "--user", "erin", "--allow", "203.0.113.10:443/tcp", "--allow", "2001:db8:1::/48")
    assert list(lab.orders()) == ["adhoc"]
    assert_passed(lab.probe([lab.spec("tcp", PARTNER4, 443), lab.spec("udp", PARTNER6, 1234)], ERIN))
    assert_refused(lab.probe([lab.spec("tcp", PARTNER4, 80), lab.spec("tcp", INTERNET4), lab.spec("tcp", INTERNAL4),
                              lab.spec("udp", INTERNET6)], ERIN))


def test_each_of_several_orders_holds_by_itself(lab):
    lab.do("order", "staff")
    lab.do("order", "--group", "staff", "--user", "mallory", "--allow", PARTNER4, "--name", "second")
    # Refused by either is refused: internal by the second, the partner by the first.
    assert_refused(lab.probe([lab.spec("tcp", INTERNET4), lab.spec("udp", INTERNAL4), lab.spec("tcp", PARTNER4)], BOB))
    assert_passed(lab.probe([lab.spec("tcp", PARTNER4)], MALLORY))
    lab.do("lift", "second")
    assert_blocked(lab, BOB, ("tcp", "udp"))
    assert_free(lab, MALLORY, ("tcp",))
    lab.do("order", "--user", "bob", "--name", "third")
    lab.do("lift", "staff")
    assert_blocked(lab, BOB, ("tcp", "udp"))
    assert_free(lab, ALICE, ("tcp",))
    lab.do("lift", "third")
    assert_free(lab, BOB, ("tcp",))


# --- what is not a socket of the subject's own on this host ---


def test_forward_deny(labs):
    """A container behind this host: with Forward=deny it loses the outside, too; with the default it does not."""
    own = labs("[Profile keep]\nGroups=staff\n[Profile deny]\nGroups=staff\nForward=deny\n")
    container = own.container(1)
    try:
        def through(dst):
            spec = own.spec("tcp", dst)
            mark = own.mark()
            result = container.call(lab_.probes.probe, spec)
            return result["reply"], any(lab_.seen(p, spec) for p in own.packets(mark))

        assert through(INTERNET4) == (True, True)
        own.do("order", "keep")
        assert through(INTERNET4) == (True, True)
        own.do("order", "deny")
        assert through(INTERNET4) == (None, False)
        assert through(INTERNAL4) == (True, True)
        own.do("lift", "deny")
        assert through(INTERNET4) == (True, True)
    finally:
        container.close()


class Login:
    """A member's login session, and programs in it that have become somebody else's."""

    def __init__(self, own, who):
        self.own = own
        self.scope = f"{own.cgroup}/user.slice/user-{who.uid}.slice/session-1.scope"
        lab_.os.makedirs(self.scope)

    def _probe(self, specs):
        with open(f"{self.scope}/cgroup.procs", "w", encoding="ascii") as f:
            f.write("0")
        self.own.host.enter_namespaces()
        MALLORY.become()
        return lab_.probes.probe_all(specs)

    def probe(self):
        specs = [self.own.spec("tcp", INTERNET4), self.own.spec("udp", INTERNET6)]
        mark = self.own.mark()
        task = lab_.netlab.fork_task(lambda: None, self._probe, specs)
        return self.own._judge(specs, task.result(), mark)


@pytest.fixture(params=["auto", "no"])
def sessions(labs, request):
    own = labs("[Profile plain]\nGroups=staff\n"
               f"[Profile sessions]\nGroups=staff\nSessions=yes\nSecondLock={request.param}\n")
    checks.wait_for(lambda: len(own.tables()) == 2, checks.PATIENCE, "both tables to be staged")
    return own


def test_sessions(sessions):
    """With Sessions=yes what was started from a member's login is blocked, whatever uid it has by now; also if that
    login is younger than the staged table."""
    login = Login(sessions, ALICE)
    assert_passed(login.probe())
    sessions.do("order", "plain")
    assert_passed(login.probe())
    sessions.do("order", "sessions")
    assert_refused(login.probe())
    assert_free(sessions, MALLORY, ("tcp", "udp"))


def test_a_login_while_the_directory_is_silent(sessions):
    sessions.do("order", "sessions")
    lab_.os.kill(sessions.daemon.child("--resolver-worker"), lab_.signal.SIGSTOP)
    login = Login(sessions, ALICE)
    checks.wait_for(lambda: not any(r["arrived"] or r["error"] == "TIMEOUT" for r in login.probe()), checks.PATIENCE,
                    "the session to be held by the rules")
