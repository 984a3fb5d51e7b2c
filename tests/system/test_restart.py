# SPDX-License-Identifier: GPL-2.0-or-later
"""Orders outlive the process, the boot, a damaged disk and a tampering hand."""

import glob
import json
import os
import shutil
import signal
import time

import pytest

import checks
import netlab
import probes
from checks import quick
from lab import ALICE, BOB, CAROL, ERIN, INTERNET4, INTERNET6, MALLORY, ROOT
from netlab import PATIENCE, wait_for

CONFIGURATION = """\
[Profile staff]
Groups=staff

[Profile contractors]
Groups=contractors
"""


def _owned(lab):
    return lab.json("status", codes=(0, 3))["daemon"]["tables_owned"]


def _ids(lab):
    return {name: o["id"] for name, o in lab.orders().items()}


@pytest.fixture
def own(labs):
    return labs(CONFIGURATION)


def test_killed_it_leaves_the_block_and_comes_back_to_it(own):
    own.do("order", "staff", "--for", "1h", "--reason", "why")
    own.do("order", "--user", "erin", "--name", "night")
    before = own.orders()
    with checks.unharmed(own, MALLORY, ROOT):
        own.daemon.end(signal.SIGKILL)
        for who in (ALICE, BOB, ERIN):
            checks.assert_blocked(own, who, ("tcp", "udp", "ping"))
        own.start()
        for who in (ALICE, BOB, ERIN):
            checks.assert_blocked(own, who, ("tcp", "udp", "ping"))
    after = own.orders()
    for key in ("id", "reason", "ordered_at_usec", "until_usec", "adhoc", "recovered"):
        assert {n: o.get(key) for n, o in before.items()} == {n: o.get(key) for n, o in after.items()}, key
    own.do("lift", "--all")
    assert quick(own, ALICE) and quick(own, ERIN)
    assert not any(own.tables().values())


def test_watchdog_does_not_count_the_start(own):
    """A slow start (a busy or emulated machine, a slow disk) is not to be killed before the orders are in force."""
    own.daemon.end()
    own.wrapper = ("env", "WATCHDOG_USEC=30000000")
    own.start()
    messages = wait_for(lambda: "WATCHDOG=1" in own.daemon.messages() and own.daemon.messages(), PATIENCE, "WATCHDOG=1")
    assert messages.index("READY=1") < messages.index("WATCHDOG=1"), messages


def test_not_a_packet_between_death_and_adoption(own):
    """A member who never stops trying gets nothing out while the daemon is killed and started three times."""
    own.do("order", "staff")
    mark = own.mark()
    tries = [own.host.spawn(probes.stream, dst, 9500, 0.001, "try", who=who)
             for dst in (INTERNET4, INTERNET6) for who in (ALICE, BOB)]
    for task in tries:
        task.receive()
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        own.daemon.end(number)
        own.start()
        own.do("reload")
    for task in tries:
        report = task.ask("stop")
        assert report["sent"] > 50 and sum(report["errors"].values()) == report["sent"]
    assert not [p for p in own.packets(mark) if p.dport == 9500]


def test_stopped_it_leaves_the_block(own):
    own.do("order", "staff")
    ids = _ids(own)
    assert own.daemon.end(signal.SIGTERM) == 0
    assert own.tables() == {"staff": True}  # what was merely staged is taken away
    checks.assert_blocked(own, ALICE)
    own.start()
    checks.assert_blocked(own, ALICE)
    assert _ids(own) == ids


def test_the_worker_goes_with_the_daemon(own):
    own.do("order", "staff")

    def programs():
        found = []
        for pid in open(os.path.join(own.cgroup, "cgroup.procs"), encoding="ascii").read().split():
            try:
                if os.readlink(f"/proc/{pid}/exe").startswith(own.lockdownd):
                    found.append(pid)
            except OSError:
                pass
        return found

    assert str(own.daemon.pid) in programs()
    own.daemon.end(signal.SIGKILL)
    wait_for(lambda: not programs(), PATIENCE, "the worker's end")


TAMPERING = {
    "element": f"delete element inet lockdown-staff uids {{ {ALICE.uid} }}\n"
               "flush set inet lockdown-staff gids",
    "sets-flushed": "flush set inet lockdown-staff uids\nflush set inet lockdown-staff gids",
    "allowed-more": "add element inet lockdown-staff allow4 { 198.51.100.0/24 }\n"
                    "add element inet lockdown-staff allow6 { 2001:db8::/32 }",
    "accept-first": "insert rule inet lockdown-staff output accept\n"
                    "insert rule inet lockdown-staff postrouting accept",
    "rule-flushed": "flush chain inet lockdown-staff subjects\nflush chain inet lockdown-staff postrouting",
    "unhooked": None,
    "deleted": "delete table inet lockdown-staff",
}


