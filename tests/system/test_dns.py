# SPDX-License-Identifier: GPL-2.0-or-later
"""DNS=: whose questions go where. Judged by what the resolver in the world's internal network was asked, what else
arrived there, and what the resolver on the host itself (the lab's "near" servers) was asked."""

import os
import re
import signal

import pytest

import checks
import lab as lab_
import nameserver as dns
from checks import assert_passed, assert_refused
from lab import (ALICE, CAROL, HOST4, HOST6, INTERNAL4, INTERNAL6, INTERNET4, INTERNET6, MALLORY, OWN4, RESOLVER4, RESOLVER6,
                 ROOT)
from netlab import PATIENCE, wait_for

CONFIGURATION = """\
[Access]
Order=root
Lift=root

[Profile deny]
Groups=staff

[Profile allow]
Groups=contractors
DNS=allow

[Profile both]
Groups=contractors
Allow=internal
DNS=10.0.0.53 fd00:1::53

[Profile plain]
Groups=contractors
DNS=10.0.0.53 fd00:1::53
SecondLock=no

[Profile four]
Groups=contractors
DNS=10.0.0.53
LoopbackDeny=1024-65535
Allow=internal 10.0.0.99:53

[Profile six]
Groups=contractors
DNS=fd00:1::53

[Profile own]
Groups=contractors
DNS=10.99.0.2

[Profile sessions]
Groups=contractors
Sessions=yes
DNS=10.0.0.53
LoopbackDeny=1024-65535

[Profile all]
Everyone=yes
DNS=10.0.0.53

[Profile nobody]
Users=nobody
Allow=none
"""

STUBS = ("127.0.0.53", "127.0.0.1", "::1")
OTHER4 = "10.0.0.99"


def _serve(lab, *more):
    """A resolver in the world's internal network, at both addresses and MORE."""
    lab.world.nft(f"""table inet resolver {{
        chain in {{
            type nat hook prerouting priority dstnat - 10;
            ip daddr {{ {", ".join((RESOLVER4, *more))} }} meta l4proto {{ tcp, udp }} th dport 53 redirect to :{dns.PORT}
            ip6 daddr {RESOLVER6} meta l4proto {{ tcp, udp }} th dport 53 redirect to :{dns.PORT}
        }}
    }}""")
    task = lab.world.spawn(dns.serve)
    task.receive()
    return task


@pytest.fixture
def resolver(lab):
    task = _serve(lab)
    lab.near.ask("forget")
    yield task
    task.kill()
    lab.world.tasks.remove(task)
    lab.world.nft("delete table inet resolver")


def _near_was_asked(lab, word=b"test"):
    """What the real resolver on the host heard."""
    heard = [data for data in lab.near.ask("udp") if word in data]
    return heard + [c for c in lab.near.ask("connections") if c["received"]]


def _relays(lab):
    """The relay's processes, by pid, with their addresses."""
    return lab.daemon.children("--dns-relay")


def _relay(lab):
    return wait_for(lambda: list(_relays(lab)) or None, PATIENCE, "the relay to run")[0]


def _port(lab, name):
    listed = lab.host.check(["/usr/sbin/nft", "list", "set", "inet", f"lockdown-{name}", "relay4"])
    return int(re.search(r"elements = \{ \S+ \. \w+ \. (\d+)", listed)[1])  # a protocol's name takes /etc/protocols


def _staged(lab):
    """Waits until the profiles are, which begins when the daemon is ready."""
    count = CONFIGURATION.count("[Profile ")
    wait_for(lambda: len(lab.tables()) == count, PATIENCE, "all tables to be staged")


def _answered(answer):
    return isinstance(answer, dict) and answer.get("addresses") == 1 and answer["code"] == 0


# --- deny and allow ---


