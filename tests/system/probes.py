# SPDX-License-Identifier: GPL-2.0-or-later
"""What people's programs do: open sockets and send. Runs as the person in question; also a program of its own
(probe specifications as JSON on stdin, results on stdout), to be started from inside a user namespace.

A probe only says what its own program noticed. Whether anything got out is for the world to say.
"""

import errno
import ipaddress
import json
import os
import select
import socket
import struct
import sys
import time

UDPLITE = 136
ANYTHING = 253  # a protocol number for experiments
MPTCP = 262
TIMEOUT = 2.0
IPV6_FREEBIND, IPV6_PKTINFO = 78, 50

CHECKSUM_FILLER = b"\0" * 8


def _family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _bind(s, spec):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if spec.get("sport"):
        s.bind(("::" if s.family == socket.AF_INET6 else "0.0.0.0", spec["sport"]))
    if ipaddress.ip_address(spec["dst"].removeprefix("::ffff:")).is_multicast:
        index = socket.if_nametoindex("eth0")
        if s.family == socket.AF_INET6:
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        else:
            s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("4s4si", b"", b"", index))
    if spec["dst"].endswith(".255"):
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)


def _exchange(s, payload, timeout, expect=None):
    s.send(payload)
    s.settimeout(timeout)
    return (expect or payload) in s.recv(2048)


def _tcp(spec, timeout):
    protocol = MPTCP if spec["kind"] == "mptcp" else 0
    with socket.socket(_family(spec["dst"]), socket.SOCK_STREAM, protocol) as s:
        _bind(s, spec)
        s.settimeout(timeout)
        s.connect((spec["dst"], spec["dport"]))
        return _exchange(s, spec["tag"].encode(), timeout)


def _datagram(spec, timeout):
    protocol = UDPLITE if spec["kind"] == "udplite" else 0
    with socket.socket(_family(spec["dst"]), socket.SOCK_DGRAM, protocol) as s:
        _bind(s, spec)
        s.settimeout(timeout)
        target = (spec["dst"], spec["dport"])
        if spec["kind"] == "udp-connected":
            s.connect(target)
            s.send(spec["tag"].encode())
        else:
            s.sendto(spec["tag"].encode(), target)
        if spec["kind"] == "udplite" or not spec.get("reply", True):
            return None
        return spec["tag"].encode() in s.recv(2048)


def _ping(spec, timeout):
    v6 = _family(spec["dst"]) == socket.AF_INET6
    with socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM,
                       socket.IPPROTO_ICMPV6 if v6 else socket.IPPROTO_ICMP) as s:
        s.settimeout(timeout)
        s.connect((spec["dst"], 0))
        return _exchange(s, struct.pack("!BBHHH", 128 if v6 else 8, 0, 0, 0, 1) + spec["tag"].encode(), timeout,
                         spec["tag"].encode())


def _raw(spec, _timeout):
    with socket.socket(_family(spec["dst"]), socket.SOCK_RAW, ANYTHING) as s:
        s.sendto(CHECKSUM_FILLER + spec["tag"].encode(), (spec["dst"], 0))
        return None


KINDS = {"tcp": _tcp, "mptcp": _tcp, "udp": _datagram, "udp-connected": _datagram, "udplite": _datagram,
         "ping": _ping, "raw": _raw}


def probe(spec, timeout=TIMEOUT):
    """One attempt. error: None or the errno's name; reply: an answer came (None: none is expected)."""
    started = time.monotonic()
    error = reply = None
    try:
        reply = KINDS[spec["kind"]](spec, timeout)
    except (TimeoutError, socket.timeout):
        error = "TIMEOUT"
    except OSError as e:
        error = errno.errorcode.get(e.errno, str(e.errno))
    return {"error": error, "reply": reply, "ms": (time.monotonic() - started) * 1000}


def probe_all(specs, timeout=TIMEOUT):
    return [probe(s, timeout) for s in specs]


def attempt(function, *args):
    """Calls it; returns what kept it from being done, or None."""
    try:
        function(*args)
        return None
    except OSError as e:
        return errno.errorcode.get(e.errno, str(e))


def chosen_source(source, kind, protocol=0):
    """An IPv6 socket with a source address that need not be this machine's."""
    s = socket.socket(socket.AF_INET6, kind, protocol)
    s.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
    s.bind((source, 0))
    s.setblocking(False)
    return s


def _packet_with_source(source, dst, payload):
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    s.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
    information = socket.inet_pton(socket.AF_INET6, source) + struct.pack("I", 0)
    s.sendmsg([payload], [(socket.IPPROTO_IPV6, IPV6_PKTINFO, information)], 0, (dst, 4999))


def reflect_all(source, targets, payload):
    """Has each of TARGETS answer the packets of many kinds to SOURCE, with PAYLOAD in the answer."""
    echo = struct.pack("!BBHHH", 128, 0, 0, 0, 1) + payload
    for dst in targets:
        for port in (4999, 8080):  # somebody answers at the second
            attempt(lambda: chosen_source(source, socket.SOCK_DGRAM).sendto(payload, (dst, port)))
        attempt(lambda: chosen_source(source, socket.SOCK_DGRAM, socket.IPPROTO_ICMPV6).sendto(echo, (dst, 0)))
        attempt(lambda: chosen_source(source, socket.SOCK_STREAM).connect((dst, 8080)))
        attempt(_packet_with_source, source, dst, payload)


