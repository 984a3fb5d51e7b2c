# SPDX-License-Identifier: GPL-2.0-or-later
"""Doors: what others on this host offer to a locked-down person is listed, with the line that closes it."""

import ctypes
import os
import re
import socket
import subprocess

import lab as lab_
from lab import ALICE, CAROL, HOST4, MALLORY, ROOT
from netlab import fork_task

CONFIGURATION = """\
[Access]
Order=root @lockdown
Lift=root @lockdown
Status=*

[Profile staff]
Groups=staff
Allow=internal

[Profile dns]
Groups=staff
DNS=allow

[Profile closed]
Groups=staff
LoopbackDeny=3128 3129-3131

[Profile services]
Groups=staff
Services=squid.service cups

[Profile slice]
Groups=staff
Services=system.slice

[Profile all]
Everyone=yes
ExceptUsers=mallory
"""

PR_SET_NAME = 15
SQUID = "system.slice/squid.service"


def _sockets(places):
    """("tcp"|"udp", address, port) or ("unix", path): listening, answering what they get with b"door"."""
    made = []
    for kind, address, *port in places:
        if kind == "unix":
            s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            s.bind(address)
            os.chmod(address, 0o666)
        else:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            s = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
            if family == socket.AF_INET6:
                s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if kind == "tcp":  # connections of an earlier test are remembered for a minute
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((address, port[0]))
        if kind != "udp":
            s.listen(8)
        made.append(s)
    return made


def _serve(channel, places, called=None):
    import select
    if called:
        ctypes.CDLL(None).prctl(PR_SET_NAME, ctypes.c_char_p(called), 0, 0, 0)
    sockets = _sockets(places)
    channel.send("ready")
    while True:
        for s in select.select([*sockets, channel], [], [])[0]:
            if s is channel:
                channel.request()  # the end of the test raises
            elif s.type == socket.SOCK_DGRAM:
                s.sendto(b"door", s.recvfrom(100)[1])
            else:
                connection = s.accept()[0]
                connection.sendall(b"door")
                connection.close()


def serve(lab, cgroup, who, *places, called=None):
    """A process of WHO in a control group of the lab's (made if need be), which listens there. CALLED: the program's
    name."""
    directory = os.path.join(lab.cgroup, cgroup)
    os.makedirs(directory, exist_ok=True)

    def prepare():
        with open(f"{directory}/cgroup.procs", "w", encoding="ascii") as f:
            f.write("0")
        lab.host.enter_namespaces()
        if who is not ROOT:
            who.become()

    task = fork_task(prepare, _serve, places, called, wants_channel=True)
    lab.host.tasks.append(task)
    task.receive()
    return task


def _reach(kind, address, port=None):
    """What the door says."""
    if kind == "unix":
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        where = address
    else:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        s = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
        where = ({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address), port)
    s.settimeout(3.0)
    try:
        s.connect(where)
        if kind == "udp":
            s.send(b"knock")
        return s.recv(10)
    except OSError as e:
        return str(e)
    finally:
        s.close()


def place(door):
    if door["protocol"] in ("unix", "bus"):
        return door["protocol"], door.get("path", door.get("name"))
    return door["protocol"], door["address"], door["port"]


def doors(document):
    return {place(d): d for d in document["doors"]}


PROXY = (("tcp", "127.0.0.1", 3129), ("tcp", "0.0.0.0", 3130), ("tcp", "::1", 3129), ("tcp", "::", 3131),
         ("tcp", HOST4, 3129), ("udp", "127.0.0.1", 3129))


def test_a_proxy_is_listed_by_its_unit_and_can_be_reached(lab):
    serve(lab, SQUID, MALLORY, *PROXY)
    reply = lab.json("order", "staff")
    assert "doors_unseen" not in reply["order"], reply["order"]["doors_unseen"]
    for document in (reply["order"], lab.orders()["staff"], lab.json("order", "staff", "--dry-run")):
        listed = doors(document)
        for where in PROXY:
            door = listed[where]
            assert (door["kind"], door["unit"], door["uid"]) == ("proxy", "squid.service", MALLORY.uid), door
            assert door["program"].startswith("python3"), door
            assert door["closes"] == f"LoopbackDeny=3128 8118 9050 {where[2]}", door
        assert [d["kind"] for d in document["doors"]][:len(PROXY)] == ["proxy"] * len(PROXY)
    for where in PROXY:
        assert lab.host.call(_reach, *where, who=ALICE) == b"door", where