def test_deny(lab):
    """The default: no resolver port anywhere, this machine's own addresses included."""
    specs = [(kind, dst, port) for kind in ("tcp", "udp") for port in (53, 853, 5353, 5355)
             for dst in (INTERNET4, INTERNET6, RESOLVER4, RESOLVER6, *STUBS, HOST4, HOST6)]
    lab.near.ask("forget")
    outside = [s for s in specs if s[1] not in (INTERNET4, INTERNET6)]
    assert_passed(lab.probe([lab.spec(*s) for s in outside], ALICE), local=True)
    lab.near.ask("forget")
    lab.do("order", "deny")
    results = lab.probe([lab.spec(*s) for s in specs], ALICE)
    assert_refused(results)
    assert not _near_was_asked(lab, b"tag")
    assert_passed(lab.probe([lab.spec("udp", "127.0.0.53", 53)], MALLORY), local=True)
    assert _near_was_asked(lab, b"tag")


def test_allow(lab):
    lab.do("order", "allow")
    assert_passed(lab.probe([lab.spec(kind, dst, port) for kind in ("tcp", "udp") for port in (53, 853, 5353, 5355)
                             for dst in (RESOLVER4, RESOLVER6)], CAROL))
    assert_passed(lab.probe([lab.spec(kind, dst, 53) for kind in ("tcp", "udp") for dst in STUBS], CAROL), local=True)
    assert_refused(lab.probe([lab.spec(kind, dst, 53) for kind in ("tcp", "udp") for dst in (INTERNET4, INTERNET6)],
                             CAROL))


# --- DNS=ADDRESS ---


@pytest.mark.parametrize("profile, families", [("both", {4, 6}), ("four", {4}), ("six", {6}), ("plain", {4, 6})])
def test_whichever_server_is_asked_the_address_answers(lab, resolver, profile, families):
    lab.do("order", profile)
    assert lab.orders()[profile]["locks"]["second_lock"] == ("in force" if profile != "plain" else "off (SecondLock=no)")
    mark = lab.mark()
    servers = (*STUBS, HOST4, HOST6, INTERNET4, INTERNET6, INTERNAL4, INTERNAL6, RESOLVER4, RESOLVER6)
    for server in servers:
        answers = [lab.host.call(dns.ask, server, "udp.test", who=CAROL)]
        answers += lab.host.call(dns.ask_all, server, ["tcp.test"], who=CAROL)
        assert [a for a in answers if _answered(a)] == answers, (server, answers)
    asked = resolver.ask("asked")
    assert len(asked) == 2 * len(servers)
    assert {family for _, _, family in asked} == families
    assert {(p.dst, p.dport) for p in lab.packets(mark) if p.dst != lab_.WORLD4} == {(dst, 53) for dst, family in
                                                             ((RESOLVER4, 4), (RESOLVER6, 6)) if family in families}
    assert not _near_was_asked(lab)
    # Others ask whom they ask.
    lab.host.call(dns.ask, "127.0.0.53", "mine.test", 0, 0.2, who=MALLORY)
    assert _near_was_asked(lab)
    specs = [lab.spec(kind, dst, port) for kind in ("tcp", "udp") for port in (853, 5353, 5355)
             for dst in (*STUBS, RESOLVER4, RESOLVER6, INTERNET4)]
    assert_refused(lab.probe(specs, CAROL))


def test_a_resolver_on_this_very_machine(lab):
    """DNS=ADDRESS may be an address of the host's own: the resolver there answers, the one on the loopback too, for it
    is the same program here."""
    lab.do("order", "own")
    lab.near.ask("forget")
    specs = [lab.spec(kind, dst, 53) for kind in ("udp", "tcp")
             for dst in (HOST4, *STUBS, HOST6, INTERNET4, INTERNET6, RESOLVER4, RESOLVER6)]
    results = lab.probe(specs, CAROL)
    assert_passed(results, local=True)
    assert not [checks.line(r) for r in results if r["arrived"]]
    heard = lab.near.ask("udp")
    assert sorted(heard) == sorted(s["tag"].encode() for s in specs if s["kind"] == "udp")
    assert {c["peer"] for c in lab.near.ask("connections")} <= {HOST4, OWN4, "127.0.0.1"}


