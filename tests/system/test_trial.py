# SPDX-License-Identifier: GPL-2.0-or-later
"""verify tries, it does not only compare: in a subject's name, without a trace in the record or on the wire."""

import os
import shutil
import socket

import pytest

import checks
import probes
from checks import quick
from lab import ALICE, BOB, CONFIGURATION, MALLORY, build_directory
from netlab import PATIENCE, wait_for

NOT_HOLDING = "262ef907b80c4a42802f87e2a2ee1230"
OUTSIDE4, OUTSIDE6 = "192.0.2.199", "2001:db8:ffff::199"
PAYLOAD = b"lockdownd tries"
SO_MARK = 36

# Another program's rule, before ours, that sends the outside address to an inside one: nothing that comparing finds.
DETOUR = f"""table inet other {{
chain c {{
type filter hook output priority -400
ip daddr {OUTSIDE4} ip daddr set 10.1.2.3
}}
}}
"""


@pytest.fixture
def own(labs):
    return labs(CONFIGURATION)


def _verdict(lab, name="staff", codes=(0,)):
    verdicts = {v["profile"]: v for v in lab.json("verify", codes=codes)["verified"]}
    return verdicts[name]


def _first_look(lab, name="staff"):
    return wait_for(lambda: lab.orders()[name].get("trial"), PATIENCE, "the first trial")


def _profile(lines):
    return CONFIGURATION.replace("Allow=internal\n", lines)


def _assert_as_ordered(text):
    assert text.startswith("as ordered, as uid "), text
    assert f"{OUTSIDE4} refused" in text and f"{OUTSIDE6} refused" in text, text
    assert "10.255.255.254 let pass" in text and "fffe let pass" in text, text


def test_it_is_tried_and_leaves_no_trace(own):
    mark = own.mark()
    own.do("order", "staff")
    _assert_as_ordered(_first_look(own))  # by itself, a moment after the order
    seen = set()
    for _ in range(3):
        verdict = _verdict(own)
        assert verdict["holds"] and not verdict["repaired"] and "problem" not in verdict
        _assert_as_ordered(verdict["trial"])
        seen.add(verdict["trial"].split("uid ")[1].split(":")[0])
    assert len(seen) > 1  # another member each time
    assert "Tried: as ordered" in own.do("status")
    assert not [p for p in own.packets(mark) if PAYLOAD in p.payload]  # neither outside nor inside
    attempts = own.json("attempts")["profiles"][0]
    assert attempts["entries"] == [] and attempts["totals"]["packets"] == 0, attempts
    assert own.orders()["staff"]["refused"]["packets"] == 0
    assert not quick(own, ALICE)
    refused = own.orders()["staff"]["refused"]["packets"]
    assert refused == 2  # the person's own count as ever
    _verdict(own)
    assert own.orders()["staff"]["refused"]["packets"] == refused
    own.do("lift", "staff")
    assert own.json("history")["orders"][0]["refused"]["packets"] == refused
    assert quick(own, ALICE)


def test_an_attempt_of_the_person_at_the_same_address_is_recorded(own):
    own.do("order", "staff")
    _first_look(own)
    own.probe([own.spec("udp", OUTSIDE4, 9, reply=False)], ALICE)
    entries = own.json("attempts")["profiles"][0]["entries"]
    assert [(e["uid"], e["address"], e["port"], e["packets"]) for e in entries] == [(ALICE.uid, OUTSIDE4, 9, 1)]


