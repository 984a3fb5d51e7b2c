# SPDX-License-Identifier: GPL-2.0-or-later
"""What explain says, against what real packets do: a table of users and destinations, for several plans."""

import json
import re

import pytest

from lab import (ALICE, BACKUP, BOB, CAROL, HOST4, HOST6, INTERNAL4, INTERNAL6, INTERNET4, INTERNET6, MALLORY, OWN4,
                 PARTNER4, PARTNER6, RESOLVER4, RESOLVER6, ROOT)

CONFIGURATION = """\
[Profile default]
Groups=staff
ExceptUsers=backup

[Profile none]
Groups=staff
ExceptUsers=backup
Allow=none

[Profile partner]
Groups=staff
Users=carol
ExceptUsers=backup
Allow=203.0.113.10:443/tcp 203.0.113.20:8000-8010/udp
Allow=[2001:db8:1::10]:443/tcp 10.0.0.53:53
LoopbackDeny=8080

[Profile names]
Groups=staff
ExceptUsers=backup
DNS=allow

[Profile redirect]
Groups=staff
ExceptUsers=backup
DNS=10.0.0.53 fd00:1::53

[Profile redirect4]
Groups=staff
ExceptUsers=backup
DNS=10.0.0.53

[Profile tight]
Groups=staff
ExceptUsers=backup
Allow=203.0.113.10 2001:db8:1::/48
DNS=allow

[Profile all]
Everyone=yes
ExceptUsers=backup
"""

SUBORDINATE = ALICE.with_(name="100033", uid=100033, gid=100033, groups=())
STRANGER = MALLORY.with_(name="54321", uid=54321, gid=54321, groups=())
USERS = (ALICE, BOB, CAROL, BACKUP, MALLORY, ROOT, SUBORDINATE, STRANGER)

TABLE = [
    *((kind, dst, 443) for kind in ("tcp", "udp", "ping") for dst in
      (INTERNET4, INTERNET6, INTERNAL4, INTERNAL6, PARTNER4, PARTNER6)),
    ("tcp", "172.16.5.5", 443), ("udp", "192.168.7.7", 9), ("tcp", "100.64.1.1", 443), ("ping", "100.64.255.255", 0),
    ("tcp", "::ffff:" + INTERNET4, 443), ("tcp", "::ffff:" + INTERNAL4, 443), ("tcp", "::ffff:" + PARTNER4, 443),
    # an endpoint's neighbours
    ("tcp", PARTNER4, 442), ("tcp", PARTNER4, 444), ("tcp", "203.0.113.11", 443), ("tcp", PARTNER6, 444),
    ("udp", "203.0.113.20", 7999), ("udp", "203.0.113.20", 8000), ("udp", "203.0.113.20", 8010),
    ("udp", "203.0.113.20", 8011), ("tcp", "203.0.113.20", 8005), ("ping", "203.0.113.20", 0),
    # resolver ports
    *((kind, dst, port) for kind, port in (("udp", 53), ("tcp", 53), ("tcp", 853), ("udp", 5353)) for dst in
      (INTERNET4, INTERNET6, RESOLVER4, RESOLVER6)), ("udp", PARTNER4, 53), ("tcp", PARTNER6, 53),
    # this machine: loopback, own addresses, one of them public, and none
    *(("tcp", dst, port) for dst in ("127.0.0.1", "127.9.9.9", "::1", HOST4, HOST6, OWN4) for port in
      (53, 3128, 8080, 9999)), ("udp", "127.0.0.1", 53), ("udp", OWN4, 9999), ("ping", OWN4, 0), ("ping", "::1", 0),
    ("tcp", "0.0.0.0", 9999), ("tcp", "::", 3128), ("tcp", "::ffff:127.0.0.1", 8080),
    # to many
    ("multicast", "224.0.0.251", 9999), ("multicast", "239.255.1.1", 9999), ("multicast", "ff02::1234", 9999),
    ("multicast", "ff0e::1234", 9999), ("multicast", "224.0.0.251", 5353), ("multicast", "255.255.255.255", 9999),
    ("multicast", "10.99.0.255", 9999),
]


