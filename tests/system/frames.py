# SPDX-License-Identifier: GPL-2.0-or-later
"""Frames written through packet sockets, in every way there is, as a capture program with CAP_NET_RAW could."""

import ipaddress
import mmap
import socket
import struct

SOL_PACKET = 263
PACKET_TX_RING, PACKET_VNET_HDR, PACKET_QDISC_BYPASS = 13, 15, 20
TP_STATUS_SEND_REQUEST = 1
IP, IP6, ARP, VLAN, EXPERIMENT = 0x0800, 0x86DD, 0x0806, 0x8100, 0x88B5
UDP, ICMP = 17, 1


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def udp(src, dst, payload, port=4444):
    """An IP packet of the family of its addresses."""
    src, dst = ipaddress.ip_address(src).packed, ipaddress.ip_address(dst).packed
    length = 8 + len(payload)
    head = struct.pack("!HHHH", port, port, length, 0)
    pseudo = src + dst + struct.pack("!II", length, UDP)
    head = struct.pack("!HHHH", port, port, length, checksum(pseudo + head + payload) or 0xFFFF)
    return _ip(src, dst, UDP, head + payload)


def echo(src, dst, payload):
    head = struct.pack("!BBHHH", 8, 0, 0, 1, 1)
    head = struct.pack("!BBHHH", 8, 0, checksum(head + payload), 1, 1)
    return _ip(ipaddress.ip_address(src).packed, ipaddress.ip_address(dst).packed, ICMP, head + payload)


def reset(src, dst, payload, port=4444):
    """A TCP reset that carries something."""
    src, dst = ipaddress.ip_address(src).packed, ipaddress.ip_address(dst).packed
    head = struct.pack("!HHIIBBHHH", port, port, 1, 1, 0x50, 0x04, 0, 0, 0)
    return _ip(src, dst, socket.IPPROTO_TCP, head + payload)


def _ip(src, dst, protocol, data):
    if len(src) == 16:
        return struct.pack("!IHBB", 6 << 28, len(data), protocol, 64) + src + dst + data
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(data), 1, 0, 64, protocol, 0) + src + dst
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + data


def ethertype(packet):
    return IP6 if packet[0] >> 4 == 6 else IP


def _raw(device, mac, kind, packet, believed):
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
        s.sendto(mac + b"\2\0\0\0\0\2" + struct.pack("!H", kind) + packet, (device, believed))


def _datagram(device, mac, kind, packet, _believed):
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as s:
        s.sendto(packet, (device, kind, 0, 0, mac))


def _bypass(device, mac, kind, packet, believed):
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
        s.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
        s.sendto(mac + b"\2\0\0\0\0\2" + struct.pack("!H", kind) + packet, (device, believed))


def _virtio(device, mac, kind, packet, believed):
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
        s.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        s.sendto(b"\0" * 10 + mac + b"\2\0\0\0\0\2" + struct.pack("!H", kind) + packet, (device, believed))


def _ring(device, mac, kind, packet, believed):
    frame = mac + b"\2\0\0\0\0\2" + struct.pack("!H", kind) + packet
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
        s.bind((device, believed))
        s.setsockopt(SOL_PACKET, PACKET_TX_RING, struct.pack("IIII", 4096, 1, 2048, 2))
        with mmap.mmap(s.fileno(), 4096) as ring:
            ring[32:32 + len(frame)] = frame
            ring[8:12] = struct.pack("I", len(frame))
            ring[0:8] = struct.pack("Q", TP_STATUS_SEND_REQUEST)
            s.send(b"")


WAYS = {"raw": _raw, "datagram": _datagram, "bypass": _bypass, "virtio": _virtio, "ring": _ring}


def send(device, mac, packet, ways=tuple(WAYS), kind=None, believed=None):
    """KIND: what stands in the frame; BELIEVED: what the kernel is told that it is. Returns how many were written,
    refused ones included."""
    kind = ethertype(packet) if kind is None else kind
    for way in ways:
        try:
            WAYS[way](device, mac, kind, packet, kind if believed is None else believed)
        except OSError as e:
            if e.errno != 105:  # ENOBUFS: how a refused one is told
                raise
    return len(ways)


def listen(channel, device):
    """Answers "has" with whether any frame received on DEVICE carried a tag."""
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    s.bind((device, 3))
    s.setblocking(False)
    kept = []
    channel.send("ready")
    while True:
        _, tag = channel.request(None)
        while True:
            try:
                kept.append(s.recv(2048))
            except BlockingIOError:
                break
        channel.send(any(tag in frame for frame in kept))