def test_sessions_are_redirected_too(labs):
    """By their control group, which is asked for before the last judgement."""
    own = labs(CONFIGURATION)
    resolver = _serve(own)
    scope = f"{own.cgroup}/user.slice/user-{CAROL.uid}.slice/session-1.scope"
    os.makedirs(scope, exist_ok=True)

    def inside_session():
        with open(f"{scope}/cgroup.procs", "w", encoding="ascii") as f:
            f.write("0")
        own.host.enter_namespaces()
        MALLORY.become()
        return [(dns.ask(server, "udp.test"), dns.ask_all(server, ["tcp.test"]))
                for server in (*STUBS, INTERNET4, INTERNET6)]

    own.do("order", "sessions")
    for udp, tcp in lab_.netlab.fork_task(lambda: None, inside_session).result():
        assert _answered(udp) and _answered(tcp[0]), (udp, tcp)
    assert len(resolver.ask("asked")) == 10
    assert not _near_was_asked(own)


def test_allowed_endpoints_and_explain_agree(lab, resolver):
    lab.do("order", "four")
    mark = lab.mark()
    lab.host.call(dns.ask, OTHER4, "other.test", 0, 0.5, who=CAROL)
    assert {p.dst for p in lab.packets(mark) if p.dport == 53} == {OTHER4}
    assert not resolver.ask("asked")
    for server in ("127.0.0.53", "[::1]", INTERNET4, f"[{INTERNET6}]"):
        said = lab.do("explain", "carol", f"{server}:53/udp")
        assert "the question goes to the resolver 10.0.0.53 instead (DNS=10.0.0.53" in said, said
    said = lab.do("explain", "carol", "127.0.0.53:853/tcp")
    assert "853 is a resolver port, and this machine's resolver asks outside (DNS=10.0.0.53" in said, said


@pytest.mark.parametrize("server", ["127.0.0.53", "::1", INTERNET4, INTERNET6])
def test_big_answers_and_many_questions(lab, resolver, server):
    lab.do("order", "four")
    whole = lab.host.call(dns.ask, server, "big.test", 4200, who=CAROL)
    assert whole.get("addresses") == dns.BIG and whole["size"] > 4000, whole
    cut = lab.host.call(dns.ask, server, "big.test", who=CAROL)
    assert cut.get("cut") and cut["size"] <= 512, cut
    for half in (False, True):
        names = [f"{'big' if n % 2 else 'small'}-{n}.test" for n in range(20)]
        answers = lab.host.call(dns.ask_all, server, names, 5.0, half, who=CAROL)
        assert [a["addresses"] for a in answers] == [1, dns.BIG] * 10, answers
        assert [a["number"] for a in answers] == list(range(20))


def test_programs_find_names_by_way_of_a_stub(lab, resolver):
    """glibc's own resolver, with the resolv.conf of a machine that runs systemd-resolved."""
    etc = lab.path("etc")
    lab_._write(os.path.join(etc, "resolv.conf"), "nameserver 127.0.0.53\noptions edns0 trust-ad timeout:2\n")
    lab_._write(os.path.join(etc, "nsswitch.conf"), "passwd: files\ngroup: files\nhosts: files dns\n")
    try:
        lab.do("order", "four")
        small = lab.host.check(["/usr/bin/getent", "ahostsv4", "intranet.test"], who=CAROL, join=True)
        assert small.split()[0] == dns.ADDRESS
        assert ("intranet.test", "udp", 4) in resolver.ask("asked")
        assert not _near_was_asked(lab)
        lab.host.check(["/usr/bin/getent", "ahostsv4", "big.test"], who=CAROL, join=True)
        assert {kind for _, kind, _ in resolver.ask("asked")} == {"udp", "tcp"}  # it did not fit
    finally:
        os.unlink(os.path.join(etc, "resolv.conf"))
        lab_._write(os.path.join(etc, "nsswitch.conf"), "passwd: files\ngroup: files\nshadow: files\nhosts: files\n")


