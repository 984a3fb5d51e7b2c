# SPDX-License-Identifier: GPL-2.0-or-later
"""What people and scripts are told: status, attempts, history, the journal, systemd."""

import datetime
import json
import re
import socket

import checks
from lab import ALICE, BOB, INTERNET4, INTERNET6, MALLORY
from netlab import PATIENCE, wait_for

ORDER_KEYS = {"id", "profile", "adhoc", "recovered", "state", "ordered_at", "ordered_at_usec", "ordered_by", "severed",
              "refused", "subjects", "allow", "dns", "saved", "locks", "membership", "warnings"}


def _is_time(text, usec):
    parsed = datetime.datetime.fromisoformat(text)
    assert parsed.tzinfo is not None
    assert abs(parsed.timestamp() - usec / 1e6) < 1.001


def test_order_documents(lab):
    reply = lab.json("order", "staff", "--for", "8h", "--reason", "IR-42")
    assert {"order", "already_in_force", "severed", "warnings"} <= set(reply)
    for order in (reply["order"], lab.orders()["staff"]):
        assert ORDER_KEYS <= set(order), ORDER_KEYS - set(order)
        assert re.fullmatch("[0-9a-f]{32}", order["id"])
        assert (order["profile"], order["state"], order["reason"]) == ("staff", "active", "IR-42")
        assert order["ordered_by"]["uid"] == 0
        assert order["subjects"]["users"] == 3 and order["subjects"]["groups"] == [3000]
        assert order["subjects"]["subordinate_ids"] == 2 * 65536
        _is_time(order["ordered_at"], order["ordered_at_usec"])
        _is_time(order["until"], order["until_usec"])
    assert 0 < lab.orders()["staff"]["remaining_usec"] <= 8 * 3600 * 1_000_000
    status = lab.json("status")
    assert status["in_force"] is True and status["daemon"]["pid"] == lab.daemon.pid
    profiles = {p["name"]: p for p in lab.json("profiles")["profiles"]}
    assert profiles["staff"]["in_force"] is True and profiles["staff"]["members"] == 3
    assert {"ruleset", "covers", "severs"} <= set(lab.json("order", "staff", "--dry-run"))
    lifted = lab.json("lift", "staff", "--reason", "over")
    assert [o["id"] for o in lifted["lifted"]] == [reply["order"]["id"]]
    assert lab.json("status", codes=(3,))["in_force"] is False
    last = lab.json("history")["orders"][0]
    assert (last["id"], last["state"], last["end_reason"]) == (reply["order"]["id"], "lifted", "over")
    assert last["ended_by"]["uid"] == 0


def test_status_at_three_in_the_morning(lab):
    lab.do("order", "staff", "--for", "8h", "--reason", "IR-42")
    text = lab.do("status")
    assert "IN FORCE" in text and "staff" in text and "IR-42" in text and "root" in text
    assert re.search(r"7h 59min|8h", text), text
    assert "3 users" in text
    assert "alice" not in text
    verbose = lab.do("status", "--verbose")
    assert all(name in verbose for name in ("alice", "bob", "backup")), verbose
    assert "\x1b" not in text