def test_the_line_that_is_named_closes_it(lab):
    serve(lab, SQUID, MALLORY, *PROXY)
    listed = doors(lab.json("order", "closed")["order"])
    for where in PROXY:
        assert where not in listed
        assert lab.host.call(_reach, *where, who=ALICE) != b"door", where
        assert lab.host.call(_reach, *where, who=MALLORY) == b"door", where
    lab.do("lift", "--all")
    for profile in ("services", "slice"):
        listed = doors(lab.json("order", profile)["order"])
        assert not set(PROXY) & set(listed), profile
        lab.do("lift", "--all")


def test_pasted_and_reloaded(lab):
    """What an operator does with the line: it closes this door and opens none that was closed by default."""
    serve(lab, SQUID, MALLORY, PROXY[0])
    line = doors(lab.json("order", "staff")["order"])[PROXY[0]]["closes"]
    lab.configure(CONFIGURATION.replace("Allow=internal\n", f"Allow=internal\n{line}\n"))
    try:
        lab.do("reload")
        assert PROXY[0] not in doors(lab.orders()["staff"])
        for where in (PROXY[0], ("tcp", "127.0.0.1", 3128)):
            assert "refused" not in str(lab.host.call(_reach, *where, who=MALLORY)), where
            assert "refused" in lab.host.call(_reach, *where, who=ALICE), where
    finally:
        lab.configure(CONFIGURATION)
        lab.do("reload")


def test_who_is_locked_down_too_opens_no_door(lab):
    mine, others = ("tcp", "0.0.0.0", 4001), ("tcp", "0.0.0.0", 4002)
    scope = f"user.slice/user-{ALICE.uid}.slice/session-1.scope"
    serve(lab, scope, ALICE, mine)
    serve(lab, f"user.slice/user-{CAROL.uid}.slice/session-2.scope", CAROL, others)
    listed = doors(lab.json("order", "staff")["order"])
    assert mine not in listed
    door = listed[others]
    assert (door["kind"], door["closes"], door["uid"]) == ("unknown", "LoopbackDeny=3128 8118 9050 4002", CAROL.uid)
    assert "unit" not in door  # a login's processes are nothing that Services= could hold
    lab.do("lift", "--all")
    listed = doors(lab.json("order", "all")["order"])
    assert mine not in listed and others not in listed  # everybody but root and mallory
    assert ("tcp", "0.0.0.0", 8080) in listed, listed  # the lab's own server, which is root's


def test_a_name_of_any_bytes_hides_nothing(lab):
    """Everybody names his own programs, and the kernel cuts a longer name off in the middle of a letter."""
    cut, terminal = ("tcp", "127.0.0.1", 4001), ("tcp", "127.0.0.1", 4002)
    serve(lab, "user.slice/user-2004.slice/session-1.scope", MALLORY, cut, called="läuft-für-anübung".encode())
    serve(lab, "user.slice/user-2003.slice/session-2.scope", CAROL, terminal, called=b"\x1b[2Jnothing")
    reply = lab.json("order", "staff")
    assert reply["warnings"] == []
    for document in (reply["order"], lab.orders()["staff"], lab.json("order", "staff", "--dry-run")):
        listed = doors(document)
        assert listed[cut]["program"] == "l??uft-f??r-an?", document["doors"]
        assert listed[terminal]["program"] == "\x1b[2Jnothing", document["doors"]
    assert "l??uft-f??r-an?" in lab.do("status") and "\\x1b[2Jnothing" in lab.do("status")


def test_resolver_ports_follow_dns(lab):
    """Port 53 is served by the lab itself, as root and by no unit."""
    stub = ("udp", "127.0.0.54", 3053)
    serve(lab, "system.slice/systemd-resolved.service", ROOT, stub)
    listed = doors(lab.json("order", "staff")["order"])
    assert stub in listed and not [where for where in listed if where[-1] == 53]
    lab.do("lift", "--all")
    listed = doors(lab.json("order", "dns")["order"])
    assert (listed[stub]["kind"], listed[stub]["closes"]) == ("resolver", "Services=systemd-resolved.service")
    ours = [door for where, door in listed.items() if where[-1] == 53]
    assert {door["protocol"] for door in ours} == {"tcp", "udp"}
    assert {(door["kind"], door["closes"]) for door in ours} == {("resolver", "LoopbackDeny=3128 8118 9050 53")}
    assert lab.host.call(_reach, *stub, who=ALICE) == b"door"


