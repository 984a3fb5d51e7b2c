# SPDX-License-Identifier: GPL-2.0-or-later
"""Callers of lockdownd's socket that mean no good, and one who does: D-Bus by hand, so that any of it can be wrong.

Attackers run as whom they are spawned, and hold as many connections as they are told. Each connection has one way of
being a nuisance (KINDS); one that is hung up on is replaced.
"""

import array
import errno
import os
import resource
import select
import socket
import struct
import time

NAME = "org.egresslockdown.Lockdown1"
PATH = "/org/egresslockdown/Lockdown1"
GREETING = b"\0AUTH EXTERNAL\r\nDATA\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n"
CALL, RETURN, ERROR, SIGNAL = 1, 2, 3, 4


# --- messages ---

def _pad(data, to):
    return data + b"\0" * (-len(data) % to)


def _string(text, at=0):
    data = text.encode()
    return b"\0" * (-at % 4) + struct.pack("<I", len(data)) + data + b"\0"


def strings(*texts):
    """A body of strings."""
    body = b""
    for text in texts:
        body += _string(text, len(body))
    return body


def message(member, signature="", body=b"", serial=1, interface=NAME, path=PATH, destination=None, announce=None):
    """A method call; ANNOUNCE: the length of the body that the header claims."""
    fields = b""
    for code, kind, text in ((1, "o", path), (2, "s", interface), (3, "s", member), (6, "s", destination),
                             (8, "g", signature)):
        if not text:
            continue
        fields = _pad(fields, 8) + bytes((code, 1)) + kind.encode() + b"\0"
        fields += bytes((len(text),)) + text.encode() + b"\0" if kind == "g" else _string(text)
    header = struct.pack("<cBBBIII", b"l", CALL, 0, 1, len(body) if announce is None else announce, serial, len(fields))
    return _pad(header + fields, 8) + body


def status(serial=1, **more):
    return message("Status", "sb", _pad(strings(""), 4) + struct.pack("<I", 0), serial, **more)


def order(profile, serial=1, **more):
    body = _pad(_pad(strings(profile), 4) + struct.pack("<I", 0), 8)
    return message("Order", "sa{sv}", body, serial, **more)


def lift(profile, serial=1, **more):
    return message("Lift", "ss", strings(profile, "over"), serial, **more)


# --- one who waits for answers ---

class Caller:
    """A connection that behaves. BROKER: to a message bus, so that Hello comes first and calls have a destination."""

    def __init__(self, path, broker=False, timeout=60.0):
        self.socket = socket.socket(socket.AF_UNIX)
        for way in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):  # as lockdownctl does it: connect() waits, too
            self.socket.setsockopt(socket.SOL_SOCKET, way, struct.pack("@ll", int(timeout), 0))
        self.socket.connect(path)
        self.socket.sendall(GREETING)
        self.buffer = b""
        while b"AGREE_UNIX_FD\r\n" not in self.buffer and b"ERROR\r\n" not in self.buffer:
            self.buffer += self._receive()
        self.buffer = b""
        if broker:
            self.socket.sendall(message("Hello", interface="org.freedesktop.DBus", path="/org/freedesktop/DBus",
                                        destination="org.freedesktop.DBus"))
            self.answer(1)

    def _receive(self):
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionResetError("hung up")
        return data

    def read(self):
        """The next message: its type, what it answers, the name of the error or None, and its first string."""
        while len(self.buffer) < 16 or len(self.buffer) < self._size():
            self.buffer += self._receive()
        size, kind = self._size(), self.buffer[1]
        body_size, _, fields_size = struct.unpack_from("<III", self.buffer, 4)
        whole, self.buffer = self.buffer[:size], self.buffer[size:]
        serial = error = None
        at, end = 16, 16 + fields_size
        while at < end:
            at += -at % 8
            code, signature = whole[at], whole[at + 2:at + 3]
            at += 4
            if signature == b"u":
                serial = struct.unpack_from("<I", whole, at)[0] if code == 5 else serial
                at += 4
            elif signature == b"g":
                at += whole[at] + 2
            else:
                length = struct.unpack_from("<I", whole, at)[0]
                error = whole[at + 4:at + 4 + length].decode() if code == 4 else error
                at += length + 5
        body = whole[size - body_size:]
        text = body[4:4 + struct.unpack_from("<I", body)[0]].decode() if body_size >= 4 else ""
        return kind, serial, error, text

    def _size(self):
        body, _, fields = struct.unpack_from("<III", self.buffer, 4)
        return 16 + fields + -fields % 8 + body

    def answer(self, serial):
        while True:
            kind, answered, error, text = self.read()
            if kind in (RETURN, ERROR) and answered == serial:
                return error, text

    def ask(self, data, serial=1):
        self.socket.sendall(data)
        return self.answer(serial)

    def close(self):
        self.socket.close()


