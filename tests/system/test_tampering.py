# SPDX-License-Identifier: GPL-2.0-or-later
"""Others at work on the rules while a locked-down person never stops sending: how much arrives, packet by packet."""

import ctypes
import dataclasses
import os
import re
import shutil
import signal
import statistics
import struct
import time

import pytest

import checks
import probes
from campaign import LONG, tell
from checks import quick
from lab import ALICE, BOB, CONFIGURATION, INTERNET4, INTERNET6, MALLORY, STAFF, build_directory
from netlab import PATIENCE, wait_for

FLUSH = "flush ruleset"
DELETE = "delete table inet lockdown-staff"
PORT = 9700
ROUNDS = 200 if LONG else 12
TELL_INTERVAL = 10  # seconds between two journal entries about the same


def _second_lock(lines):
    return CONFIGURATION.replace("Groups=staff\n", f"Groups=staff\n{lines}\n")


@pytest.fixture
def own(labs):
    return labs(CONFIGURATION)


@pytest.fixture
def unowned(labs):
    """On tables that anybody can change, as before Linux 6.9."""
    program = os.path.join(build_directory(), "tests", "lockdownd-unowned")
    if not os.path.exists(program):
        pytest.skip(f"{program} was not built (make system does)")

    def make(lines, members=0):
        lab = labs(_second_lock(lines), start=False)
        if members:
            lab.edit("passwd", lambda text: text + "".join(
                f"m{i}:x:{300000 + 2 * i}:{STAFF}::/:/bin/sh\n" for i in range(members)))
        shutil.copy(program, lab.lockdownd)
        lab.start()
        return lab

    return make


@dataclasses.dataclass
class Gap:
    """Consecutive datagrams that arrived."""

    packets: int
    ms: float


def _gaps(packets, name):
    """What arrived of the flood NAME. A datagram that was lost in between does not end a gap."""
    found, last = [], None
    for p in packets:
        if not p.payload.startswith(f"q:{name}:".encode()):
            continue
        number, sent = (int(n) for n in p.payload.split(b":")[2:4])
        if last is None or number - last > 3:
            found.append([0, sent, sent])
        found[-1][0] += 1
        found[-1][2] = sent
        last = number
    return [Gap(count, (end - begin) / 1e6) for count, begin, end in found]


def _nft(lab, text):
    return lab.host.run(["/usr/sbin/nft", "-f", "-"], stdin=text)


def _whole(lab):
    """All tables, whatever their order, but for what they count."""
    text = lab.host.check(["/usr/sbin/nft", "-s", "list", "ruleset"])
    text = re.sub(r"(set attempts[46] \{[^}]*?)elements = \{[^}]*\}", r"\1", text)
    return sorted("table " + "\n".join(line.rstrip() for line in t.splitlines() if line.strip())
                  for t in re.split(r"^table ", text, flags=re.M)[1:])


def _wait_whole(lab, before):
    wait_for(lambda: _whole(lab) == before, PATIENCE, "the tables to be as before", 0.02)


class Flood:
    """ALICE sends to the internet over IPv4, BOB over IPv6, all the time."""

    def __init__(self, lab, *people):
        self.lab, self.mark, self.tasks = lab, lab.mark(), {}
        for who, dst in people or ((ALICE, INTERNET4), (BOB, INTERNET6)):
            self.tasks[who.name] = lab.host.spawn(probes.flood, dst, PORT, who.name, who=who)
        for task in self.tasks.values():
            task.receive()

    def end(self):
        """How much was sent, and the gaps, by name."""
        sent = {name: task.ask("stop") for name, task in self.tasks.items()}
        packets = self.lab.packets(self.mark)
        return sent, {name: _gaps(packets, name) for name in self.tasks}


def _assert_nothing(flood):
    sent, gaps = flood.end()
    assert all(n > 100 for n in sent.values()), sent
    assert not any(gaps.values()), gaps
    return sum(sent.values())