def _send_marked(channel, dst):
    """Datagrams that look like a trial's, as fast as they go; first says what keeps it from that."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    error = probes.attempt(s.setsockopt, socket.SOL_SOCKET, SO_MARK, 4301)
    channel.send(error)
    while channel.request() is None:
        for _ in range(100):
            probes.attempt(s.sendto, b"not a trial", (dst, 9))


def test_who_can_set_the_mark_proves_nothing(own):
    """From Linux 5.17 on that takes no more than a capture program has. Nothing gets out by it, and what it makes
    uncertain is said to be."""
    forger = BOB.with_(raw=True)
    own.do("order", "staff")
    _first_look(own)
    mark = own.mark()
    forging = own.host.spawn(_send_marked, "198.51.100.199", who=forger)
    if forging.receive():
        pytest.skip("before Linux 5.17 a mark takes CAP_NET_ADMIN")
    verdict = wait_for(lambda: (v := _verdict(own))["trial"].startswith("not possible: somebody else") and v, 60.0,
                       "a disturbed trial")
    assert verdict["holds"] and "problem" not in verdict
    forging.kill()
    assert not [p for p in own.packets(mark) if b"not a trial" in p.payload]
    own.host.nft(DETOUR)
    assert not _verdict(own, codes=(1,))["holds"]
    forging = own.host.spawn(_send_marked, "198.51.100.199", who=forger)
    forging.receive()
    for _ in range(5):  # what was found stays found
        verdict = _verdict(own, codes=(1,))
        assert not verdict["holds"] and OUTSIDE4 in verdict["problem"], verdict
    forging.kill()
    own.host.nft("delete table inet other")
    _assert_as_ordered(_verdict(own)["trial"])


def test_what_comparing_cannot_find_is_found_and_told(own):
    own.do("order", "staff")
    _first_look(own)
    own.host.nft(DETOUR)
    done = own.ctl("verify")
    assert done.returncode == 1 and "does NOT hold" in done.stdout and f"to {OUTSIDE4} was taken for" in done.stdout, done
    alarms = own.entries(MESSAGE_ID=NOT_HOLDING, PRIORITY="1")
    assert len(alarms) == 1 and OUTSIDE4 in alarms[0]["MESSAGE"]
    assert not _verdict(own, codes=(1,))["holds"]
    assert len(own.entries(MESSAGE_ID=NOT_HOLDING)) == 1  # told once
    order = own.orders()["staff"]
    assert order["holds"] is False and order["trial"].startswith("NOT as ordered")
    assert any(OUTSIDE4 in w for w in order["warnings"])
    assert "ORDERED, BUT NOT HOLDING: staff" in own.do("status")
    wait_for(lambda: "NOT holding" in [m for m in own.daemon.messages() if m.startswith("STATUS=")][-1], PATIENCE,
             "systemd to be told")
    checks.assert_blocked(own, ALICE, ("tcp", "udp"))  # never lifted for that
    checks.assert_free(own, MALLORY, ("tcp", "udp"))
    own.host.nft("delete table inet other")
    verdict = _verdict(own)
    assert verdict["holds"] and verdict["repaired"]
    assert own.orders()["staff"]["holds"] is True


@pytest.fixture
def blind(labs):
    """A daemon that sees no difference, on tables that anybody can change."""
    program = os.path.join(build_directory(), "tests", "lockdownd-blind")
    if not os.path.exists(program):
        pytest.skip(f"{program} was not built (make system does)")

    def make(lines):
        lab = labs(_profile(lines), start=False)
        shutil.copy(program, lab.lockdownd)
        lab.start()
        lab.do("order", "staff")
        _first_look(lab)
        return lab

    return make


BROKEN = {
    "unhooked": "delete chain inet lockdown-staff output\ndelete chain inet lockdown-staff postrouting",
    "accept-first": "insert rule inet lockdown-staff output accept\ninsert rule inet lockdown-staff postrouting accept",
    "nobody": "flush set inet lockdown-staff uids",
    "allowed-more": f"add element inet lockdown-staff allow4 {{ {OUTSIDE4} }}",
}


@pytest.mark.parametrize("how", BROKEN)
def test_trying_repairs_what_comparing_does_not_see(blind, how):
    lab = blind("Allow=internal\nSecondLock=no\n")
    lab.host.nft(BROKEN[how])
    assert quick(lab, BOB) or how == "allowed-more"  # nobody has noticed: the hole is there
    verdict = _verdict(lab)
    assert verdict["holds"] and verdict["repaired"], verdict
    _assert_as_ordered(verdict["trial"])
    checks.assert_blocked(lab, BOB, ("tcp", "udp"))
    assert any("when it was tried" in e["MESSAGE"] for e in lab.entries(LOCKDOWN_EVENT="repaired"))


def test_the_second_lock_alone_is_not_taken_for_the_first(blind):
    lab = blind("Allow=internal\n")
    if lab.orders()["staff"]["locks"]["second_lock"] != "in force":
        pytest.skip(lab.orders()["staff"]["locks"]["second_lock"])
    lab.host.nft(BROKEN["unhooked"])
    assert not quick(lab, BOB)
    assert _verdict(lab)["repaired"]
    assert any("only the second lock refused it" in e["MESSAGE"] for e in lab.entries())


ELSEWHERE = """set -e
ip link add d0 type veth peer name d1
ip addr add 10.5.5.5/24 dev d0
ip link set d0 up
ip route add default dev d0
exec /usr/bin/python3 -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    try:
        s.sendto(b"nowhere", ("198.51.100.7", 9))
    except OSError:
        pass