def _unhook(lab):
    """Deletes the base chains by hand, whatever they are."""
    listed = json.loads(lab.host.check(["/usr/sbin/nft", "-j", "list", "chains"]))["nftables"]
    chains = [f'{c["chain"]["family"]} lockdown-staff {c["chain"]["name"]}' for c in listed
              if "hook" in c.get("chain", {}) and c["chain"]["table"] == "lockdown-staff"]
    assert chains
    lab.host.nft("".join(f"flush chain {c}\ndelete chain {c}\n"
                         for c in chains))


@pytest.mark.parametrize("how", TAMPERING)
def test_tampering_while_it_is_dead_is_repaired(own, how):
    own.configure(CONFIGURATION.replace("Groups=staff\n", "Groups=staff\nSecondLock=no\n"))  # it would hide the hole
    own.do("reload")
    own.do("order", "staff")
    ids = _ids(own)
    own.daemon.end(signal.SIGKILL)
    assert not quick(own, ALICE)
    if how == "unhooked":
        _unhook(own)
    else:
        own.host.nft(TAMPERING[how])
    # The control: a hole that the probes see. (Without it the rest would prove nothing.)
    assert quick(own, ALICE)
    held = own.host.spawn(probes.transfer, INTERNET4, 9001, who=ALICE)
    held.receive()
    own.start()
    for who in (ALICE, BOB):
        checks.assert_blocked(own, who, ("tcp", "udp"))
    checks.assert_free(own, MALLORY, ("tcp", "udp"))
    assert held.ask("report")["error"], "what was opened through the hole is still open"
    assert _ids(own) == ids
    events = {e["LOCKDOWN_EVENT"] for e in own.entries(LOCKDOWN_ORDER_ID=ids["staff"])}
    assert events & {"repaired", "restored"}, events
    own.do("lift", "staff")
    assert quick(own, ALICE)


def test_tampering_while_it_lives_is_refused(own):
    if not _owned(own):
        pytest.skip("this kernel has no owned tables")
    own.do("order", "staff")
    with checks.unharmed(own, MALLORY):
        for text in [t for t in TAMPERING.values() if t] + ["flush ruleset"]:
            own.host.run(["/usr/sbin/nft", "-f", "-"], stdin=text)
            checks.assert_refused(own.probe([own.spec("udp", INTERNET4), own.spec("tcp", INTERNET6)], ALICE))
    checks.assert_blocked(own, BOB)


def test_a_flush_by_somebody_else_opens_nothing(own):
    """As firewall scripts begin. Where tables cannot be owned the block must be back within a moment."""
    own.do("order", "staff")
    own.host.nft("table inet theirs {\nchain c {\ntype filter hook output priority 0;\n}\n}")
    own.host.nft("flush ruleset")
    if not _owned(own):
        checks.wait_blocked(own, ALICE, 1.0)
    checks.assert_blocked(own, ALICE)
    assert "theirs" not in own.ruleset()


def test_without_its_file_an_order_is_recovered(own):
    own.do("order", "staff")
    own.daemon.end(signal.SIGKILL)
    for path in glob.glob(own.path("state/orders/*")):
        os.unlink(path)
    own.start()
    checks.assert_blocked(own, ALICE)
    checks.assert_blocked(own, BOB, ("tcp", "udp"))
    order = own.orders()["staff"]
    assert order["recovered"] is True
    assert own.entries(LOCKDOWN_ORDER_ID=order["id"])
    own.daemon.end(signal.SIGKILL)  # from now on an order like any other
    own.start()
    assert own.orders()["staff"]["id"] == order["id"]
    own.do("lift", "staff")
    assert quick(own, ALICE)


def test_an_unknown_table_in_force_is_recovered(own):
    """An ad-hoc order whose file is lost: nothing in the configuration knows it."""
    own.do("order", "--user", "erin", "--name", "night", "--allow", "203.0.113.10:443/tcp")
    own.daemon.end(signal.SIGKILL)
    for path in glob.glob(own.path("state/orders/*")):
        os.unlink(path)
    own.start()
    assert own.orders()["night"]["recovered"] is True
    checks.assert_refused(own.probe([own.spec("tcp", INTERNET4), own.spec("udp", INTERNET6)], ERIN))
    checks.assert_passed(own.probe([own.spec("tcp", "203.0.113.10", 443)], ERIN))
    own.do("lift", "night")
    assert quick(own, ERIN) and "night" not in own.tables()