def _send(dst, port, count, tcp=False):
    for _ in range(count):
        family = socket.AF_INET6 if ":" in dst else socket.AF_INET
        s = socket.socket(family, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
        s.settimeout(2.0)
        try:
            if tcp:
                s.connect((dst, port))
            else:
                s.sendto(b"0123456789", (dst, port))
        except OSError:
            pass
        s.close()


def test_attempts_are_counted_exactly(lab):
    lab.do("order", "staff")
    lab.host.call(_send, INTERNET4, 1234, 7, who=ALICE)
    lab.host.call(_send, INTERNET6, 4321, 5, who=BOB)
    lab.host.call(_send, INTERNET4, 443, 3, True, who=BOB)
    lab.host.call(_send, INTERNET4, 1234, 9, who=MALLORY)  # not a subject: not an attempt
    lab.probe([lab.spec("ping", INTERNET4)], ALICE)

    def check(profile):
        entries = {(e["user"], e["protocol"], e["address"], e["port"]): e for e in profile["entries"]}
        assert entries["alice", "udp", INTERNET4, 1234]["packets"] == 7
        assert entries["alice", "udp", INTERNET4, 1234]["bytes"] == 7 * (20 + 8 + 10)
        assert entries["bob", "udp", INTERNET6, 4321]["packets"] == 5
        assert entries["bob", "udp", INTERNET6, 4321]["bytes"] == 5 * (40 + 8 + 10)
        assert entries["bob", "tcp", INTERNET4, 443]["packets"] == 3
        assert entries["alice", "icmp", INTERNET4, 0]["packets"] == 1
        assert len(entries) == 4, entries
        assert profile["totals"]["packets"] == profile["itemised_packets"] == 16

    check(lab.json("attempts", "staff")["profiles"][0])
    check(lab.json("attempts")["profiles"][0])
    assert lab.orders()["staff"]["refused"]["packets"] == 16
    text = lab.do("attempts")
    assert re.search(rf"alice +{ALICE.uid} +udp +{INTERNET4} +1234 +7", text), text
    # A reload that replaces rules and a restart lose nothing of it.
    lab.do("reload")
    lab.daemon.end(9)
    lab.start()
    check(lab.json("attempts", "staff")["profiles"][0])
    identity = lab.orders()["staff"]["id"]
    lab.do("lift", "staff")
    check(lab.json("attempts", identity)["profiles"][0])
    last = lab.json("history")["orders"][0]
    assert last["refused"]["packets"] == 16
    # The next order begins at nothing.
    lab.do("order", "staff")
    assert lab.json("attempts", "staff")["profiles"][0]["entries"] == []


def test_explain_agrees_with_the_rules(lab):
    lab.do("order", "staff")
    cases = [("alice", INTERNET4 + ":443", False), ("bob", f"[{INTERNET6}]:443/udp", False),
             ("mallory", INTERNET4 + ":443", True), ("root", INTERNET4 + ":443", True), ("alice", "10.1.2.3:443", True),
             ("alice", "10.0.0.53:53/udp", False), ("alice", "127.0.0.1:3128", False), ("alice", "127.0.0.1:8080", True)]
    for user, destination, allowed in cases:
        answer = lab.json("explain", user, destination)
        assert answer["refused"] is not allowed, (user, destination, answer)
    assert lab.ctl("explain", "nosuchuser", INTERNET4).returncode == 1
    assert lab.ctl("explain", "alice", "nonsense").returncode == 2


def test_the_journal_tells_the_story(lab):
    start = len(lab.entries())
    order = lab.json("order", "staff", "--for", "1h", "--reason", "IR-42")["order"]
    lab.do("extend", "staff", "--for", "2h")
    lab.do("lift", "staff")
    entries = [e for e in lab.entries()[start:] if e.get("LOCKDOWN_ORDER_ID") == order["id"]]
    assert len(entries) == 3, entries
    assert len({e["MESSAGE_ID"] for e in entries}) == 3
    for entry in entries:
        assert re.fullmatch("[0-9a-f]{32}", entry["MESSAGE_ID"])
        assert entry["LOCKDOWN_PROFILE"] == "staff" and entry["LOCKDOWN_REASON"] == "IR-42"
        assert entry["LOCKDOWN_CALLER_UID"] == "0" and "staff" in entry["MESSAGE"]


def test_systemd_is_told_what_is_in_force(lab):
    def last():
        return [m for m in lab.daemon.messages() if m.startswith("STATUS=")][-1]

    assert "READY=1" in lab.daemon.messages()
    lab.do("order", "staff", "--reason", "IR-42")
    wait_for(lambda: "staff" in last() and "IR-42" in last(), PATIENCE, "the status text")
    lab.do("lift", "staff")
    wait_for(lambda: "no lockdown" in last(), PATIENCE, "the status text")


def test_every_verb_speaks_json(lab):
    lab.do("order", "staff")
    for verb in (("status",), ("status", "--verbose"), ("profiles",), ("history",), ("attempts",), ("reload",),
                 ("extend", "staff", "--for", "1h"), ("order", "staff"), ("explain", "alice", INTERNET4),
                 ("lift", "--all"), ("order", "nosuch"), ("bad-verb",), ("order", "staff", "--for", "never")):
        done = lab.ctl(*verb, "--json")
        document = json.loads(done.stdout)
        assert isinstance(document, dict), verb
        assert ("error" in document) == (done.returncode not in (0, 3)), (verb, document)
    assert lab.ctl("order", "staff", "--quiet").stdout == ""
    checks.assert_blocked(lab, ALICE, ("tcp",))
