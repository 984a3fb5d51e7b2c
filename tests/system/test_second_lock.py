# SPDX-License-Identifier: GPL-2.0-or-later
"""The second lock, with the first one off or out of reach."""

import errno
import glob
import os
import signal
import socket
import time

import pytest

import checks
import netlab
from checks import quick
from lab import ALICE, BOB, CONFIGURATION, INTERNAL4, INTERNET4, MALLORY
from netlab import PATIENCE, wait_for


@pytest.fixture
def own(labs):
    lab = labs(CONFIGURATION)
    lab.do("order", "staff")
    second = lab.orders()["staff"]["locks"]["second_lock"]
    lab.do("lift", "staff")
    if second.startswith("not available"):
        pytest.skip(second)
    assert second == "in force"
    return lab


def _pins(lab):
    directory = lab.host.path("/sys/fs/bpf/lockdownd")
    return sorted(os.listdir(directory)) if os.path.isdir(directory) else []


def test_it_holds_when_the_rules_are_gone(own):
    own.do("order", "staff")
    ids = {name: o["id"] for name, o in own.orders().items()}
    own.daemon.end(signal.SIGKILL)
    own.host.nft("delete table inet lockdown-staff")
    assert own.tables() == {}
    for who in (ALICE, BOB):
        checks.assert_refused(own.probe(checks.outside(own, ("tcp", "udp")), who), errors=False, arrived_only=True)
        checks.assert_passed(own.probe(checks.inside(own, ("tcp", "udp")), who))
        checks.assert_passed(own.probe(checks.loopback(own), who), local=True)
    checks.assert_free(own, MALLORY)
    own.start()
    assert {name: o["id"] for name, o in own.orders().items()} == ids
    checks.assert_blocked(own, ALICE)
    own.do("lift", "staff")
    checks.assert_free(own, ALICE, ("tcp", "udp"))


def test_nothing_of_it_is_left_after_the_lift(own):
    assert _pins(own) == []
    own.do("order", "staff")
    own.do("order", "--user", "erin", "--name", "night")
    assert _pins(own) == ["night", "staff"]
    own.do("lift", "staff")
    assert _pins(own) == ["night"]
    own.do("lift", "--all")
    assert _pins(own) == []
    assert quick(own, ALICE)


def test_an_expiry_while_it_was_dead_takes_it_off(own):
    until = own.json("order", "staff", "--for", "1s")["order"]["until_usec"] / 1e6
    own.daemon.end(signal.SIGKILL)
    wait_for(lambda: time.time() > until + 0.05, PATIENCE)
    assert not quick(own, ALICE)
    own.start()
    assert quick(own, ALICE) and _pins(own) == [] and own.orders() == {}


def test_an_end_that_is_refused_is_tried_again_after_a_while(own):
    own.do("order", "staff", "--for", "1s")
    os.mkdir(os.path.join(own.host.path("/sys/fs/bpf/lockdownd/staff"), "foreign"))

    def refused():
        return [e["MESSAGE"] for e in own.entries() if "has expired but could not be removed" in e["MESSAGE"]]

    wait_for(refused, PATIENCE, "the end to be tried")
    for _ in range(3):  # each a turn of the daemon's loop or more
        assert own.orders()
    assert len(refused()) == 1
    assert not quick(own, ALICE)
    for foreign in glob.glob(os.path.join(own.host.path("/sys/fs/bpf/lockdownd"), "*", "foreign")):
        os.rmdir(foreign)
    own.do("lift", "staff")
    assert quick(own, ALICE)


def test_it_can_be_left_out(own):
    own.configure(CONFIGURATION.replace("Groups=staff\n", "Groups=staff\nSecondLock=no\n"))
    own.do("reload")
    own.do("order", "staff")
    assert _pins(own) == []
    assert own.orders()["staff"]["locks"]["second_lock"].startswith("off")
    own.configure(CONFIGURATION)
    own.do("reload")
    assert _pins(own) == ["staff"]


def test_a_place_for_pins_that_is_somebody_s_is_refused(labs):
    lab = labs(CONFIGURATION, start=False)
    path = lab.host.path("/sys/fs/bpf")
    if not os.path.ismount(path):
        pytest.skip("no bpf file system")
    os.mkdir(path + "/lockdownd")
    os.chown(path + "/lockdownd", ALICE.uid, ALICE.gid)
    lab.start()
    lab.do("order", "staff")
    assert "not ours alone" in lab.orders()["staff"]["locks"]["second_lock"]
    checks.assert_blocked(lab, ALICE, ("tcp", "udp"))


def _send_on_request(channel, s):
    channel.send("ready")
    while True:
        dst, port = channel.request(None)
        try:
            s.sendto(b"as asked", (dst, port))
            channel.send(None)
        except OSError as e:
            channel.send(e.errno)


def _elsewhere(channel, who):
    """In a network namespace of its own, made by root as a container's is: sends as WHO what it is asked to."""
    netlab.unshare(netlab.CLONE_NEWNET)
    channel.send(os.getpid())
    channel.request(None)
    who.become()
    _send_on_request(channel, socket.socket(socket.AF_INET, socket.SOCK_DGRAM))


