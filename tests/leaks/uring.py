# SPDX-License-Identifier: GPL-2.0-or-later
"""Just enough of io_uring to make a socket, connect it and send on it without a single call of the socket family."""

import ctypes
import mmap
import os
import socket
import struct

SETUP, ENTER = 425, 426  # the same on every architecture
ENTRIES, SQE, CQE = 8, 64, 16
OFF_SQ, OFF_CQ, OFF_SQES = 0, 0x8000000, 0x10000000
GETEVENTS = 1
OP_CONNECT, OP_SEND, OP_SOCKET = 16, 26, 45

_libc = ctypes.CDLL(None, use_errno=True)


def _call(*args):
    result = _libc.syscall(*args)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


class Ring:
    """One request at a time."""

    def __init__(self):
        parameters = ctypes.create_string_buffer(120)
        self.fd = _call(SETUP, ENTRIES, parameters)
        # struct io_uring_params: ten words, then the offsets of the two rings, ten words each
        self.sq, self.cq = struct.unpack_from("10I", parameters, 40), struct.unpack_from("10I", parameters, 80)
        entries = struct.unpack_from("II", parameters, 0)
        self.submit = mmap.mmap(self.fd, self.sq[6] + entries[0] * 4, offset=OFF_SQ)
        self.complete = mmap.mmap(self.fd, self.cq[5] + entries[1] * CQE, offset=OFF_CQ)
        self.requests = mmap.mmap(self.fd, entries[0] * SQE, offset=OFF_SQES)
        self.mask = entries[1] - 1

    def do(self, opcode, fd, offset=0, address=0, length=0):
        """Returns the result, or raises."""
        tail, = struct.unpack_from("I", self.submit, self.sq[1])
        slot = tail % ENTRIES
        self.requests[slot * SQE:(slot + 1) * SQE] = struct.pack("=BBHiQQI", opcode, 0, 0, fd, offset, address,
                                                                 length).ljust(SQE, b"\0")
        struct.pack_into("I", self.submit, self.sq[6] + slot * 4, slot)
        struct.pack_into("I", self.submit, self.sq[1], tail + 1)
        _call(ENTER, self.fd, 1, 1, GETEVENTS, None, 0)
        head, = struct.unpack_from("I", self.complete, self.cq[0])
        result, = struct.unpack_from("i", self.complete, self.cq[5] + (head & self.mask) * CQE + 8)
        struct.pack_into("I", self.complete, self.cq[0], head + 1)
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        return result

    def send(self, way):
        """A datagram on a socket made, connected and used through the ring."""
        if way.family == 6:
            target = struct.pack("=H", socket.AF_INET6) + struct.pack("!HI16sI", way.port, 0,
                                                                      socket.inet_pton(socket.AF_INET6, way.dst), 0)
        else:
            target = struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", way.port, socket.inet_aton(way.dst))
        address, data = ctypes.create_string_buffer(target, len(target)), ctypes.create_string_buffer(way.data)
        fd = self.do(OP_SOCKET, way.domain, socket.SOCK_DGRAM)
        self.do(OP_CONNECT, fd, len(target), ctypes.addressof(address))
        self.do(OP_SEND, fd, 0, ctypes.addressof(data), len(way.data))
