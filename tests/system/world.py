# SPDX-License-Identifier: GPL-2.0-or-later
"""The far side: a sniffer that keeps every packet that arrived, and a server that answers on any port.

TCP: a connection's first line says what it wants: "download RATE" (bytes a second until closed), "deaf" (nothing is
read until told), anything else is echoed. UDP is echoed unless it begins with "q:" (quiet).
"""

import dataclasses
import errno
import ipaddress
import select
import socket
import struct
import time

CATCH_ALL = 7000
KEPT = 256  # bytes of a packet
PACKET_OUTGOING = 4
SO_ORIGINAL_DST = 80
SOL_PACKET, PACKET_STATISTICS = 263, 6
SO_RCVBUFFORCE, SO_SNDBUFFORCE = 33, 32
TICK = 0.005
BANNER = b"lockdown-lab\n"


@dataclasses.dataclass
class Packet:
    """One that arrived. Ports are 0 where the protocol has none."""

    protocol: int
    src: str
    dst: str
    sport: int
    dport: int
    flags: int  # TCP's
    length: int  # of the payload
    payload: bytes

    @property
    def only_reset(self):
        """A RST without data: what a peer is told when a connection is severed."""
        return self.protocol == socket.IPPROTO_TCP and self.flags & 4 and not self.length


def parse(ethertype, data, length):
    """A Packet, or None for what is no business of anybody's (ARP, neighbour discovery…)."""
    if ethertype == 0x0800:
        offset = (data[0] & 15) * 4
        protocol, src, dst = data[9], data[12:16], data[16:20]
    elif ethertype == 0x86DD:
        offset = 40
        protocol, src, dst = data[6], data[8:24], data[24:40]
    else:
        return None
    sport = dport = flags = 0
    header = 0
    if protocol in (6, 17, 136) and len(data) >= offset + 8:
        sport, dport = struct.unpack_from("!HH", data, offset)
        header = 8
        if protocol == 6 and len(data) >= offset + 14:
            header, flags = (data[offset + 12] >> 4) * 4, data[offset + 13]
    elif protocol == 1:
        header = 8
    elif protocol == 58:
        header = 8
        if data[offset] in (130, 131, 132, 133, 134, 135, 136, 143):
            return None
    elif protocol == 0 and ethertype == 0x86DD and data[offset] == 58:
        return None  # multicast listener reports
    elif protocol == 2:
        return None
    offset += header
    return Packet(protocol, str(ipaddress.ip_address(src)), str(ipaddress.ip_address(dst)), sport, dport, flags,
                  max(0, length - offset), data[offset:])


class Sniffer:
    """Keeps the beginning of every packet received on INTERFACE; never forgets one silently."""

    def __init__(self, interface):
        self.interface, self.packets, self.dropped = interface, [], 0
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 32 << 20)
        self.socket.setblocking(False)
        self.buffer = bytearray(KEPT)

    def read(self):
        while True:
            try:
                length, address = self.socket.recvfrom_into(self.buffer, KEPT, socket.MSG_TRUNC)
            except BlockingIOError:
                break
            except OSError as e:
                if e.errno in (errno.ENETDOWN, errno.ENODEV):  # the interface went away with its host
                    continue
                raise
            if address[0] == self.interface and address[2] != PACKET_OUTGOING:
                self.packets.append((address[1], bytes(self.buffer[:min(length, KEPT)]), length))
        self.dropped += struct.unpack("II", self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]

    def since(self, mark):
        return [p for p in (parse(*raw) for raw in self.packets[mark:]) if p]