def test_the_relay_may_whoever_else_may_not(lab, resolver):
    """Its own packets are nobody's whom an order covers; and Everyone=yes covers whoever is not root."""
    lab.do("order", "all")
    lab.do("order", "nobody")
    assert _answered(lab.host.call(dns.ask, "127.0.0.53", "udp.test", who=MALLORY))
    assert _answered(lab.host.call(dns.ask_all, "::1", ["tcp.test"], who=MALLORY)[0])
    # What it runs as, it has of its own no more than others.
    nobody = lab_.Who("nobody", 65534, 65534)
    assert_refused(lab.probe([lab.spec("udp", RESOLVER4, 53), lab.spec("tcp", INTERNET4, 443)], nobody))


def _from_outside_to_the_loopback(lab, port, name):
    """On a host that lets such packets in."""
    def serve(channel):
        s = lab_.socket.socket(lab_.socket.AF_INET, lab_.socket.SOCK_DGRAM)
        s.bind(("127.0.0.1", 5999))
        channel.send("ready")
        channel.send(s.recv(2048))

    mac = lab.host.check(["/usr/sbin/ip", "-o", "link", "show", "eth0"]).split("link/ether ")[1].split()[0]
    control = lab.host.spawn(serve)
    control.receive()
    for setting in ("all", "eth0"):
        lab.host.call(lab_._write, f"/proc/sys/net/ipv4/conf/{setting}/route_localnet", "1", None)
    for where in (port, 5999):
        lab.world.call(dns.inject, "world0", mac, lab_.WORLD4, "127.0.0.1", where, name)
    assert b"outside" in control.receive()  # the second one came in
    for setting in ("all", "eth0"):
        lab.host.call(lab_._write, f"/proc/sys/net/ipv4/conf/{setting}/route_localnet", "0", None)


def test_the_relay_is_a_way_for_nobody_else(lab, resolver):
    """Not for those whom another order leaves no resolver, nor from outside, nor before somebody is sent there."""
    _staged(lab)
    port = _port(lab, "four")
    assert lab.host.call(dns.ask, "127.0.0.1", "early.test", 0, 0.3, port, who=ALICE)["error"]
    lab.do("order", "four")
    lab.do("order", "deny")
    assert _answered(lab.host.call(dns.ask, "127.0.0.53", "member.test", who=CAROL))
    for who in (ALICE, CAROL, MALLORY, ROOT):
        for server in ("127.0.0.1", "::1"):
            assert "error" in lab.host.call(dns.ask, server, "direct.test", 0, 0.3, port, who=who)
            assert "error" in lab.host.call(dns.ask_all, server, ["direct.test"], 0.3, False, port, who=who)
    for server in (HOST4, HOST6):
        assert "error" in lab.world.call(dns.ask, server, "outside.test", 0, 0.3, port)
    _from_outside_to_the_loopback(lab, port, "outside.test")
    assert _answered(lab.host.call(dns.ask, "127.0.0.53", "last.test", who=CAROL))
    assert {name for name, _, _ in resolver.ask("asked")} == {"member.test", "last.test"}


def test_another_tables_translation_takes_nothing_past_it(lab, resolver):
    """Somebody else sends questions to a port that says nothing of DNS: refused, not answered from there."""
    def questions(who):
        return lab.probe([lab.spec(kind, dst, 53) for kind in ("udp", "tcp") for dst in ("127.0.0.53", INTERNET4)],
                         who, timeout=0.3)

    lab.host.nft("""table inet other {
        chain out {
            type nat hook output priority -110;
            ip daddr 127.0.0.53 meta l4proto { tcp, udp } th dport 53 redirect to :9999
            ip daddr 198.51.100.7 meta l4proto { tcp, udp } th dport 53 dnat ip to 10.1.2.3:9999
        }
    }""")
    try:
        lab.near.ask("forget")
        assert_passed(questions(MALLORY), local=True)
        assert _near_was_asked(lab, b"tag")
        lab.do("order", "four")
        lab.near.ask("forget")
        assert_refused(questions(CAROL), arrived_only=True)
        assert not _near_was_asked(lab, b"tag")
    finally:
        lab.host.nft("delete table inet other")


