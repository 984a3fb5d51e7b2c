# SPDX-License-Identifier: GPL-2.0-or-later
"""Channel 3: names. Channel 4: doors on this machine. Channel 5: the door that a remote login is."""

import lab as lab_
import person
import sockets
from lab import BOB, MALLORY, RESOLVER4, RESOLVER6, ROOT
from suite import LOOPBACK, Row, by

RESOLVER = {4: RESOLVER4, 6: RESOLVER6}
STUB = {4: ("udp", "127.0.0.53", 53), 6: ("udp", "::1", 53)}
SERVICE = "foreign.service"
PROXY = 4444  # a port that no default list has


def _door(door, who=MALLORY, cgroup=None):
    """A service of WHO's that sends to the outside what it is given."""

    def play(stage, ways):
        doors = {way.family: door(stage, way) for way in ways}
        stage.service(person.relay, ways, who, cgroup=cgroup, doors=doors)
        task = stage.person(person.ask_door, ways, doors=doors)
        yield
        stage.go(task)

    return play


def _port(kind, port):
    return lambda _stage, way: (kind, LOOPBACK[way.family], port)


def _path(name):
    def door(stage, way):
        return f"{stage.lab.path('run')}/{name}{way.family}-{way.port}"

    return door


def _open_place(stage):
    """Where non-members can make a Unix socket."""
    stage.host("/usr/bin/chmod", "1777", stage.lab.path("run"))


def _unix(cgroup=None):
    play = _door(_path("door"), cgroup=cgroup)

    def opened(stage, ways):
        _open_place(stage)
        return play(stage, ways)

    return opened


def _helper(stage, ways):
    _open_place(stage)
    path = f"{stage.lab.path('run')}/helper-{ways[0].port}"
    stage.service(person.pass_on, ways, MALLORY, path=path)
    task = stage.person(person.passed_on, ways, path=path)
    yield
    stage.go(task)


def _remote_login(stage, ways):
    """root's sshd, with a connection from outside, shows what the person has on the screen."""
    screen, sshd = lab_.os.pipe()
    stage.defer(lab_.os.close, screen)
    stage.defer(lab_.os.close, sshd)
    server = stage.person(person.screen, ways, ROOT, descriptor=screen)
    sockets.dial(stage, ways)
    stage.go(server)
    writer = stage.person(person.show, ways, descriptor=sshd)
    yield
    stage.go(writer)
    stage.go(server)


def _names():
    for kind in ("udp", "tcp"):
        for port in (53, 853, 5353, 5355):
            yield Row(3, f"{kind} port {port} outside", by(person.knock, BOB, kinds=(kind,), dport=port))
    for kind in ("udp", "tcp"):
        for port in (53, 853, 5353, 5355):
            yield Row(3, f"{kind} port {port} of an internal resolver",
                      by(person.knock, BOB, kinds=(kind,), dport=port, dst=RESOLVER))


ROWS = (
    *_names(),
    Row(3, "a stub on loopback that asks on", _door(lambda _s, way: STUB[way.family], ROOT)),
    Row(3, "DNS=allow: the outside", by(person.knock, dport=53), keys=("DNS=allow",)),
    Row(3, "DNS=allow: an internal resolver", by(person.knock, dport=53, dst=RESOLVER), keys=("DNS=allow",),
        arrives=True),
    Row(3, "DNS=ADDRESS: DNS over TLS outside", by(person.knock, kinds=("tcp",), dport=853),
        keys=(f"DNS={RESOLVER4} {RESOLVER6}",)),
    Row(3, "DNS=ADDRESS: a stub on loopback", _door(lambda _s, way: STUB[way.family], ROOT),
        keys=(f"DNS={RESOLVER4} {RESOLVER6}",)),
    Row(3, "DNS=ADDRESS: goes to the address", by(person.knock, kinds=("udp",), dport=53),
        keys=(f"DNS={RESOLVER4} {RESOLVER6}",), arrives=True, second=False),
    Row(3, "an internal resolver over UDP-Lite", by(person.knock, kinds=("udplite",), dport=53, dst=RESOLVER),
        named="Ask a resolver in an odd way"),
    Row(4, "a proxy on loopback, port 3128", _door(_port("tcp", 3128))),
    Row(4, "a proxy on loopback, LoopbackDeny= lists it", _door(_port("tcp", PROXY)), keys=(f"LoopbackDeny={PROXY}",)),
    Row(4, "a proxy on another port, not listed", _door(_port("tcp", PROXY)), named="Have somebody else's program ask",
        only_lockdown=True),
    Row(4, "a service behind a Unix socket, Services= lists it", _unix("system.slice/" + SERVICE),
        keys=(f"Services={SERVICE}",)),
    Row(4, "a service behind a Unix socket, not listed", _unix("system.slice/" + SERVICE),
        named="Have somebody else's program ask", only_lockdown=True),
    Row(4, "a socket that a non-member made and passed on", _helper, named="Be helped"),
    Row(5, "a login from outside: what is on the screen", _remote_login, named="Stay logged in from outside"),
)