def test_a_reboot_changes_nothing(own):
    own.do("order", "staff", "--for", "1h", "--reason", "why")
    own.do("order", "--user", "erin", "--name", "night")
    before = own.orders()
    own.reboot()
    assert quick(own, ALICE) and own.tables() == {}  # the kernel has forgotten
    own.start()
    for who in (ALICE, BOB, ERIN):
        checks.assert_blocked(own, who, ("tcp", "udp"))
    after = own.orders()
    assert {n: o["id"] for n, o in before.items()} == {n: o["id"] for n, o in after.items()}
    assert after["staff"]["until_usec"] == before["staff"]["until_usec"]


def test_after_a_reboot_the_saved_people_are_blocked_without_a_directory(own):
    own.do("order", "staff")
    own.reboot()
    os.rename(own.path("etc/passwd"), own.path("etc/passwd.away"))
    os.rename(own.path("etc/group"), own.path("etc/group.away"))
    own.start()
    for who in (ALICE, BOB):
        checks.assert_refused(own.probe([own.spec("tcp", INTERNET4), own.spec("udp", INTERNET6)], who))


def test_expired_while_it_was_dead(own):
    until = own.json("order", "staff", "--for", "1s")["order"]["until_usec"] / 1e6
    own.daemon.end(signal.SIGKILL)
    time.sleep(max(0.0, until - time.time()) + 0.05)
    assert not quick(own, ALICE)  # nobody was there to end it: closed, not open
    own.start()
    assert quick(own, ALICE) and own.orders() == {}
    assert own.json("history")["orders"][0]["state"] == "expired"


def test_unconfirmed_while_it_was_dead(own):
    until = own.json("order", "staff", "--confirm-within", "1s")["order"]["confirm_until_usec"] / 1e6
    own.daemon.end(signal.SIGKILL)
    wait_for(lambda: time.time() > until + 0.05, PATIENCE)
    assert not quick(own, ALICE)
    own.start()
    assert quick(own, ALICE) and own.orders() == {}
    assert own.json("history")["orders"][0]["end_reason"] == "not confirmed in time"


def test_waiting_to_be_confirmed_across_a_restart(own):
    before = own.json("order", "staff", "--confirm-within", "3s")["order"]
    own.daemon.end(signal.SIGKILL)
    own.start()
    assert own.orders()["staff"]["confirm_until_usec"] == before["confirm_until_usec"]
    checks.wait_freed(own, ALICE, PATIENCE)
    assert time.time() > before["confirm_until_usec"] / 1e6