# --- the process ---


def test_it_comes_and_goes_with_the_order(lab, resolver):
    assert not _relays(lab)
    _staged(lab)
    descriptors = lab.daemon.descriptors()
    for _ in range(3):
        lab.do("order", "four")
        lab.do("order", "both")
        found = wait_for(lambda: len(_relays(lab)) == 2 and _relays(lab), PATIENCE, "two relays")
        assert sorted(found.values()) == [[RESOLVER4], [RESOLVER4, RESOLVER6]]
        with open(f"/proc/{list(found)[0]}/status", encoding="ascii") as f:
            status = dict(line.split(":", 1) for line in f.read().splitlines())
        assert status["Uid"].split() == ["65534"] * 4 and int(status["CapPrm"], 16) == 0
        assert int(status["CapBnd"], 16) == 0 and status["NoNewPrivs"].strip() == "1"
        lab.do("lift", "--all")
        wait_for(lambda: not _relays(lab), PATIENCE, "the relays to end")
    wait_for(lambda: lab.daemon.descriptors() == descriptors, PATIENCE, "the descriptors to be as before")


def test_killed_it_is_back_and_the_stub_is_not_asked(lab, resolver):
    lab.do("order", "four")
    port = _port(lab, "four")
    for _ in range(3):
        pid = _relay(lab)
        os.kill(pid, signal.SIGKILL)
        answer = lab.host.call(dns.ask, "127.0.0.53", "patient.test", 0, 5.0, who=CAROL)
        assert _answered(answer), answer
        assert _relay(lab) != pid
        assert _port(lab, "four") == port
    assert not _near_was_asked(lab)
    assert any("was started again" in e.get("MESSAGE", "") for e in lab.entries())  # status only until the next look


def test_no_resolver_is_told_at_once(lab, resolver):
    """What the address answers with an error, the relay does not swallow."""
    lab.do("order", "four")
    _relay(lab)
    resolver.kill()
    for server in ("127.0.0.53", "::1"):
        answer = lab.host.call(dns.ask, server, "dead.test", 1232, 1.0, who=CAROL)
        assert answer.get("code") == 2 and answer["addresses"] == 0, answer
        assert lab.host.call(dns.ask_all, server, ["dead.test"], 1.0, who=CAROL)["error"] in ("ECONNRESET", "EPIPE")


def test_while_it_stands_still_nobody_else_answers(lab, resolver):
    lab.do("order", "four")
    pid = _relay(lab)
    os.kill(pid, signal.SIGSTOP)
    assert lab.host.call(dns.ask, "127.0.0.53", "stopped.test", 0, 0.5, who=CAROL) == {"error": "TIMEOUT"}
    assert not _near_was_asked(lab) and not resolver.ask("asked")
    os.kill(pid, signal.SIGCONT)
    assert _answered(lab.host.call(dns.ask, "127.0.0.53", "going.test", who=CAROL))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_it_goes_with_the_daemon_and_comes_with_the_next(lab, resolver, how):
    lab.do("order", "four")
    pid, port = _relay(lab), _port(lab, "four")
    lab.daemon.end(how)
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"), PATIENCE, "the relay to end")
    for server in ("127.0.0.53", "::1"):
        assert lab.host.call(dns.ask, server, "dead.test", 0, 0.5, who=CAROL) == {"error": "ECONNREFUSED"}
        assert lab.host.call(dns.ask_all, server, ["dead.test"], 0.5, who=CAROL) == {"error": "ECONNREFUSED"}
    assert not _near_was_asked(lab) and not resolver.ask("asked")
    lab.start()
    assert _port(lab, "four") == port
    said = [e["MESSAGE"] for e in lab.entries()]
    assert said[-1] == "four was still in force and is taken over", said
    assert _answered(lab.host.call(dns.ask, "127.0.0.53", "back.test", who=CAROL))


