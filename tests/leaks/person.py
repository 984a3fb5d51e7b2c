# SPDX-License-Identifier: GPL-2.0-or-later
"""What the locked-down person's programs do. Each is a generator of steps (see suite.in_steps) and runs as the person;
errors are nobody's business: what arrives decides."""

import errno
import fcntl
import mmap
import os
import select
import signal
import socket
import struct
import time

import netlab
import probes
import uring
from lab import HOST4, HOST6
from probes import attempt

OWN = {4: HOST4, 6: HOST6}
ETH_IP, ETH_IPV6 = 0x0800, 0x86DD
IP_OPTIONS, IP_TRANSPARENT, IPV6_TRANSPARENT = 4, 19, 75
IPV6_HOPOPTS, IPV6_RTHDR, IPV6_DSTOPTS = 54, 57, 59
CLONE_NEWUSER = 0x10000000
MSG_FASTOPEN, SO_BINDTODEVICE = 0x20000000, 25
AF_SMC, TUNSETIFF, IFF_TUN, IFF_NO_PI = 43, 0x400454ca, 1, 0x1000
SOL_PACKET, PACKET_TX_RING, PACKET_QDISC_BYPASS = 263, 13, 20
ECHO = {4: struct.pack("!BBHHH", 8, 0, 0, 0, 1), 6: struct.pack("!BBHHH", 128, 0, 0, 0, 1)}


def new_socket(way, kind):
    """One of the kinds of probes.py, for the way's family."""
    if kind == "ping":
        return socket.socket(way.domain, socket.SOCK_DGRAM,
                             socket.IPPROTO_ICMPV6 if way.family == 6 else socket.IPPROTO_ICMP)
    if kind == "raw":
        return socket.socket(way.domain, socket.SOCK_RAW, probes.ANYTHING)
    if kind in ("tcp", "mptcp"):
        return socket.socket(way.domain, socket.SOCK_STREAM, probes.MPTCP if kind == "mptcp" else 0)
    return socket.socket(way.domain, socket.SOCK_DGRAM, probes.UDPLITE if kind == "udplite" else 0)


def knock(ways, kinds=("tcp", "udp"), dst=None, dport=None):
    """Begins something new, of each kind, under the lock; waits for no answer. DST: by family, or the way's own."""
    for kind in kinds:
        for way in ways[:1]:
            if kind != "udplite":  # can it be made at all?
                new_socket(way, kind).close()
    yield
    for way in ways:
        for kind in kinds:
            probes.probe(way.spec(kind, dst and dst[way.family], dport), 0)


def with_lent_ids(ways):
    """In a user namespace for which somebody else supplies the ids, after the first step."""
    netlab.unshare(CLONE_NEWUSER)
    yield
    os.setresgid(33, 33, 33)
    os.setresuid(33, 33, 33)
    yield from knock(ways)


def go_on(ways, kind):
    """Has something open before the lock, and uses it under it."""
    held = []
    for way in ways:
        s = new_socket(way, kind)
        s.settimeout(probes.TIMEOUT)
        if kind != "udp":
            s.connect((way.dst, 0 if kind in ("ping", "raw") else way.port))
        if kind in ("tcp", "mptcp"):
            s.send(b"before")
            s.recv(64)
        else:
            s.sendto(ECHO[way.family] + b"before", (way.dst, way.port)) if kind == "udp" else \
                s.send(ECHO[way.family] + b"before")
        s.setblocking(False)
        held.append(s)
    yield
    for way, s in zip(ways, held):
        data = ECHO[way.family] + way.data
        s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # an answer that there is no such protocol is read off
        attempt(*((s.sendto, data, (way.dst, way.port)) if kind == "udp" else (s.send, data)))


def connecting(ways):
    """Connections that nobody has answered yet: the kernel asks again."""
    held = []
    for way in ways:
        s = new_socket(way, "tcp")
        s.setblocking(False)
        attempt(s.connect, (way.dst, way.port))
        held.append(s)
    yield


def part(ways):
    """Connections that the person closes and the far end does not yet."""
    for way in ways:
        s = new_socket(way, "tcp")
        s.settimeout(probes.TIMEOUT)
        s.bind(("::" if way.family == 6 else "0.0.0.0", way.port))
        s.connect((way.dst, way.port))
        s.send(b"deaf \n")
        s.close()
    yield


def _listener(way, kind="tcp"):
    s = new_socket(way, kind)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("::" if way.family == 6 else "0.0.0.0", way.port))
    if kind == "tcp":
        s.listen(16)
    return s


def serve(ways):
    """A server whose connections are left to the kernel."""
    held = [_listener(way) for way in ways]
    yield
    del held