def test_owned_tables_stay_through_a_loop_of_flushes(own):
    if not own.json("status", codes=(0, 3))["daemon"]["tables_owned"]:
        pytest.skip("this kernel has no owned tables")
    own.configure(_second_lock("SecondLock=no"))  # it would hide a gap
    own.do("reload")
    own.do("order", "staff")
    flood = Flood(own)
    for _ in range(ROUNDS):
        _nft(own, FLUSH)
        _nft(own, DELETE)
        _nft(own, "delete table netdev lockdown-staff")
    sent = _assert_nothing(flood)
    tell(f"tampering: owned tables, rules alone: 0 of {sent} datagrams arrived through {3 * ROUNDS} flushes and deletions")
    assert "tampering" not in own.orders()["staff"]


@pytest.mark.parametrize("what", (FLUSH, DELETE))
def test_both_locks_leave_no_gap_where_tables_cannot_be_owned(unowned, what):
    lab = unowned("SecondLock=auto")
    lab.do("order", "staff")
    second = lab.orders()["staff"]["locks"]["second_lock"]
    if second != "in force":
        pytest.skip(second)
    flood = Flood(lab)
    for _ in range(ROUNDS):
        _nft(lab, what)
    sent = _assert_nothing(flood)
    tell(f"tampering: not owned, both locks: 0 of {sent} datagrams arrived through {ROUNDS} of nft {what.split(' inet')[0]}")


def _tell_gaps(how, gaps, rounds):
    ms = sorted(g.ms for g in gaps) or [0]
    packets = sorted(g.packets for g in gaps) or [0]
    tell(f"tampering: not owned, rules alone, {how}: a gap of {statistics.median(ms):.1f} ms ({statistics.median(packets):.0f} "
         f"datagrams) in the median of {rounds}, {ms[-1]:.1f} ms ({packets[-1]}) at the most")


@pytest.mark.parametrize("what", (FLUSH, DELETE))
def test_the_gap_of_the_rules_alone_is_closed_and_measured(unowned, what):
    lab = unowned("SecondLock=no")
    lab.do("order", "staff")
    before = _whole(lab)
    began = time.monotonic()
    flood = Flood(lab, (ALICE, INTERNET4))
    for _ in range(ROUNDS):
        _nft(lab, what)
        _wait_whole(lab, before)
    _, gaps = flood.end()
    _tell_gaps(what.split(" inet")[0], gaps["alice"], ROUNDS)
    assert len(gaps["alice"]) <= ROUNDS
    checks.assert_blocked(lab, ALICE, ("tcp", "udp"))
    tampering = lab.orders()["staff"]["tampering"]
    assert tampering["times"] == ROUNDS and tampering["program"] == "nft" and tampering["pid"] > 1, tampering
    assert tampering["longest_usec"] > 0 and tampering["last_at_usec"] > 0
    assert f"{ROUNDS} times by others and repaired, last by nft (pid {tampering['pid']})" in lab.do("status")
    entries = lab.entries(LOCKDOWN_EVENT="repaired")
    assert 1 <= len(entries) <= 2 + (time.monotonic() - began) / TELL_INTERVAL, entries
    assert "changed by nft (pid " in entries[0]["MESSAGE"]


def test_what_is_not_journalled_one_by_one_is_journalled_together(unowned):
    lab = unowned("SecondLock=no")
    lab.do("order", "staff")
    before = _whole(lab)
    for _ in range(5):
        _nft(lab, FLUSH)
        _wait_whole(lab, before)
    lab.do("lift", "staff")  # at the latest
    entries = [e["MESSAGE"] for e in lab.entries(LOCKDOWN_EVENT="repaired")]
    numbers = [int(n) for e in entries for n in re.findall(r"changed (\d+) more times", e)]
    assert len(entries) < 5 and sum(numbers) + len(entries) - len(numbers) == 5, entries


def test_who_is_active_is_held_first_where_many_are_covered(unowned):
    members = 50000 if LONG else 10000
    lab = unowned("SecondLock=no", members)
    lab.do("order", "staff", timeout=60.0)
    wait_for(lambda: lab.orders()["staff"].get("verified_at"), PATIENCE, "the first look")
    rounds = 20 if LONG else 4
    flood = Flood(lab, (ALICE, INTERNET4))
    for i in range(rounds):
        _nft(lab, FLUSH)
        wait_for(lambda n=i: lab.orders()["staff"].get("tampering", {}).get("times", 0) > n, PATIENCE, "the repair", 0.05)
    _, gaps = flood.end()
    _tell_gaps(f"flush ruleset, {members} people", gaps["alice"], rounds)
    checks.assert_blocked(lab, ALICE, ("tcp", "udp"))
    assert not [t for t in _table_names(lab) if "hold" in t]
    verdict = lab.json("verify")["verified"][0]
    assert verdict["holds"] and not verdict["repaired"], verdict