def test_a_port_that_somebody_took_meanwhile(lab, resolver):
    """Then another one: the table is changed, and its members' questions are answered as before."""
    def take(channel, port):
        held = []
        for kind in (lab_.socket.SOCK_DGRAM, lab_.socket.SOCK_STREAM):
            s = lab_.socket.socket(lab_.socket.AF_INET, kind)
            s.setsockopt(lab_.socket.SOL_SOCKET, lab_.socket.SO_REUSEADDR, 1)
            s.bind(("127.0.0.1", port))
            held.append(s)
        channel.send("ready")
        channel.request(None)

    lab.do("order", "four")
    pid, port = _relay(lab), _port(lab, "four")
    lab.daemon.end(signal.SIGKILL)
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"), PATIENCE, "the relay to end")
    lab.host.spawn(take, port).receive()
    lab.start()
    assert _port(lab, "four") != port
    assert _answered(lab.host.call(dns.ask, "127.0.0.53", "moved.test", who=CAROL))


def test_a_reload_sends_questions_to_the_new_address(labs):
    own = labs(CONFIGURATION)
    _serve(own, "10.0.0.54")

    def went(name):
        mark = own.mark()
        assert _answered(own.host.call(dns.ask, "127.0.0.53", name, who=CAROL))
        return {p.dst for p in own.packets(mark) if p.dport == 53}

    own.do("order", "four")
    assert went("before.test") == {RESOLVER4}
    port = _port(own, "four")
    own.configure(CONFIGURATION.replace("DNS=10.0.0.53\nLoop", "DNS=10.0.0.54\nLoop"))
    own.do("reload")
    assert went("after.test") == {"10.0.0.54"}
    assert _port(own, "four") == port
    assert list(_relays(own).values()) == [["10.0.0.54"]]
    own.configure(CONFIGURATION.replace("DNS=10.0.0.53\nLoop", "DNS=deny\nLoop"))
    own.do("reload")
    wait_for(lambda: not _relays(own), PATIENCE, "the relay to end")
    assert own.host.call(dns.ask, "127.0.0.53", "never.test", 0, 0.5, who=CAROL)["error"] in checks.REFUSALS


# --- bounds ---


def _memory(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def test_a_flood_does_not_grow_it(lab, resolver):
    """Ten thousand questions that nobody answers, and ten thousand that are; and more connections than it takes."""
    lab.do("order", "four")
    pid = _relay(lab)
    assert _answered(lab.host.call(dns.ask, "127.0.0.53", "first.test", who=CAROL))
    lab.host.call(dns.flood, "127.0.0.53", 2000, "easy", who=CAROL)
    before, descriptors = _memory(pid), len(os.listdir(f"/proc/{pid}/fd"))
    for name in ("deaf", "easy"):
        assert lab.host.call(dns.flood, "127.0.0.53", 10000, name, who=CAROL) > 9000
    lab.host.spawn(dns.hold, "127.0.0.53", 300, who=CAROL).receive()
    wait_for(lambda: _answered(lab.host.call(dns.ask, "127.0.0.53", "later.test", 0, 1.0, who=CAROL)), PATIENCE,
             "an answer after the flood")
    wait_for(lambda: isinstance(lab.host.call(dns.ask_all, "127.0.0.53", ["tcp.test"], 1.0, who=CAROL), list), PATIENCE,
             "an answer over TCP beside those who say nothing")
    assert _relay(lab) == pid
    assert _memory(pid) - before < 2048, (before, _memory(pid))
    assert len(os.listdir(f"/proc/{pid}/fd")) <= descriptors + 64