def answer(ways, kind="tcp"):
    """A server that has been spoken to before the lock (between its first two steps), and answers under it."""
    held = [_listener(way, kind) for way in ways]
    yield
    spoken = []
    for s in held:
        s.settimeout(probes.TIMEOUT)
        spoken.append((s.accept()[0], None) if kind == "tcp" else (s, s.recvfrom(64)[1]))
    yield
    for way, (s, peer) in zip(ways, spoken):
        attempt(*((s.sendto, way.data, peer) if peer else (s.send, way.data)))


def dial(ways, addresses):
    """The outside's side: connects from an address of the internet to the person's server; then sends once."""
    held = []
    for way in ways:
        s = new_socket(way, "tcp")
        if way.family == 6:
            s.setsockopt(socket.IPPROTO_IPV6, probes.IPV6_FREEBIND, 1)
        s.bind((way.dst, 0))
        s.setblocking(False)
        attempt(s.connect, (addresses[way.family], way.port))
        held.append(s)
    yield
    for s in held:
        attempt(s.send, b"hello")
    yield


def screen(ways, descriptor):
    """What sshd does: accepts a connection from outside, and sends there what a terminal shows."""
    steps = answer(ways)
    next(steps)
    yield
    next(steps)
    yield
    attempt(os.read, descriptor, 512)
    next(steps, None)


def show(ways, descriptor):
    """What the person's shell does."""
    yield
    os.write(descriptor, b"".join(way.data for way in ways))


def fast_open(ways):
    yield
    for way in ways:
        s = new_socket(way, "tcp")
        s.setblocking(False)
        attempt(s.sendto, way.data, MSG_FASTOPEN, (way.dst, way.port))


def on_device(ways):
    held = []
    for way in ways:
        s = new_socket(way, "udp")
        s.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, b"eth0")
        held.append(s)
    yield
    for way, s in zip(ways, held):
        attempt(s.sendto, way.data, (way.dst, way.port))


def mapped(ways):
    """IPv4 through a socket of IPv6."""
    yield
    for way in ways:
        for kind in ("tcp", "udp"):
            probes.probe(way.spec(kind, "::ffff:" + way.dst), 0)


def reflect(ways, targets):
    """Packets with a source out there; whatever answers carries them to it."""
    yield
    for way in ways:
        probes.reflect_all(way.dst, targets, way.data + b"x" * 200)


def pretend(ways):
    """A source out there on a packet to an allowed host, with the right that a capture program has."""
    held = []
    for way in ways:
        s = new_socket(way, "udp")
        s.setsockopt(*((socket.IPPROTO_IPV6, IPV6_TRANSPARENT) if way.family == 6 else (socket.IPPROTO_IP, IP_TRANSPARENT)),
                     1)
        s.bind((way.dst, way.port))
        held.append(s)
    yield
    for way, s in zip(ways, held):
        attempt(s.sendto, way.data, (way.inside, 9))


def source_route(ways):
    """By way of an allowed host, which is asked to send it on."""
    yield
    for way in ways:
        s = new_socket(way, "udp")
        if way.family == 4:
            route = socket.inet_aton(way.inside) + socket.inet_aton(way.dst)
            attempt(s.setsockopt, socket.IPPROTO_IP, IP_OPTIONS, bytes([131, 3 + len(route), 4]) + route + b"\0")
        else:
            segments = socket.inet_pton(way.domain, way.dst) + socket.inet_pton(way.domain, way.inside)
            attempt(s.setsockopt, socket.IPPROTO_IPV6, IPV6_RTHDR, struct.pack("!BBBBBBH", 0, 4, 4, 1, 1, 0, 0) + segments)
        attempt(s.sendto, way.data, (way.dst, way.port))


def extension_headers(ways):
    """IPv6 with hop-by-hop and destination options, which only a capability allows."""
    yield
    pad = struct.pack("!BBBBBBBB", 0, 0, 1, 4, 0, 0, 0, 0)
    for way in ways:
        for options in ((IPV6_HOPOPTS,), (IPV6_DSTOPTS,), (IPV6_HOPOPTS, IPV6_DSTOPTS)):
            s = new_socket(way, "udp")
            for option in options:
                s.setsockopt(socket.IPPROTO_IPV6, option, pad)
            attempt(s.sendto, way.data, (way.dst, way.port))


def fragments(ways):
    yield
    for way in ways:
        attempt(new_socket(way, "udp").sendto, way.data * 400, (way.dst, way.port))


