# SPDX-License-Identifier: GPL-2.0-or-later
"""A resolver for the world, and people's questions to it.

Answers to "big…" have 250 addresses (4 KB), "deaf…" gets none, anything else has one. What does not fit into a datagram
for want of EDNS is cut off, so that it is asked again over TCP.
"""

import errno
import os
import select
import socket
import struct
import time

PORT = 5300
ADDRESS = "10.1.2.3"
BIG = 250
A, AAAA, OPT = 1, 28, 41


def question(name, number=None, edns=0, qtype=A):
    number = int.from_bytes(os.urandom(2), "big") if number is None else number
    text = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"
    extra = struct.pack("!BHHIH", 0, OPT, edns, 0, 0) if edns else b""
    return struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, 1 if edns else 0) + text + struct.pack("!HH", qtype, 1) + extra


def read_question(data):
    """Its name and type, and the largest datagram that may answer."""
    at, parts = 12, []
    while data[at]:
        parts.append(data[at + 1:at + 1 + data[at]].decode())
        at += 1 + data[at]
    (qtype,) = struct.unpack_from("!H", data, at + 1)
    edns = struct.unpack_from("!BHH", data, at + 5) if data[11] else (0, 0, 512)
    return ".".join(parts), qtype, max(edns[2], 512), at + 5


def answer_to(data, most):
    """Of at most MOST bytes."""
    name, qtype, _, end = read_question(data)
    count = 0 if qtype != A else BIG if name.startswith("big") else 1
    records = b"".join(struct.pack("!HHHIH4s", 0xC00C, A, 1, 60, 4, socket.inet_aton(ADDRESS)) for _ in range(count))
    flags = 0x8180
    if end + len(records) > most:
        flags, count, records = flags | 0x0200, 0, b""
    return data[:2] + struct.pack("!HHHHH", flags, 1, count, 0, 0) + data[12:end] + records


def describe(answer):
    """What the person makes of it."""
    flags, _, count = struct.unpack_from("!HHH", answer, 2)
    return {"number": int.from_bytes(answer[:2], "big"), "cut": bool(flags & 0x0200), "code": flags & 15,
            "addresses": count, "size": len(answer)}


class Resolver:
    """Runs in the world; remembers what it was asked."""

    def __init__(self, channel, port):
        self.channel, self.asked, self.streams = channel, [], {}
        self.datagrams, self.listeners = [], []
        for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                s = socket.socket(family, kind)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                s.bind((address, port))
                s.setblocking(False)
                if kind == socket.SOCK_STREAM:
                    s.listen(64)
                (self.datagrams if kind == socket.SOCK_DGRAM else self.listeners).append(s)

    def note(self, data, kind, family):
        name = read_question(data)[0]
        self.asked.append((name, kind, 4 if family == socket.AF_INET else 6))
        return not name.startswith("deaf")

    def datagram(self, s):
        try:
            data, peer = s.recvfrom(65536)
            if self.note(data, "udp", s.family):
                s.sendto(answer_to(data, read_question(data)[2]), peer)
        except OSError:
            pass

    def stream(self, s):
        try:
            data = s.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.streams[s] += data
        while len(self.streams[s]) >= 2:
            (size,) = struct.unpack_from("!H", self.streams[s])
            if len(self.streams[s]) < 2 + size:
                break
            text, self.streams[s] = self.streams[s][2:2 + size], self.streams[s][2 + size:]
            if self.note(text, "tcp", s.family):
                reply = answer_to(text, 65535)
                s.setblocking(True)
                s.sendall(struct.pack("!H", len(reply)) + reply)
                s.setblocking(False)
        if not data:
            del self.streams[s]
            s.close()

    def run(self):
        self.channel.send("ready")
        while True:
            ready, _, _ = select.select([self.channel, *self.datagrams, *self.listeners, *self.streams], [], [])
            for s in ready:
                if s is self.channel:
                    self.channel.request()
                    self.channel.send(self.asked)
                    self.asked = []
                elif s in self.datagrams:
                    self.datagram(s)
                elif s in self.listeners:
                    stream, _ = s.accept()
                    stream.setblocking(False)
                    self.streams[stream] = b""
                else:
                    self.stream(s)


def serve(channel, port=PORT):
    Resolver(channel, port).run()


# --- people ---


def _family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _refused(e):
    return {"error": "TIMEOUT" if isinstance(e, TimeoutError) else errno.errorcode.get(e.errno, str(e.errno))}


def ask(server, name, edns=0, timeout=3.0, port=53):
    """Over UDP, as a stub resolver does: the answer must come from the address that was asked."""
    with socket.socket(_family(server), socket.SOCK_DGRAM) as s:
        s.settimeout(timeout)
        try:
            s.connect((server, port))
            s.send(question(name, edns=edns))
            return describe(s.recv(65536))
        except OSError as e:
            return _refused(e)


def _receive(s, size):
    data = b""
    while len(data) < size:
        more = s.recv(size - len(data))
        if not more:
            raise ConnectionResetError(errno.ECONNRESET, "closed")
        data += more
    return data


def ask_all(server, names, timeout=3.0, half=False, port=53):
    """Over one TCP connection, all at once; HALF: and says that it will ask nothing more."""
    with socket.socket(_family(server), socket.SOCK_STREAM) as s:
        s.settimeout(timeout)
        try:
            s.connect((server, port))
            texts = [question(name, number) for number, name in enumerate(names)]
            s.sendall(b"".join(struct.pack("!H", len(t)) + t for t in texts))
            if half:
                s.shutdown(socket.SHUT_WR)
            return [describe(_receive(s, struct.unpack("!H", _receive(s, 2))[0])) for _ in names]
        except OSError as e:
            return _refused(e)


def flood(server, count, name="deaf"):
    """COUNT questions as fast as they go, from many ports; how many could be sent."""
    sockets = [socket.socket(_family(server), socket.SOCK_DGRAM) for _ in range(64)]
    for s in sockets:
        s.connect((server, 53))
        s.setblocking(False)
    sent = 0
    for number in range(count):
        try:
            sockets[number % 64].send(question(f"{name}.{number}.test", number & 0xFFFF))
            sent += 1
        except OSError:
            pass
    return sent


def hold(channel, server, count):
    """Opens COUNT connections, as far as they open, and says nothing on them."""
    held = []
    for _ in range(count):
        s = socket.socket(_family(server), socket.SOCK_STREAM)
        s.setblocking(False)
        s.connect_ex((server, 53))
        held.append(s)
    channel.send("ready")
    while True:
        time.sleep(60)


def inject(interface, mac, source, target, port, name):
    """A question in a packet of our own making, to an address that no routing table leads to."""
    text = question(name)
    udp = struct.pack("!HHHH", 4053, port, 8 + len(text), 0) + text  # without a checksum
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, socket.IPPROTO_UDP, 0,
                         socket.inet_aton(source), socket.inet_aton(target))
    total = sum(struct.unpack("!10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    header = header[:10] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + header[12:]
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as s:
        s.sendto(header + udp, (interface, 0x0800, 0, 0, bytes.fromhex(mac.replace(":", ""))))