def _question(kind, dst, port):
    if kind == "ping":
        return dst
    return f"{'[%s]' % dst if ':' in dst else dst}:{port}/{'tcp' if kind == 'tcp' else 'udp'}"


def _explain_all(lab, who, table):
    """The answers, from one shell: a program each would take longer than all of the rest."""
    script = "".join(f'"$0" explain --json {who.name} "{_question(*row)}" || exit 1\n' for row in table)
    out = lab.host.check(["/bin/sh", "-c", script, lab.path("bin/lockdownctl")], env=lab.environment(), timeout=60)
    return [json.loads(line) for line in out.splitlines()]


def _try_all(lab, who, table):
    """Did anything get where it was sent (or, on this machine, did it get an answer)?"""
    specs = [lab.spec("udp" if kind == "multicast" else kind, dst, port, reply=kind != "multicast")
             for kind, dst, port in table]
    return lab.probe(specs, who, timeout=1.0)


def _compare(lab, who, table=tuple(TABLE)):
    answers, results = _explain_all(lab, who, table), _try_all(lab, who, table)
    wrong = []
    for row, answer, result in zip(table, answers, results):
        passed = result["error"] is None and result["reply"] if answer["local"] else result["arrived"]
        if bool(passed) is answer["refused"]:
            wrong.append(f"{who.name}: {_question(*row)}: explain: {json.dumps(answer)}; the packet: {result}")
    assert not wrong, "\n".join(wrong)
    return [answer["refused"] for answer in answers]


@pytest.mark.slow
@pytest.mark.parametrize("orders", [
    (), ("default",), ("none",), ("partner",), ("names",), ("redirect",), ("redirect4",), ("all",),
    ("default", "partner"), ("redirect", "tight"), ("redirect4", "names"),
], ids="+".join)
def test_explain_says_what_packets_do(lab, orders):
    for name in orders:
        lab.do("order", name)
    refused = {who.name: _compare(lab, who) for who in USERS}
    if not orders:
        assert not any(any(row) for row in refused.values())
        return
    assert any(refused["alice"]) and refused["alice"] == refused["bob"] == refused["100033"]
    assert not any(refused["root"])
    assert not all(refused["alice"])  # this machine's own services
    if "all" in orders:
        assert refused["mallory"] == refused["54321"] == refused["alice"] and not any(refused["backup"])
    else:
        assert any(refused["carol"]) is ("partner" in orders)
        assert not any(refused["backup"] + refused["mallory"] + refused["54321"])


def test_a_destination_routed_to_this_machine_is_on_it(lab):
    lab.do("order", "none")
    rows = [("tcp", "198.18.0.1", 9999), ("tcp", "198.18.0.1", 3128), ("tcp", "2001:db8:99::1", 9999)]
    before = _compare(lab, ALICE, rows)
    lab.host.check(["/usr/sbin/ip", "-batch", "-"], stdin="route add local 198.18.0.0/15 dev lo\n"
                   "route add local 2001:db8:99::/64 dev lo\n")
    try:
        assert (before, _compare(lab, ALICE, rows)) == ([True, True, True], [False, True, False])
    finally:
        lab.host.check(["/usr/sbin/ip", "-batch", "-"], stdin="route del local 198.18.0.0/15 dev lo\n"
                       "route del local 2001:db8:99::/64 dev lo\n")


# --- which line ---

LINES = """\
[Profile staff]
Groups=lockdown
# a remark
Groups=contractors staff
Users=erin
ExceptUsers=backup
ExceptGroups=nobodys
Allow=internal
Allow=203.0.113.10:443/tcp 203.0.113.12
DNS=deny
LoopbackDeny=3128
LoopbackDeny=8080-8090 9050
"""