def operate(channel, path, profile):
    """Orders and lifts when told, over a new connection each time: answers how long the order took, seconds."""
    channel.send("ready")
    while True:
        if channel.request(None) is None:
            continue
        started = time.monotonic()
        caller = Caller(path)
        error, text = caller.ask(order(profile))
        taken = time.monotonic() - started
        if error is None:
            error, text = caller.ask(lift(profile, 2), 2)
        caller.close()
        channel.send((taken, error and f"{error}: {text}"))


# --- those who do not ---

class Nuisance:
    """One connection; most only want to be written to."""

    reads, repeats = False, b""

    def __init__(self, path, number, counts):
        self.counts, self.number, self.rest = counts, number, b""
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self.closed = False
        self.socket.connect(path)
        self.begin()

    def begin(self):
        self.rest = GREETING

    def events(self):
        return (select.POLLIN if self.reads else 0) | (select.POLLOUT if self.rest or self.repeats else 0)

    def write(self):
        if not self.rest:
            self.rest = self.repeats
            self.counts["messages"] += self.repeats.count(b"l\1\0\1")
        try:
            self.rest = self.rest[self.socket.send(self.rest):]
        except BlockingIOError:
            pass
        except OSError:
            self.close()

    def read(self):
        try:
            data = self.socket.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.counts["answered bytes"] += len(data)
        if not data:
            self.close()

    def close(self):
        self.closed = True
        self.socket.close()


class Silent(Nuisance):
    """Says nothing."""

    def begin(self):
        pass


class Dripping(Nuisance):
    """One byte, and then none for a minute."""

    def begin(self):
        self.rest = b"\0"


class HalfGreeting(Nuisance):
    def begin(self):
        self.rest = b"\0AUTH EXTERNAL 30\r\nNEGOTIATE_UN"


class EndlessGreeting(Nuisance):
    repeats = b"NOT A COMMAND\r\n" * 64

    def begin(self):
        self.rest = b"\0"


class Garbage(Nuisance):
    def begin(self):
        self.rest = GREETING
        self.repeats = os.urandom(512)


class Oversized(Nuisance):
    """128 MiB, and sends them."""

    repeats = b"\0" * (1 << 17)

    def begin(self):
        self.rest = GREETING + message("Status", "s", b"", announce=(1 << 27) - 1024)


class JustAllowed(Nuisance):
    """Messages that never end, as long as they may be."""

    def begin(self):
        self.rest = GREETING + message("Status", "s", b"x" * 15000, announce=15500)


class Truncated(Nuisance):
    def begin(self):
        whole = order("staff")
        self.rest = GREETING + whole[:17 + self.number % (len(whole) - 18)]


class AsksUnread(Nuisance):
    """Status, pipelined, and reads no answer."""

    repeats = b"".join(status(n) for n in range(1, 65))


class AsksAll(Nuisance):
    """One of everything that is read only or refused, pipelined; reads the answers."""

    reads = True
    repeats = b"".join((status(1), message("Attempts", "s", strings(""), 2), message("Explain", "ss", strings(
        "alice", "198.51.100.7:443"), 3), order("staff", 4), lift("staff", 5), message("History", serial=6), message(
            "Verify", "s", strings(""), 7), message("Frobnicate", serial=8)))