def group(ways, addresses):
    """To many at once: multicast and broadcast."""
    yield
    for way in ways:
        for dst in addresses[way.family]:
            probes.probe({**way.spec("udp", dst), "reply": False}, 0)


def raw_protocol(ways, number, header=probes.CHECKSUM_FILLER):
    """HEADER: what stands before the data; by family, or the same for both."""
    yield
    for way in ways:
        s = socket.socket(way.domain, socket.SOCK_RAW, number if not isinstance(number, dict) else number[way.family])
        start = header[way.family] if isinstance(header, dict) else header
        attempt(s.sendto, start + way.data, (way.dst, 0))


def own_header(ways):
    """A whole packet of the person's own making: from an address out there, to an allowed host, which will answer it."""
    yield
    for way in ways:
        s = socket.socket(way.domain, socket.SOCK_RAW, socket.IPPROTO_RAW)
        attempt(s.sendto, udp_packet(way, way.dst, way.inside), (way.inside, 0))


# --- past the network layer ---


def udp_packet(way, source, dst):
    """A whole one, with its header."""
    length = 8 + len(way.data)
    udp = struct.pack("!HHHH", 9, way.port, length, 0) + way.data
    ends = socket.inet_pton(way.domain, source) + socket.inet_pton(way.domain, dst)
    if way.family == 6:
        return struct.pack("!IHBB", 6 << 28, length, 17, 64) + ends + udp
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 1, 0, 64, 17, 0) + ends
    total = sum(struct.unpack("!10H", header))
    total = (total & 0xffff) + (total >> 16)
    return header[:10] + struct.pack("!H", ~total & 0xffff) + header[12:] + udp


ETHERTYPE = {4: ETH_IP, 6: ETH_IPV6}


def packet_socket(ways, how, device="eth0"):
    """Frames written to a device. HOW: raw, cooked, bypass (no queueing discipline), ring (a shared one)."""
    held = []
    for way in ways:
        s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM if how == "cooked" else socket.SOCK_RAW, 0)
        if how == "bypass":
            s.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
        s.bind((device, ETHERTYPE[way.family]))
        held.append(s)
    yield
    for way, s in zip(ways, held):
        to = b"\0" * 6 if device == "lo" else b"\xff" * 6
        frame = to + b"\x02\0\0\0\0\x01" + struct.pack("!H", ETHERTYPE[way.family]) + udp_packet(
            way, OWN[way.family], way.dst)
        if how == "cooked":
            attempt(s.sendto, frame[14:], (device, ETHERTYPE[way.family], 0, 0, to))
        elif how == "ring":
            attempt(_through_ring, s, frame)
        else:
            attempt(s.send, frame)


def late_device(ways, device):
    """A device that is there only when the lock is on."""
    yield
    for way in ways:
        with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0) as s:
            attempt(s.sendto, udp_packet(way, OWN[way.family], way.dst), (device, ETHERTYPE[way.family], 0, 0, b"\xff" * 6))


def open_tun(device, node="/dev/net/tun"):
    fd = os.open(node, os.O_RDWR)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", device.encode(), IFF_TUN | IFF_NO_PI))
    return fd


def through_tap(ways, node, device, sources):
    """The person's virtual machine: a tun device that root made for them, and the host forwards for it."""
    fd = open_tun(device, node)
    yield
    for way in ways:
        attempt(os.write, fd, udp_packet(way, sources[way.family], way.dst))


def smc(ways):
    """TCP whose socket the kernel makes for itself."""
    held = [socket.socket(AF_SMC, socket.SOCK_STREAM, way.family == 6) for way in ways]
    yield
    for way, s in zip(ways, held):
        s.setblocking(False)
        attempt(s.connect, (way.dst, way.port))


def _through_ring(s, frame):
    s.setsockopt(SOL_PACKET, PACKET_TX_RING, struct.pack("IIII", 4096, 1, 2048, 2))
    with mmap.mmap(s.fileno(), 4096) as ring:
        ring[32:32 + len(frame)] = frame
        struct.pack_into("I", ring, 8, len(frame))  # tp_len
        struct.pack_into("L", ring, 0, 1)  # tp_status: to be sent
        s.send(b"")


# --- by other people's doors ---


def ask_door(ways, doors):
    """DOORS: by family, (kind, address, port), or the path of a Unix socket."""
    yield
    for way in ways:
        attempt(_ask, way, doors[way.family])


def _ask(way, door):
    if isinstance(door, str):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        target = door
    else:
        s, target = new_socket(way, door[0]), door[1:]
    with s:
        s.settimeout(0.5)
        s.connect(target)
        s.send(way.data)
        s.recv(64)  # it says when it is done