def _table_names(lab):
    return [name for _, name in lab.all_tables()]


CHANGES = {
    "netdev-table": "delete table netdev lockdown-staff",
    "chain": "delete chain inet lockdown-staff output",
    "device-chain": "delete chain netdev lockdown-staff {device}",
    "rules": "flush chain inet lockdown-staff subjects",
    "rule-first": "insert rule inet lockdown-staff refuse accept",
    "element": f"delete element inet lockdown-staff uids {{ {ALICE.uid} }}",
    "allowed-more": "add element inet lockdown-staff allow4 { 198.51.100.0/24 }",
    "set": "add set inet lockdown-staff theirs { type uid; }",
    "dormant": "add table inet lockdown-staff { flags dormant; }",
}


def test_each_change_is_noticed_and_undone(unowned):
    lab = unowned("SecondLock=no")
    lab.do("order", "staff")
    before = _whole(lab)
    device = re.search(r"chain (egress_\d+)", "".join(before))
    done = 0
    for how, text in CHANGES.items():
        if "netdev" in text and not device:
            continue
        lab.host.nft(text.format(device=device[1]) if "{device}" in text else text)
        if how == "device-chain":  # as where the device has just come: at the end of the list, and no case for the book
            wait_for(lambda: device[0] in "".join(_whole(lab)), PATIENCE, how)
            continue
        done += 1
        wait_for(lambda n=done: lab.orders()["staff"].get("tampering", {}).get("times", 0) == n, PATIENCE, how)
        assert _whole(lab) == before, how
        assert not quick(lab, ALICE), how
    checks.assert_blocked(lab, ALICE, ("tcp", "udp"))
    checks.assert_free(lab, MALLORY, ("tcp", "udp"))


OTHERS = {
    "accept first": "table inet other {\nchain c {\ntype filter hook output priority -400\naccept\n}\n}",
    "accept between": "table ip other {\nchain c {\ntype filter hook output priority 0\naccept\n}\n"
                      "chain d {\ntype filter hook postrouting priority 300\naccept\n}\n}",
    "notrack": "table inet other {\nchain c {\ntype filter hook output priority -400\nnotrack\n}\n}",
    "mark": "table inet other {\nchain c {\ntype route hook output priority -400\nmeta mark set 4301\n}\n}",
    "dnat inside": "table ip other {\nchain c {\ntype nat hook output priority -100\nip daddr 198.51.100.7 dnat to 10.1.2.3\n}\n}",
    "dnat outside": "table ip other {\nchain c {\ntype nat hook output priority -100\nip daddr 10.1.2.3 dnat to 198.51.100.7\n}\n}",
    "masquerade": "table inet other {\nchain c {\ntype nat hook postrouting priority 100\nmasquerade\n}\n}",
    "rewritten to inside": "table ip other {\nchain c {\ntype filter hook output priority -400\n"
                           "ip daddr 198.51.100.7 ip daddr set 10.1.2.3\n}\n}",
}
ROUTES = "ip rule add fwmark 4301 lookup 100; ip route add default via 10.99.0.1 table 100; ip rule add uidrange " \
         f"{ALICE.uid}-{ALICE.uid} lookup 100; ip -6 route add default via fd00:99::1 table 100; " \
         f"ip -6 rule add uidrange {BOB.uid}-{BOB.uid} lookup 100"