def _place(lab, who, number):
    """A process of WHO's behind a veth pair, for which the host forwards."""
    task = lab.host.spawn(_elsewhere, who)
    pid = task.receive()
    net, name = f"10.77.{number}", f"in{number}"
    lab.host.check(["/usr/sbin/ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", str(pid)])
    lab.host.check(["/usr/sbin/ip", "-batch", "-"], stdin=f"addr add {net}.1/24 dev {name}\nlink set {name} up\n")
    lab.host.check(["/usr/bin/nsenter", "-t", str(pid), "-n", "/usr/sbin/ip", "-batch", "-"],
                   stdin=f"link set lo up\naddr add {net}.2/24 dev eth0\nlink set eth0 up\n"
                         f"route add default via {net}.1\n")
    lab.host.check(["/bin/sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])
    task.ask(None)
    return task


def _arrives(lab, task, dst, port):
    mark = lab.mark()
    task.ask(dst, port)
    return any(p.dport == port for p in lab.packets(mark))


def _uncovered(lab):
    return lab.orders()["staff"].get("uncovered_namespaces")


def test_status_names_the_namespaces_that_only_the_second_lock_covers(own):
    hers, others = _place(own, ALICE, 1), _place(own, MALLORY, 2)
    own.host.check(["/usr/sbin/ip", "netns", "attach", "blue", str(hers.pid)])
    own.do("order", "staff")
    assert _uncovered(own) is None and "Not covered" not in own.do("status")
    own.configure(CONFIGURATION.replace("Groups=staff\n", "Groups=staff\nSecondLock=no\n"))
    own.do("reload")
    listed = _uncovered(own)  # with those of other labs on this machine
    found = {n["pid"]: n for n in listed}
    first, last = found[hers.pid], found[others.pid]
    assert (first["name"], first["processes"], first["subject_processes"]) == ("blue", 1, 1)
    assert first["uids"] == [ALICE.uid] and first["inode"] == os.stat(f"/proc/{hers.pid}/ns/net").st_ino
    assert last["subject_processes"] == 0 and last["users"] == [] and listed.index(first) < listed.index(last)
    assert own.daemon.pid not in found
    assert own.orders()["staff"]["uncovered_namespaces_total"] >= 2
    assert f"Not covered: network namespace blue (pid {hers.pid}): 1 process of alice\n" in own.do(
        "status", "--verbose")
    assert own.daemon.running()
    hers.kill()
    wait_for(lambda: hers.pid not in [n["pid"] for n in _uncovered(own)], PATIENCE, "nobody to be in it any more", 0.1)
    own.configure(CONFIGURATION)
    own.do("reload")
    assert _uncovered(own) is None


def test_namespaces_are_seen_without_any_capability_to_trace(own):
    """As inside the unit's sandbox."""
    hers = _place(own, ALICE, 1)
    own.configure(CONFIGURATION.replace("Groups=staff\n", "Groups=staff\nSecondLock=no\n"))
    own.daemon.end()
    own.wrapper = ("/usr/bin/setpriv", "--bounding-set", "-sys_ptrace,-sys_admin,-dac_override,-dac_read_search",
                   "--inh-caps", "-sys_ptrace,-sys_admin")
    own.start()
    own.do("order", "staff")
    assert [n["uids"] for n in _uncovered(own) if n["pid"] == hers.pid] == [[ALICE.uid]]


def test_another_network_namespace_is_no_way_out(own):
    hers, others = _place(own, ALICE, 1), _place(own, MALLORY, 2)
    wait_for(lambda: _arrives(own, hers, INTERNET4, 7001) and _arrives(own, others, INTERNET4, 7002), PATIENCE, "the route")
    own.do("order", "staff")
    for _ in range(3):
        assert not _arrives(own, hers, INTERNET4, 7003)
        assert _arrives(own, others, INTERNET4, 7004)
        assert _arrives(own, hers, INTERNAL4, 7005)
    own.do("lift", "staff")
    assert _arrives(own, hers, INTERNET4, 7006)


def _handed_over(channel, maker, who):
    """Sends as WHO through a socket that a process of MAKER's made."""
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        maker.become()
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        socket.send_fds(theirs, [b"x"], [s.fileno()])
        os._exit(0)
    who.become()
    fds = socket.recv_fds(ours, 1, 1)[1]
    _send_on_request(channel, socket.socket(fileno=fds[0]))


def _helped(lab, maker, who):
    task = lab.host.spawn(_handed_over, maker, who)
    task.receive()
    return task


def test_a_socket_of_somebody_else_is_no_way_out(own):
    hers, others = _helped(own, MALLORY, ALICE), _helped(own, MALLORY, MALLORY)
    assert _arrives(own, hers, INTERNET4, 7001)
    own.do("order", "staff")
    state = own.orders()["staff"]["locks"]["sender_lock"]
    if state != "in force":
        assert state.startswith("not available: ")
        pytest.skip(state)
    for nft in (True, False):
        if not nft:
            own.daemon.end(signal.SIGKILL)
            own.host.nft("delete table inet lockdown-staff")
        assert hers.ask(INTERNET4, 7002) == errno.EPERM
        assert not _arrives(own, hers, INTERNET4, 7003)
        assert _arrives(own, others, INTERNET4, 7004)
    own.start()
    own.do("lift", "staff")
    assert _arrives(own, hers, INTERNET4, 7005)