def stream(channel, dst, dport, interval=0.002, name="stream"):
    """A numbered UDP stream; answers "stop" with how many were sent and what errors there were. What it could not send in
    time is not made up for: that would take the processors from all others for as long as they are short."""
    s = socket.socket(_family(dst), socket.SOCK_DGRAM)
    channel.send("ready")
    number, errors = 0, {}
    target = (dst, dport)
    due = time.monotonic()
    while channel.request() is None:
        try:
            s.sendto(b"q:%s:%d:" % (name.encode(), number), target)
        except OSError as e:
            code = errno.errorcode.get(e.errno, str(e.errno))
            errors[code] = errors.get(code, 0) + 1
        number += 1
        due = max(due + interval, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))
    channel.send({"sent": number, "errors": errors})


def flood(channel, dst, dport, name, interval=0.00007):
    """Datagrams as fast as every 70 microseconds, each with its number and the moment it was sent (monotonic, ns), whatever
    becomes of them; answers anything with how many there were."""
    s = socket.socket(_family(dst), socket.SOCK_DGRAM)
    channel.send("ready")
    number, due = 0, time.monotonic()
    while channel.request() is None:
        for _ in range(16):
            try:
                s.sendto(b"q:%s:%d:%d:" % (name.encode(), number, time.monotonic_ns()), (dst, dport))
            except OSError:
                pass
            number += 1
            due = max(due + interval, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))
    channel.send(number)


def transfer(channel, dst, dport, rate=200_000, sport=0):
    """An open download that also sends a little; answers "report" at any time."""
    s = socket.socket(_family(dst), socket.SOCK_STREAM)
    if sport:
        _bind(s, {"dst": dst, "sport": sport})
    s.settimeout(TIMEOUT)
    s.connect((dst, dport))
    s.sendall(b"download %d \n" % rate)
    sport = s.getsockname()[1]
    received, error = 0, None
    channel.send(sport)
    while True:
        readable = select.select([channel] if error else [channel, s], [], [])[0]
        if s in readable and not error:  # before it tells of it
            try:
                data = s.recv(65536)
                received += len(data)
                error = None if data else "EOF"
            except OSError as e:
                error = errno.errorcode.get(e.errno, str(e.errno))
        if channel in readable:
            channel.request()
            retransmits = None
            if not error:  # tcpi_total_retrans
                retransmits = struct.unpack_from("I", s.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 100)[0]
            channel.send({"received": received, "error": error, "retransmits": retransmits})


def hold(channel, dst, dport, kind="tcp", first=b"echo me\n"):
    """An established connection, idle; answers "send" with the result of sending once more."""
    s = socket.socket(_family(dst), socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    s.settimeout(TIMEOUT)
    s.connect((dst, dport))
    s.send(first)
    s.recv(2048)
    channel.send(s.getsockname()[1])
    while True:
        channel.request(None)
        try:
            s.send(b"again\n")
            data = s.recv(2048)
            channel.send("EOF" if not data else None)
        except (TimeoutError, socket.timeout):
            channel.send("TIMEOUT")
        except OSError as e:
            channel.send(errno.errorcode.get(e.errno, str(e.errno)))


def stuff(channel, dst, dport, close=True, amount=4 << 20):
    """Fills a connection to a deaf peer until nothing more fits; then, told to, closes it (an orphan is left) or
    waits to be killed."""
    s = socket.socket(_family(dst), socket.SOCK_STREAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, amount)
    s.settimeout(TIMEOUT)
    s.connect((dst, dport))
    s.send(b"deaf \n")
    time.sleep(0.05)  # the peer reads the first line alone
    s.setblocking(False)
    queued, quiet = 0, 0
    while quiet < 5:  # the window opens a few times before it is shut for good
        try:
            queued += s.send(b"secret! " * 8192)
            quiet = 0
        except BlockingIOError:
            quiet += 1
            select.select([], [s], [], 0.02)
    channel.send({"sport": s.getsockname()[1], "queued": queued})
    channel.request(None)
    if close:
        s.close()
    channel.send("done")
    channel.request(None)


def hammer(channel, dst4, dst6, dport, sports):
    """Opens connections and sends datagrams as fast as every 100 microseconds; each has its own source port, and
    the moment it began is kept."""
    channel.send("ready")
    begun, turn = [], 0
    due = time.monotonic()
    for sport in sports:
        if channel.request() is not None:
            break
        dst = (dst4, dst6)[turn & 1]
        tcp = turn & 2
        turn += 1
        s = socket.socket(_family(dst), socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
        try:
            s.setblocking(False)
            _bind(s, {"dst": dst, "sport": sport})
            began = time.monotonic()
            if tcp:
                s.connect((dst, dport))
            else:
                s.sendto(b"q:hammer:%d:" % sport, (dst, dport))
        except OSError:
            pass
        begun.append((sport, began))
        s.close()
        due += 0.0001
        time.sleep(max(0.0, due - time.monotonic()))
    else:
        channel.request(None)
    channel.send(begun)


def main():
    request = json.load(sys.stdin)
    json.dump({"uid": os.getuid(), "results": probe_all(request["specs"], request.get("timeout", TIMEOUT))},
              sys.stdout)


if __name__ == "__main__":
    main()
