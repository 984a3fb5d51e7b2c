# SPDX-License-Identifier: GPL-2.0-or-later
"""People who make, use, pass on and leave connections to the world all the time, so that an order comes upon them in
every state. Each runs until asked, at a bounded pace, and says how often it went round."""

import collections
import os
import random
import socket
import struct
import time

import probes
from lab import INTERNET4, INTERNET6

DEAF, ECHO, DATAGRAM, SERVER = 9100, 9301, 9302, 9400  # the last one is the person's, and the next
SOL_UDP, UDP_CORK, SO_REUSEADDR, IPV6_V6ONLY, IP_FREEBIND, SO_MAX_PACING_RATE = 17, 1, 2, 26, 15, 47
HELD = 15


def _socket(kind, protocol=0):
    dst = random.choice((INTERNET4, INTERNET6))
    s = socket.socket(socket.AF_INET6 if ":" in dst else socket.AF_INET, kind, protocol)
    return s, dst


def _rounds(channel, interval):
    """A turn each INTERVAL seconds; at the end it tells how many there were."""
    channel.send("ready")
    number = 0
    while channel.request() is None:
        yield number
        number += 1
        time.sleep(interval)
    channel.send(number)


def _stuffed(tag, protocol=0):
    """A connection to a deaf peer, with data in it for the next two seconds."""
    s, dst = _socket(socket.SOCK_STREAM, protocol)
    probes.attempt(s.setsockopt, socket.SOL_SOCKET, SO_MAX_PACING_RATE, 10_000)
    s.settimeout(0.5)
    s.connect((dst, DEAF))
    s.setblocking(False)
    s.send(b"deaf \n" + tag * 10)
    probes.attempt(s.send, tag * (20_000 // len(tag)))
    return s


def _send_all(held, data):
    for s in held:
        probes.attempt(s.send, data)
    while len(held) > HELD:
        held.popleft().close()


def orphans(channel, tag, protocol=0):
    """Closed with data in them; every third half closed before."""

    def leave(number):
        s = _stuffed(tag, protocol)
        if number % 3 == 0:
            s.shutdown(socket.SHUT_WR)
        s.close()

    for number in _rounds(channel, 0.02):
        probes.attempt(leave, number)


def children(channel, tag):
    """Processes that end with data in a connection, or leave it to a child."""
    for _ in _rounds(channel, 0.02):
        pid = os.fork()
        if pid == 0:
            probes.attempt(lambda: (_stuffed(tag), os.fork()))
            os._exit(0)
        os.waitpid(pid, 0)


def passing(channel, tag):
    """Connections that nobody has open for a moment: they are in a message."""
    here, there = socket.socketpair()
    held = collections.deque()

    def pass_on():
        s = _stuffed(tag)
        socket.send_fds(here, [b"x"], [s.fileno()])
        s.close()
        time.sleep(0.002)
        held.append(socket.socket(fileno=socket.recv_fds(there, 1, 1)[1][0]))

    for _ in _rounds(channel, 0.01):
        probes.attempt(pass_on)
        _send_all(held, tag)


def connecting(channel, tag, protocol=0):
    held = collections.deque()

    def begin():
        s, dst = _socket(socket.SOCK_STREAM, protocol)
        s.setblocking(False)
        held.append(s)
        s.connect((dst, ECHO))

    for _ in _rounds(channel, 0.01):
        probes.attempt(begin)
        _send_all(held, tag)


def datagrams(channel, tag):
    """Connected ones, some with a datagram begun and not sent."""
    held = collections.deque()

    def begin(number):
        s, dst = _socket(socket.SOCK_DGRAM, (0, probes.UDPLITE)[number % 2])
        held.append(s)
        s.connect((dst, DATAGRAM))
        s.send(b"q:" + tag)
        if number % 2 == 0:
            s.setsockopt(SOL_UDP, UDP_CORK, 1)
            s.send(b"q:" + tag)
        if number % 4 == 0:
            s.setsockopt(SOL_UDP, UDP_CORK, 0)

    for number in _rounds(channel, 0.005):
        probes.attempt(begin, number)
        _send_all(held, b"q:" + tag)


def pings(channel, tag):
    def ping():
        dst = random.choice((INTERNET4, INTERNET6))
        v6 = ":" in dst
        with socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM,
                           socket.IPPROTO_ICMPV6 if v6 else socket.IPPROTO_ICMP) as s:
            s.connect((dst, 0))
            s.send(struct.pack("!BBHHH", 128 if v6 else 8, 0, 0, 0, 1) + tag)

    for _ in _rounds(channel, 0.01):
        probes.attempt(ping)


def serving(channel, tag, port, accepts):
    """Called from outside; takes the calls, or leaves them to the kernel."""
    listeners, held = [], collections.deque()
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        s = socket.socket(family)
        s.setsockopt(socket.SOL_SOCKET, SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            s.setsockopt(socket.IPPROTO_IPV6, IPV6_V6ONLY, 1)
        s.bind((address, port))
        s.listen(64)
        s.setblocking(False)
        listeners.append(s)
    for _ in _rounds(channel, 0.01):
        for s in listeners if accepts else ():
            probes.attempt(lambda s=s: held.append(s.accept()[0]))
        _send_all(held, tag * 50)


def calling(channel, addresses):
    """In the world: calls the person's servers from addresses of the internet, and talks."""
    held = collections.deque()

    def call(address, port):
        v6 = ":" in address
        s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET)
        held.append(s)
        s.setblocking(False)
        s.setsockopt(*((socket.IPPROTO_IPV6, probes.IPV6_FREEBIND) if v6 else (socket.IPPROTO_IP, IP_FREEBIND)), 1)
        s.bind((INTERNET6 if v6 else INTERNET4, 0))
        s.connect((address, port))

    for _ in _rounds(channel, 0.02):
        for address in addresses:
            for port in (SERVER, SERVER + 1):
                probes.attempt(call, address, port)
        _send_all(held, b"in")


def everybody():
    """Name, function and arguments of each; its tag is the name in brackets."""
    kinds = [("orphan", orphans), ("child", children), ("passing", passing), ("connecting", connecting),
             ("datagram", datagrams), ("ping", pings), ("accepting", serving, SERVER, True),
             ("not accepting", serving, SERVER + 1, False)]
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, probes.MPTCP).close()
        kinds += [("mptcp orphan", orphans, probes.MPTCP), ("mptcp connecting", connecting, probes.MPTCP)]
    except OSError:
        pass  # this kernel has none
    return [(name, function, b"<" + name.encode() + b">", *rest) for name, function, *rest in kinds]