def test_a_damaged_file_is_set_aside(own):
    own.do("order", "staff")
    own.do("order", "contractors")
    ids = _ids(own)
    own.daemon.end(signal.SIGKILL)
    path = own.path("state/orders", ids["staff"] + ".json")
    with open(path, "r+", encoding="utf-8") as f:
        f.truncate(os.path.getsize(path) // 2)
    own.start()
    assert os.listdir(own.path("state/damaged"))
    assert own.orders()["contractors"]["id"] == ids["contractors"]
    checks.assert_blocked(own, CAROL, ("tcp", "udp"))
    checks.assert_blocked(own, ALICE, ("tcp", "udp"))  # its table stood: recovered
    assert own.orders()["staff"]["recovered"] is True
    assert any("damaged" in e.get("MESSAGE", "") for e in own.entries())


def test_lists_that_a_crash_left_are_removed(own):
    """Nothing refers to them any more: not before the configuration can be read, which might."""
    own.do("order", "--user", "erin", "--name", "night")
    lists = own.path("state/members")
    wait_for(lambda: sorted(os.listdir(lists)) == ["contractors", "night", "staff"], PATIENCE, "the lists to be saved")
    own.daemon.end(signal.SIGKILL)
    shutil.copy(os.path.join(lists, "night"), os.path.join(lists, "evening"))
    everything = sorted(os.listdir(lists))
    assert everything == ["contractors", "evening", "night", "staff"]
    own.configure(CONFIGURATION + "Mistake=yes\n")
    own.start()
    assert sorted(os.listdir(lists)) == everything
    own.configure(CONFIGURATION)
    own.daemon.end()
    own.start()
    everything.remove("evening")
    assert sorted(os.listdir(lists)) == everything
    checks.assert_blocked(own, ERIN, ("tcp",))


@pytest.mark.parametrize("content", [b"", b"{}", b"\0" * 100, b'{"version": 99}', b"[" * 100000],
                         ids=["empty", "object", "zeroes", "version", "deep"])
def test_foreign_files_do_not_stop_the_others(own, content):
    own.do("order", "contractors")
    own.reboot()
    with open(own.path("state/orders", "f" * 32 + ".json"), "wb") as f:
        f.write(content)
    with open(own.path("state/orders", "notes.txt"), "wb") as f:
        f.write(b"not ours")
    own.start()
    assert list(own.orders()) == ["contractors"]
    checks.assert_blocked(own, CAROL, ("tcp",))


def test_stopped_dead_it_can_be_killed_and_started_under_load(own):
    """SIGSTOP: the rules do not need the daemon at all."""
    own.do("order", "staff")
    own.daemon.kill(signal.SIGSTOP)
    try:
        checks.assert_blocked(own, ALICE)
        checks.assert_free(own, MALLORY)
    finally:
        own.daemon.kill(signal.SIGCONT)
    assert own.orders()


def test_a_second_one_refuses(own):
    own.do("order", "staff")
    done = own.host.run([own.lockdownd], env=own.environment())
    assert done.returncode != 0
    assert "lockdownd" in done.stderr and "running" in done.stderr, done.stderr
    elsewhere = own.environment({"RUNTIME_DIRECTORY": own.path("run/other"), "STATE_DIRECTORY": own.path("run/other")})
    os.mkdir(own.path("run/other"))
    done = own.host.run([own.lockdownd], env=elsewhere)
    assert done.returncode != 0 or not _owned(own), "a second daemon took over the rules"
    assert own.daemon.running() and own.orders()
    checks.assert_blocked(own, ALICE, ("tcp",))


def _as_if_it_died_lifting(lab, name):
    """On disk the order has ended; its hooks are still in the kernel: the state between the two halves of a lift."""
    lab.do("order", "--user", "erin", "--name", "model")
    lab.do("lift", "model")
    with open(glob.glob(lab.path("state/history/*.json"))[0], encoding="utf-8") as f:
        finished = json.load(f)
    order = _ids(lab)[name]
    lab.daemon.end(signal.SIGKILL)
    path = lab.path("state/orders", order + ".json")
    with open(path, encoding="utf-8") as f:
        data = json.load(f)
    data = {**{k: v for k, v in finished.items() if k not in data}, **data, "state": "lifted"}
    for key in ("ended_at", "ended_by"):
        data[key] = finished[key]
    data["ended_at"] = max(data["ended_at"], data["ordered_at"])
    with open(lab.path("state/history", f"{data['ended_at']:020d}-{order}.json"), "w", encoding="utf-8") as f:
        json.dump(data, f)
    os.unlink(path)
    return order


def test_a_lift_cut_short_is_finished(own):
    own.do("order", "staff")
    order = _as_if_it_died_lifting(own, "staff")
    assert not quick(own, ALICE)
    own.start()
    assert own.orders() == {} and quick(own, ALICE)
    assert order in [o["id"] for o in own.json("history")["orders"]]
    own.do("order", "staff")  # and a new one of that name is another
    assert not quick(own, ALICE) and _ids(own)["staff"] != order


def _refused(lab, id_):
    """The total, and the packets by port, of an order that has ended."""
    order = next(o for o in lab.json("history")["orders"] if o["id"] == id_)
    entries = lab.json("attempts", id_)["profiles"][0]["entries"]
    return order["refused"]["packets"], {e["port"]: e["packets"] for e in entries}


def test_the_record_of_a_lift_cut_short_is_whole(own):
    order = own.json("order", "staff")["order"]
    own.probe([own.spec("udp", INTERNET4, 1001, reply=False)], ALICE)
    own.configure(CONFIGURATION.replace("Groups=staff\n", "Groups=staff\nServices=none.service\n"))
    own.do("reload")  # another table: what the first one counted is kept on disk
    own.probe([own.spec("udp", INTERNET4, 1002, reply=False)], ALICE)
    _as_if_it_died_lifting(own, "staff")
    own.start()
    assert own.orders() == {}
    assert _refused(own, order["id"]) == (2, {1001: 1, 1002: 1})


def test_a_lift_that_is_refused_counts_nothing_twice(own):
    order = own.json("order", "staff")["order"]
    if order["locks"]["second_lock"] != "in force":
        pytest.skip(order["locks"]["second_lock"])
    own.probe([own.spec("udp", INTERNET4, 1001, reply=False)], ALICE)
    pins = "/sys/fs/bpf/lockdownd/staff"
    own.host.call(netlab.mount, "none", pins, "tmpfs")  # so it cannot be taken off
    for _ in range(2):
        done = own.ctl("lift", "staff")
        assert done.returncode == 1 and "STILL in force" in done.stderr, done
    assert not quick(own, ALICE)
    assert own.orders()["staff"]["refused"]["packets"] == 3
    own.host.call(netlab.umount, pins)
    own.do("lift", "staff")
    assert quick(own, ALICE)
    assert _refused(own, order["id"]) == (3, {1001: 1, 443: 1}), "one of IPv4, one of IPv6 each"


def test_what_came_up_while_it_was_dead_is_cut_when_the_order_has_expired(own):
    own.configure(CONFIGURATION.replace("Groups=staff\n", "Groups=staff\nSecondLock=no\n"))  # it would hide the hole
    own.do("reload")
    until = own.json("order", "staff", "--for", "3s")["order"]["until_usec"] / 1e6
    own.daemon.end(signal.SIGKILL)
    own.host.nft(TAMPERING["accept-first"])
    held = own.host.spawn(probes.transfer, INTERNET4, 9001, who=ALICE)
    others = own.host.spawn(probes.transfer, INTERNET4, 9001, who=MALLORY)
    held.receive()
    others.receive()
    wait_for(lambda: time.time() > until + 0.05, PATIENCE)
    own.start()
    assert quick(own, ALICE) and own.orders() == {}
    wait_for(lambda: held.ask("report")["error"], PATIENCE, "what a subject had open under the order to be cut")
    assert not others.ask("report")["error"]


def _unreadable(lab, id_):
    """Reading the order's file fails with EIO, until it is called again with the path that is returned."""
    path = lab.path("state/orders", id_ + ".json")
    lab.host.call(netlab.mount, f"/proc/{lab.host.anchor.pid}/mem", path, flags=netlab.MS_BIND)
    return path


def test_an_order_that_cannot_be_read_comes_back_when_it_can(own):
    order = own.json("order", "staff", "--for", "1h", "--reason", "why")["order"]
    own.reboot()
    path = _unreadable(own, order["id"])
    own.start()
    told = own.json("status", codes=(0, 3))
    assert told["orders"] == [] and any("could not be read" in w for w in told["warnings"]), told
    assert not os.listdir(own.path("state/damaged"))
    own.host.call(netlab.umount, path)
    after = wait_for(own.orders, PATIENCE, "the order to be back")["staff"]
    assert (after["id"], after["reason"]) == (order["id"], "why")
    assert after["until_usec"] >= order["until_usec"]  # later, where the clock is not believed: it was away for a while
    checks.assert_blocked(own, ALICE, ("tcp", "udp"))
    assert not own.json("status")["warnings"]


def test_an_order_that_cannot_be_read_is_in_force_where_its_table_is(own):
    order = own.json("order", "staff", "--for", "1h", "--reason", "why")["order"]
    own.daemon.end(signal.SIGKILL)
    path = _unreadable(own, order["id"])
    own.start()
    assert own.orders()["staff"]["recovered"] and not own.orders()["staff"]["saved"]
    assert not quick(own, ALICE)
    own.host.call(netlab.umount, path)
    wait_for(lambda: not own.orders()["staff"]["recovered"], PATIENCE, "the order to be read")
    after = own.orders()["staff"]
    assert (after["id"], after["reason"], after["until_usec"]) == (order["id"], "why", order["until_usec"])
    assert after["saved"] and not quick(own, ALICE)
    own.do("lift", "staff")
    assert quick(own, ALICE)


def test_the_record_of_an_order_that_expires_while_it_is_dead_is_whole(own):
    order = own.json("order", "staff", "--for", "3s")["order"]
    own.probe([own.spec("udp", INTERNET4, 1001, reply=False)], ALICE)
    own.configure(CONFIGURATION.replace("Groups=staff\n", "Groups=staff\nServices=none.service\n"))
    own.do("reload")  # another table: what the first one counted is kept on disk
    own.probe([own.spec("udp", INTERNET4, 1002, reply=False)], ALICE)
    own.daemon.end(signal.SIGKILL)
    wait_for(lambda: time.time() > order["until_usec"] / 1e6 + 0.05, PATIENCE)
    own.start()
    entries = own.json("attempts", order["id"])["profiles"][0]["entries"]
    assert {e["port"] for e in entries} == {1001, 1002}, entries