def test_other_programs_change_nothing(own):
    """Their rules before, between and behind ours, their marks and translations, policy routes, forgotten connections."""
    own.configure(_second_lock("SecondLock=no"))
    own.do("reload")
    own.do("order", "staff")
    flood = Flood(own)
    inside = own.host.spawn(probes.flood, "10.1.2.3", PORT, "inside", who=ALICE)
    inside.receive()
    for how, text in OTHERS.items():
        if _nft(own, text).returncode != 0:
            continue  # a kernel without that
        free = own.probe([own.spec("udp", INTERNET6, reply=False)], MALLORY)
        assert free[0]["arrived"], how  # the control, and time for the flood
        family = text.split()[1]
        own.host.nft(f"delete table {family} other")
    own.host.check(["/bin/sh", "-c", ROUTES])
    if os.path.exists("/usr/sbin/conntrack"):
        own.host.run(["/usr/sbin/conntrack", "-F"])
    assert quick(own, MALLORY)
    inside.ask("stop")
    packets = own.packets(flood.mark)
    outside = [p for p in packets if p.dst == INTERNET4 and p.dport == PORT]
    assert not outside, len(outside)  # nor of what was addressed to the inside
    sent = flood.end()[0]
    assert all(n > 100 for n in sent.values()), sent
    assert not [p for p in packets if p.dst == INTERNET6 and p.dport == PORT]


def _pins(lab):
    if lab.orders()["staff"]["locks"]["second_lock"] != "in force":
        pytest.skip(lab.orders()["staff"]["locks"]["second_lock"])
    return lab.host.path("/sys/fs/bpf/lockdownd/staff")


def _first_look(lab):
    wait_for(lambda: lab.orders()["staff"].get("verified_at"), PATIENCE, "the first look")


def test_without_its_pins_the_second_lock_holds_as_long_as_the_daemon_lives(unowned):
    lab = unowned("SecondLock=auto")
    lab.do("order", "staff")
    pins = _pins(lab)
    _first_look(lab)
    lab.daemon.kill(signal.SIGSTOP)
    shutil.rmtree(pins)
    _nft(lab, FLUSH)
    assert not quick(lab, ALICE)  # by what the daemon holds
    lab.daemon.kill(signal.SIGCONT)
    assert lab.json("verify")["verified"][0]["holds"]
    assert os.path.isdir(pins)
    lab.daemon.end(signal.SIGKILL)
    _nft(lab, FLUSH)
    assert not quick(lab, ALICE)  # by the pins again
    shutil.rmtree(pins)
    # Nobody holds anything any more, and the kernel takes its time to see that: only root can bring it to this.
    checks.wait_freed(lab, ALICE, PATIENCE)
    lab.start()
    checks.assert_blocked(lab, ALICE, ("tcp", "udp"))


BPF_SYSCALL = {"x86_64": 321, "aarch64": 280}
BPF_LINK_GET_NEXT_ID, BPF_LINK_GET_FD_BY_ID, BPF_OBJ_GET_INFO_BY_FD, BPF_LINK_DETACH, BPF_OBJ_GET = 31, 30, 15, 34, 7


def _bpf(command, attributes):
    buffer = ctypes.create_string_buffer(attributes, 128)
    result = ctypes.CDLL(None, use_errno=True).syscall(BPF_SYSCALL[os.uname().machine], command, buffer, len(buffer))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _detach(directory):
    """As `bpftool link detach` does, each link that is pinned there. Returns how many there were."""
    count = 0
    for name in os.listdir(directory):
        path = ctypes.create_string_buffer(os.path.join(directory, name).encode())
        try:
            fd = _bpf(BPF_OBJ_GET, struct.pack("QII", ctypes.addressof(path), 0, 0))
            _bpf(BPF_LINK_DETACH, struct.pack("I", fd))
            count += 1
        except OSError:
            pass  # a map or a program
    return count


def test_links_that_were_detached_are_attached_again(own):
    if os.uname().machine not in BPF_SYSCALL:
        pytest.skip("bpf(2) has another number here")
    own.do("order", "staff")
    _pins(own)
    _first_look(own)
    assert own.host.call(_detach, "/sys/fs/bpf/lockdownd/staff") >= 2
    verdict = own.json("verify")["verified"][0]
    assert verdict["holds"] and verdict["repaired"], verdict
    assert own.json("verify")["verified"][0]["repaired"] is False
    assert own.orders()["staff"]["tampering"]["times"] == 1
    own.daemon.end(signal.SIGKILL)
    own.host.nft(DELETE)
    assert not quick(own, ALICE)