# user, destination, part of the verdict, key, word, number of the line
CASES = [
    ("alice", "198.51.100.7:443", "destination", "Allow", "internal", 8),
    ("alice", "10.1.2.3:443", "destination", "Allow", "internal", 8),
    ("alice", "203.0.113.12:80/udp", "destination", "Allow", "203.0.113.12", 9),
    ("alice", "203.0.113.10:443", "destination", "Allow", "203.0.113.10:443/tcp", 9),
    ("alice", "203.0.113.10", "destination", "Allow", "203.0.113.10:443/tcp", 9),
    ("alice", "10.0.0.53:53/udp", "destination", "DNS", "deny", 10),
    ("alice", "127.0.0.1:53/udp", "destination", "DNS", "deny", 10),
    ("alice", "127.0.0.1:3128", "destination", "LoopbackDeny", "3128", 11),
    ("alice", OWN4 + ":8085", "destination", "LoopbackDeny", "8080-8090", 12),
    ("alice", INTERNET4, "user", "Groups", "staff", 4),
    ("2002", INTERNET4, "user", "Groups", "staff", 4),
    ("carol", INTERNET4, "user", "Groups", "contractors", 4),
    ("oper", INTERNET4, "user", "Groups", "lockdown", 2),
    ("erin", INTERNET4, "user", "Users", "erin", 5),
    ("200033", INTERNET4, "user", "Groups", "staff", 4),  # of bob's
    ("backup", INTERNET4, "user", "ExceptUsers", "backup", 6),
]


def _assert_lines(lab, cases, moved=0, order="staff"):
    for user, destination, part, key, word, number in cases:
        verdicts = {v["profile"]: v for v in lab.json("explain", user, destination)["verdicts"]}
        verdict, because = verdicts[order], verdicts[order][part]
        assert (because["key"], because["word"], because["source"]) == (key, word, "file"), (user, destination, because)
        assert because["file"] == lab.path("configuration/lockdownd.conf") and because["line"] == number + moved, because
        if part == "destination" or not verdict["covers"]:
            assert (verdict["file"], verdict["line"]) == (because["file"], because["line"])
        text = lab.do("explain", user, destination)
        assert f"({key}={word}, {because['file']}:{because['line']})" in text, text


def test_the_line_that_decides_is_named_also_after_a_restart_and_a_reload(labs):
    lab = labs(LINES)
    lab.do("order", "staff")
    _assert_lines(lab, CASES)
    lab.daemon.end()
    # What is in force answers, and it was saved with its lines: the file has others by now, and a mistake.
    lab.configure("nonsense\n" + LINES)
    lab.start()
    _assert_lines(lab, CASES)
    lab.configure("# moved\n# by two\n" + LINES)
    lab.do("reload")
    _assert_lines(lab, CASES, moved=2)
    lab.configure("# nothing\n")  # and where the profile is gone
    lab.do("reload")
    _assert_lines(lab, CASES[:2], moved=2)


def test_words_without_a_line_say_why(lab):
    lab.do("order", "default")
    because = lab.json("explain", "alice", INTERNET4)["verdicts"][0]["destination"]
    assert (because["key"], because["word"], because["source"]) == ("Allow", "internal", "built in")
    lab.do("lift", "default")
    lab.do("order", "--group", "staff", "--allow", PARTNER4, "--name", "tonight")
    verdict = lab.json("explain", "alice", PARTNER4)["verdicts"][0]
    assert not verdict["refused"] and "file" not in verdict
    assert (verdict["user"]["word"], verdict["user"]["source"]) == ("staff", "ad hoc")
    assert (verdict["destination"]["word"], verdict["destination"]["source"]) == (PARTNER4, "ad hoc")
    assert re.search(r"who: .*\(Groups=staff, ad hoc\)\n.*where:.*\(Allow=203.0.113.10, ad hoc\)",
                     lab.do("explain", "alice", PARTNER4))
    lab.do("lift", "--all")
    assert lab.json("explain", "alice", INTERNET4)["verdicts"] == []
