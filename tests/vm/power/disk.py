# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk with a write cache that forgets, served to qemu over NBD.

Killing qemu is not yet pulling a plug: whatever it has written to a file, or the kernel holds for it, is still there
afterwards, flushed or not, and with cache=none only the rest of what is on its way is lost. So what the guest writes
stays here in memory until the guest flushes, as in a disk with a volatile cache; and when the plug is pulled, of all
that was not flushed nothing is left, or any part in any order, down to half a write (sectors of 512 bytes are whole).
That is all a disk promises, and more than most of them forget.
"""

import mmap
import os
import socket
import struct
import threading

SECTOR = 512

# The NBD protocol, as far as qemu needs it.
MAGIC, OPTION_MAGIC, REPLY_MAGIC = b"NBDMAGIC", b"IHAVEOPT", 0x3E889045565A9
FIXED_NEWSTYLE, NO_ZEROES = 1, 2
OPTION_EXPORT_NAME, OPTION_ABORT, OPTION_GO = 1, 2, 7
REPLY_ACK, REPLY_INFO, REPLY_UNSUPPORTED = 1, 3, 2**31 + 1
HAS_FLAGS, SEND_FLUSH = 1, 4
REQUEST_MAGIC, ANSWER_MAGIC = 0x25609513, 0x67446698
READ, WRITE, DISCONNECT, FLUSH = 0, 1, 2, 3
EINVAL = 22


def _receive(connection, size):
    data = bytearray(size)
    view = memoryview(data)
    while view:
        n = connection.recv_into(view)
        if n == 0:
            raise EOFError
        view = view[n:]
    return bytes(data)


class Disk:
    """The contents of the file IMAGE to begin with; the file itself is never written. SOCKET is where it is served."""

    def __init__(self, image, path):
        self.path = path
        with open(image, "rb") as f:  # private copies: pages that are never written stay the file's
            self.size = os.fstat(f.fileno()).st_size
            self.seen = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_COPY)
            self.durable = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_COPY)
        self.pending = []  # (offset, data), written since the last flush
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(path)
        self.listener.listen(1)
        self.thread = None

    def connect(self):
        """Serves the next qemu."""
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def pull_plug(self, random):
        """After qemu has been killed. Returns (writes that were not flushed, how many of these are lost whole)."""
        self.thread.join(20)
        assert not self.thread.is_alive(), "qemu is still connected to its disk"
        unflushed, self.pending = self.pending, []
        everything = random.random() < 0.5
        lost = 0
        for offset, data in unflushed:
            fate = "lost" if everything else random.choice(("lost", "kept", "torn"))
            lost += fate == "lost"
            for at in range(0, len(data), SECTOR):
                if fate == "kept" or (fate == "torn" and random.random() < 0.5):
                    piece = data[at:at + SECTOR]
                    self.durable[offset + at:offset + at + len(piece)] = piece
        for offset, data in unflushed:
            self.seen[offset:offset + len(data)] = self.durable[offset:offset + len(data)]
        return len(unflushed), lost

    def close(self):
        self.listener.close()
        if self.thread:
            self.thread.join(5)
        self.seen.close()
        self.durable.close()
        os.unlink(self.path)

    # --- the protocol ---

    def _serve(self):
        try:
            connection, _ = self.listener.accept()
            with connection:
                if self._agree(connection):
                    while self._answer(connection):
                        pass
        except (EOFError, OSError):
            pass  # the plug was pulled

    def _agree(self, connection):
        connection.sendall(MAGIC + OPTION_MAGIC + struct.pack("!H", FIXED_NEWSTYLE | NO_ZEROES))
        _receive(connection, 4)
        while True:
            _, option, length = struct.unpack("!8sII", _receive(connection, 16))
            _receive(connection, length)
            description = struct.pack("!QH", self.size, HAS_FLAGS | SEND_FLUSH)
            if option == OPTION_EXPORT_NAME:
                connection.sendall(description)
                return True
            if option == OPTION_GO:
                connection.sendall(self._reply(option, REPLY_INFO, b"\0\0" + description))
                connection.sendall(self._reply(option, REPLY_ACK))
                return True
            if option == OPTION_ABORT:
                connection.sendall(self._reply(option, REPLY_ACK))
                return False
            connection.sendall(self._reply(option, REPLY_UNSUPPORTED))

    @staticmethod
    def _reply(option, kind, data=b""):
        return struct.pack("!QIII", REPLY_MAGIC, option, kind, len(data)) + data

    def _answer(self, connection):
        _, _, kind, handle, offset, length = struct.unpack("!IHHQQI", _receive(connection, 28))
        error, answer = 0, b""
        data = _receive(connection, length) if kind == WRITE else b""
        if kind == DISCONNECT:
            return False
        if kind == READ and offset + length <= self.size:
            answer = self.seen[offset:offset + length]
        elif kind == WRITE and offset + length <= self.size:
            self.seen[offset:offset + length] = data
            self.pending.append((offset, data))
        elif kind == FLUSH:
            for at, written in self.pending:
                self.durable[at:at + len(written)] = written
            self.pending = []
        else:
            error = EINVAL
        connection.sendall(struct.pack("!IIQ", ANSWER_MAGIC, error, handle) + answer)
        return True