class Connection:
    """An accepted TCP connection."""

    def __init__(self, sock, peer):
        self.socket, self.mode = sock, None
        self.peer, self.sport = peer[0].removeprefix("::ffff:"), peer[1]
        self.received = self.sent = 0
        self.state, self.rate, self.credit, self.fed = "open", 0, 0.0, 0.0
        self.deaf = False

    def end(self, state):
        self.state = state
        self.socket.close()

    def receive(self):
        try:
            data = self.socket.recv(65536 if self.mode else 64)
        except BlockingIOError:
            return
        except OSError as e:
            self.end("reset" if e.errno == errno.ECONNRESET else errno.errorcode.get(e.errno, "error"))
            return
        if not data:
            self.end("closed")
            return
        self.received += len(data)
        if self.mode is None:
            word, *rest = data.split(None, 2) or [b""]
            self.mode = word.decode("ascii", "replace") if word in (b"download", b"deaf") else "echo"
            if self.mode == "download":
                self.rate, self.fed = int(rest[0]), time.monotonic()
            elif self.mode == "deaf":
                self.deaf = True
        if self.mode == "echo":
            self.send(data)

    def send(self, data):
        try:
            self.sent += self.socket.send(data)
        except BlockingIOError:
            pass
        except OSError as e:
            self.end("reset" if e.errno in (errno.ECONNRESET, errno.EPIPE) else "error")

    def feed(self):
        """Once a tick. Each packet wakes whoever calls this, also the acknowledgements of what was fed: to answer them at once
        with the few bytes that are due by then would be as many packets as two processors can bear."""
        now = time.monotonic()
        if now - self.fed < TICK:
            return
        self.credit = min(self.credit + (now - self.fed) * self.rate, 65536)
        self.fed = now
        if self.credit >= 1:
            data = b"d" * int(self.credit)
            self.credit -= len(data)
            self.send(data)

    def describe(self):
        return {"peer": self.peer, "sport": self.sport, "mode": self.mode, "state": self.state,
                "received": self.received, "sent": self.sent}


class Peer:
    """Serves the parent's requests, the connections and the sniffer in one loop."""

    def __init__(self, channel, ports, interface=None):
        self.channel = channel
        self.sniffer = Sniffer(interface) if interface else None
        self.listeners, self.datagrams, self.connections, self.udp = [], [], [], []
        for port in ports:
            for family, any_address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
                self.listeners.append(self.open(family, socket.SOCK_STREAM, any_address, port))
                self.datagrams.append(self.open(family, socket.SOCK_DGRAM, any_address, port))

    @staticmethod
    def open(family, kind, address, port):
        s = socket.socket(family, kind)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        s.bind((address, port))
        s.setblocking(False)
        if kind == socket.SOCK_STREAM:
            s.listen(512)
        else:
            s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
        return s

    def accept(self, listener):
        while True:
            try:
                sock, peer = listener.accept()
            except (BlockingIOError, ConnectionError):
                return
            sock.setblocking(False)
            self.connections.append(Connection(sock, peer))

    def datagram(self, sock):
        while True:
            try:
                data, peer = sock.recvfrom(2048)
            except BlockingIOError:
                return
            except OSError:
                continue
            if self.sniffer is None:
                self.udp.append(data)
            if not data.startswith(b"q:"):
                try:
                    sock.sendto(data, peer)
                except OSError:
                    pass

    def answer(self, request):
        verb, *args = request
        if verb == "mark":
            return len(self.sniffer.packets)
        if verb == "packets":
            return self.sniffer.since(args[0]), self.sniffer.dropped
        if verb == "raw-has":  # has the payload arrived after the mark?
            return any(args[1] in data for _, data, _ in self.sniffer.packets[args[0]:])
        if verb == "connections":
            return [c.describe() for c in self.connections]
        if verb == "hear":  # deaf connections begin to read
            for c in self.connections:
                c.deaf = False
            return None
        if verb == "udp":
            return self.udp
        if verb == "forget":
            for c in self.connections:
                if c.state == "open":
                    c.socket.close()
            self.connections, self.udp = [], []
            if self.sniffer:
                self.sniffer.packets = []
            return None
        raise ValueError(verb)

    def run(self):
        self.channel.send("ready")
        while True:
            live = [c for c in self.connections if c.state == "open"]
            feeding = [c for c in live if c.mode == "download"]
            # A deaf connection is still polled for errors: that is how its peer's reset is seen.
            poll = select.poll()
            handlers = {}

            def watch(thing, handler, events=select.POLLIN, poll=poll, handlers=handlers):
                poll.register(thing, events)
                handlers[thing.fileno()] = handler

            watch(self.channel, None)
            if self.sniffer:
                watch(self.sniffer.socket, self.sniffer.read)
            for s in self.listeners:
                watch(s, lambda s=s: self.accept(s))
            for s in self.datagrams:
                watch(s, lambda s=s: self.datagram(s))
            for c in live:
                watch(c.socket, c.receive, 0 if c.deaf else select.POLLIN)
            asked = False
            for fd, _ in poll.poll(TICK * 1000 if feeding else None):
                if handlers[fd]:
                    handlers[fd]()
                else:
                    asked = True
            for c in feeding:
                if c.state == "open":
                    c.feed()
            if asked:
                request = self.channel.request()
                if self.sniffer:
                    self.sniffer.read()
                self.channel.send(self.answer(request))


def serve(channel, ports, interface=None):
    Peer(channel, ports, interface).run()