class Introspects(Nuisance):
    """What sd-bus answers by itself, which no handler of ours sees; unread."""

    repeats = b"".join(message(member, signature, body, interface=f"org.freedesktop.DBus.{interface}") for
                       interface, member, signature, body in (
                           ("Introspectable", "Introspect", "", b""), ("Peer", "Ping", "", b""),
                           ("Properties", "GetAll", "s", strings(NAME)), ("Nothing", "Nothing", "", b"")))


class Subscriber(Nuisance):
    """Asks once, so that it hears of changes, and never reads."""

    def begin(self):
        self.rest = GREETING + status()


class GivesDescriptors(Nuisance):
    """As many descriptors as go with one message that never ends."""

    reads = True

    def begin(self):
        self.rest = b""
        self.given = 0
        self.read_any = False
        self.socket.send(GREETING)

    def events(self):
        """Once the greeting was answered: with the greeting sd-bus takes none."""
        return select.POLLIN | (select.POLLOUT if self.read_any and self.given < 8 else 0)

    def read(self):
        self.read_any = True
        super().read()

    def write(self):
        data = message("Status", "s", b"", announce=1000) if self.given == 0 else b"x"
        try:
            self.socket.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                                          array.array("i", [self.socket.fileno()] * 250))])
            self.given += 1
            self.counts["descriptors"] += 250
        except BlockingIOError:
            pass
        except OSError as e:
            if e.errno != errno.ETOOMANYREFS:
                self.close()


class Vanishes(Nuisance):
    """Gone as soon as it has asked."""

    def begin(self):
        self.rest = GREETING + order("staff") + lift("staff", 2) + status(3)

    def write(self):
        super().write()
        if not self.rest:
            self.close()


KINDS = (Silent, Dripping, HalfGreeting, EndlessGreeting, Garbage, Oversized, JustAllowed, Truncated, AsksUnread,
         AsksAll, Introspects, Subscriber, GivesDescriptors, Vanishes)


class Attack:
    def __init__(self, path, kinds, connections, total):
        self.path, self.kinds, self.connections, self.total = path, kinds, connections, total
        self.counts = dict.fromkeys(("connections", "hung up", "messages", "answered bytes", "descriptors", "no room"),
                                    0)
        self.open = {}

    def fill(self):
        at_once = 100
        while at_once and len(self.open) < self.connections and self.counts["connections"] < self.total:
            number = self.counts["connections"]
            at_once -= 1
            try:
                one = self.kinds[number % len(self.kinds)](self.path, number, self.counts)
            except BlockingIOError:  # more are waiting to be let in than may
                self.counts["no room"] += 1
                return
            except OSError:
                self.counts["hung up"] += 1
                self.counts["connections"] += 1
                continue
            self.counts["connections"] += 1
            self.open[one.socket.fileno()] = one

    def turn(self):
        self.fill()
        poll = select.poll()
        for fd, one in self.open.items():
            poll.register(fd, one.events())
        for fd, events in poll.poll(5):
            one = self.open[fd]
            if events & select.POLLIN:
                one.read()
            if events & select.POLLOUT and not one.closed:
                one.write()
            if events & (select.POLLHUP | select.POLLERR) and not one.closed:
                one.close()
            if one.closed:
                self.counts["hung up"] += 1
                del self.open[fd]


def attack(channel, path, connections, total, kinds=KINDS):
    """Holds CONNECTIONS at a time, TOTAL in all, until told to stop; then answers what it did."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    os.nice(10)  # who has the processor is not the question, but whom the daemon serves
    one = Attack(path, kinds, connections, total)
    channel.send("ready")
    while True:
        request = channel.request()
        if request:
            channel.send(one.counts)
            if request[0] == "stop":
                return
        one.turn()