def relay(channel, ways, doors):
    """Somebody else's service: sends to the outside what it is asked to, for whomever."""
    listening = []
    for way in ways:
        door = doors[way.family]
        if isinstance(door, str):
            s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            s.bind(door)
            os.chmod(door, 0o666)
        else:
            s = new_socket(way, door[0])
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(door[1:])
        if s.type == socket.SOCK_STREAM:
            s.listen(8)
        listening.append(s)
    channel.send(None)
    while True:
        for s in select.select(listening, [], [])[0]:
            attempt(_serve_once, s, ways[listening.index(s)])


def _serve_once(s, way):
    if s.type == socket.SOCK_STREAM:
        with s.accept()[0] as client:
            client.settimeout(0.5)
            attempt(new_socket(way, "udp").sendto, client.recv(512), (way.dst, way.port))
            client.send(b"done")
    else:
        data, peer = s.recvfrom(512)
        attempt(new_socket(way, "udp").sendto, data, (way.dst, way.port))
        s.sendto(b"done", peer)


def passed_on(ways, path):
    """A socket that somebody else made, received over a Unix socket (SCM_RIGHTS), and used."""
    yield
    for way in ways:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.settimeout(0.5)
            s.connect(path)
            s.send(str(way.family).encode())
            for fd in socket.recv_fds(s, 8, 1)[1]:
                attempt(socket.socket(fileno=fd).sendto, way.data, (way.dst, way.port))


def pass_on(channel, ways, path):
    """The willing helper."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(path)
    os.chmod(path, 0o666)
    listening.listen(8)
    by_family = {str(way.family).encode(): way for way in ways}
    channel.send(None)
    while True:
        with listening.accept()[0] as client:
            made = new_socket(by_family[client.recv(8)], "udp")
            socket.send_fds(client, [b"x"], [made.fileno()])


def rootless_relay(ways):
    """A network namespace of the person's own, whose packets a program of theirs carries out (slirp4netns, pasta)."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    child = os.fork()
    if child == 0:
        netlab.die_with_parent()
        error = attempt(netlab.unshare, CLONE_NEWUSER | netlab.CLONE_NEWNET)
        theirs.send((error or "ready").encode())
        theirs.recv(8)
        for way in ways:
            theirs.send(way.data)
        signal.pause()
    ours.settimeout(15.0)
    said = ours.recv(16)
    if said != b"ready":
        raise OSError(errno.EOPNOTSUPP, f"no network namespace of one's own: {said.decode()}")
    yield
    ours.send(b"go")
    for way in ways:
        data = ours.recv(512)
        attempt(new_socket(way, "udp").sendto, data, (way.dst, way.port))


# --- in a hurry ---


def fork_storm(ways, count=200):
    yield
    for _ in range(count):
        if os.fork() == 0:
            for way in ways:
                attempt(new_socket(way, "udp").sendto, way.data, (way.dst, way.port))
            os._exit(0)
    for _ in range(count):
        os.wait()


def change_groups(ways, owner, groups, count=300):
    """Moves between its groups, with something new each time. Begins as root and becomes OWNER."""
    os.setgroups(owner.groups)
    os.setresgid(groups[0], groups[1], groups[0])
    os.setresuid(owner.uid, owner.uid, owner.uid)
    yield
    for turn in range(count):
        os.setresgid(-1, groups[turn % len(groups)], -1)
        for way in ways:
            attempt(new_socket(way, "udp").sendto, way.data, (way.dst, way.port))


def _knock_quietly(way):
    """So that nothing follows by itself when the person is locked already: no echo that the host has an ICMP error for, no end of a
    connection that the kernel acknowledges."""
    with socket.socket(way.domain, socket.SOCK_DGRAM) as s:
        attempt(s.sendto, b"q:" + way.data, (way.dst, way.port))
    with socket.socket(way.domain, socket.SOCK_STREAM) as s:
        s.setblocking(False)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        attempt(s.connect, (way.dst, way.port))


def hurry(ways, seconds=0.4):
    """Sends from its first step until the last, as fast as it can, from a new socket each time."""
    stop = os.pipe()
    if os.fork() == 0:
        netlab.die_with_parent()
        os.set_blocking(stop[0], False)
        while True:
            for way in ways:
                _knock_quietly(way)
            try:
                os.read(stop[0], 1)
                os._exit(0)
            except BlockingIOError:
                pass
    yield
    time.sleep(seconds)  # it is the time itself that is played
    os.write(stop[1], b"x")
    os.wait()


def through_ring(ways):
    """Sockets made, connected and used by io_uring."""
    ring = uring.Ring()
    yield
    for way in ways:
        attempt(ring.send, way)