def test_the_socket_of_a_known_service(lab):
    os.makedirs(lab.path("run/cups"), exist_ok=True)
    os.chmod(lab.path("run/cups"), 0o755)
    where = ("unix", "/run/cups/cups.sock")
    serve(lab, "system.slice/cups.service", ROOT, where)
    door = doors(lab.json("order", "staff")["order"])[where]
    assert (door["kind"], door["unit"], door["closes"]) == ("print", "cups.service", "Services=cups.service")
    assert door["user"] == "root"
    assert lab.host.call(_reach, *where, who=ALICE) == b"door"
    lab.do("lift", "--all")
    assert where not in doors(lab.json("order", "services")["order"])
    lab.do("lift", "--all")
    os.chmod(lab.path("run/cups/cups.sock"), 0o600)  # nobody's but root's
    assert where not in doors(lab.json("order", "staff")["order"])
    assert lab.host.call(_reach, *where, who=ALICE) != b"door"


FAKE = """mount -t tmpfs none /run
mkdir /run/cups
exec /usr/bin/python3 -c '
import os, socket, sys
sockets = []
for _ in range(64):
    s = socket.socket(socket.AF_UNIX)
    s.bind("/run/cups/cups.sock")
    s.listen(1)
    os.unlink("/run/cups/cups.sock")
    sockets.append(s)
print("ready", flush=True)
sys.stdin.read()
'
"""


def test_a_socket_of_the_same_name_hides_none(lab):
    """In a mount namespace of their own, everybody gives a socket any path."""
    os.makedirs(lab.path("run/cups"), exist_ok=True)
    os.chmod(lab.path("run/cups"), 0o755)
    where = ("unix", "/run/cups/cups.sock")
    if os.path.exists(lab.path("run/cups/cups.sock")):
        os.unlink(lab.path("run/cups/cups.sock"))
    fake = lab.host.popen(["/usr/bin/unshare", "-rm", "/bin/sh", "-ec", FAKE], ALICE, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE)
    assert fake.stdout.readline() == b"ready\n"
    serve(lab, "system.slice/cups.service", ROOT, where)
    door = doors(lab.json("order", "staff")["order"])[where]
    assert (door["kind"], door["closes"], door["user"]) == ("print", "Services=cups.service", "root")


def test_what_a_group_may_use(lab):
    """Who is in the group of a socket is what counts, and no line closes an engine's."""
    where = ("unix", "/run/docker.sock")
    serve(lab, "system.slice/docker.service", ROOT, where)
    os.chmod(lab.path("run/docker.sock"), 0o660)
    os.chown(lab.path("run/docker.sock"), 0, lab_.CONTRACTORS)  # carol's
    assert where not in doors(lab.json("order", "staff")["order"])
    lab.do("lift", "--all")
    os.chown(lab.path("run/docker.sock"), 0, lab_.STAFF)
    door = doors(lab.json("order", "staff")["order"])[where]
    assert (door["kind"], door["closes"]) == ("engine", None) and "root" in door["advice"]
    assert lab.host.call(_reach, *where, who=ALICE) == b"door"


def test_what_is_no_door(lab):
    quiet = (("tcp", "0.0.0.0", 2222), ("udp", "0.0.0.0", 123), ("udp", "0.0.0.0", 45000))
    serve(lab, "system.slice/ssh.service", ROOT, quiet[0])
    serve(lab, "system.slice/other.service", MALLORY, quiet[2])  # a client's port, as far as can be told
    serve(lab, "system.slice/chrony.service", ROOT, quiet[1])
    listed = doors(lab.json("order", "staff")["order"])
    assert not set(quiet) & set(listed)


def test_text_names_the_worst_first_and_stays_short(lab):
    serve(lab, SQUID, MALLORY, PROXY[0], PROXY[2])
    for n in range(6):
        serve(lab, f"system.slice/app{n}.service", MALLORY, ("tcp", "127.0.0.1", 4100 + n))
    text = lab.do("order", "staff")
    lines = text[text.index("Doors"):].splitlines()
    assert lines[1] == "  proxy squid.service on 127.0.0.1:3129/tcp, [::1]:3129/tcp: LoopbackDeny=3128 8118 9050 3129", text
    assert lines[2].startswith("  unknown app0.service on 127.0.0.1:4100/tcp: LoopbackDeny=3128 8118 9050 4100")
    assert re.fullmatch(r"  and \d+ more; --json lists all", lines[5]), text
    assert len(lines) == 6
    status = lab.do("status")
    assert "proxy squid.service" in status and "app5" not in status
    assert "app5.service" in lab.do("status", "--verbose")