'
"""


def test_what_is_refused_elsewhere_meanwhile_is_not_the_trials(own):
    """Where this host has no way there, or another order is asked first, that is not the second lock's doing."""
    own.do("order", "staff")
    _first_look(own)
    if own.orders()["staff"]["locks"]["second_lock"] != "in force":
        pytest.skip(own.orders()["staff"]["locks"]["second_lock"])
    own.host.check(["/usr/sbin/ip", "-6", "route", "del", "default"])
    # in a namespace for which nobody needs a right, and which only the second lock sees
    own.host.popen(["/usr/bin/unshare", "-rn", "/bin/sh", "-c", ELSEWHERE], ALICE, True)
    before = own.orders()["staff"]["refused"]["packets"]
    wait_for(lambda: own.orders()["staff"]["refused"]["packets"] > before, PATIENCE, "the second lock refusing it")
    for _ in range(10):
        verdict = _verdict(own)
        assert verdict["holds"] and not verdict["repaired"], verdict
        assert "not tried: this host has no way there" in verdict["trial"], verdict


def test_where_everything_there_is_allowed_it_says_so(labs):
    lab = labs(_profile("Allow=192.0.2.0/24 198.51.100.0/24 203.0.113.0/24 2001:db8::/32 3fff::/20\n"))
    lab.do("order", "staff")
    verdict = _verdict(lab)
    assert verdict["holds"]
    assert verdict["trial"].startswith("not possible as uid") and "there is none that is refused" in verdict["trial"], verdict


def test_where_nobody_is_known_it_says_so(own):
    own.do("order", "--group", "nobodys", "--name", "empty")
    verdict = _verdict(own, "empty")
    assert verdict["holds"] and verdict["trial"] == "not possible: nobody is known whom it covers by a uid", verdict
    assert "Tried: not possible: nobody" in own.do("status")


def test_everyone_but_those_excepted(labs):
    lab = labs(_profile("Allow=internal\nEveryone=yes\nExceptUsers=backup nobody\n").replace("Groups=staff\n", ""))
    lab.do("order", "staff")
    _assert_as_ordered(_verdict(lab)["trial"])
    assert "as uid 65533:" in _verdict(lab)["trial"]


def test_two_orders_about_the_same_people(own):
    own.do("order", "staff")
    own.do("order", "--user", "alice", "--name", "night")
    verdicts = {v["profile"]: v for v in own.json("verify")["verified"]}
    assert all(v["holds"] for v in verdicts.values()), verdicts
    _assert_as_ordered(verdicts["staff"]["trial"])  # by one of those whom it has for itself
    assert f"uid {ALICE.uid}:" not in verdicts["staff"]["trial"]
    assert own.json("attempts")["profiles"][0]["totals"]["packets"] == 0


def test_a_process_that_hangs_is_killed(own):
    own.do("order", "staff")
    _first_look(own)
    os.rename(own.lockdownd, own.lockdownd + "-was")
    with open(own.lockdownd, "w", encoding="ascii") as f:
        f.write("#!/bin/sh\nexec /bin/sleep 7777\n")
    os.chmod(own.lockdownd, 0o755)
    verdict = _verdict(own)
    assert verdict["holds"] and "hung" in verdict["trial"], verdict
    assert verdict["trial"].startswith("not possible: the process that sends in uid")

    def sleeping():
        with open(os.path.join(own.cgroup, "cgroup.procs"), encoding="ascii") as f:
            pids = f.read().split()
        return [pid for pid in pids if b"7777" in _words(pid)]

    wait_for(lambda: not sleeping(), PATIENCE, "the end of the process")
    assert own.daemon.running() and not quick(own, ALICE)


def _words(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            return f.read()
    except OSError:
        return b""


def test_a_lift_while_it_is_being_tried(own):
    own.do("order", "staff")
    _first_look(own)
    own.host.run(["/bin/sh", "-c", f"for i in 1 2 3 4 5; do {own.path('bin/lockdownctl')} --quiet verify & done; "
                  f"{own.path('bin/lockdownctl')} --quiet lift staff; wait"], env=own.environment())
    assert own.orders() == {} and quick(own, ALICE)
    own.do("order", "staff")
    _assert_as_ordered(_verdict(own)["trial"])
