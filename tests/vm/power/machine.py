# SPDX-License-Identifier: GPL-2.0-or-later
"""A virtual machine whose plug can be pulled, and what leaves it."""

import base64
import collections
import itertools
import os
import select
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "system"))

import disk  # noqa: E402  pylint: disable=wrong-import-position
import lab  # noqa: E402  pylint: disable=wrong-import-position
import netlab  # noqa: E402  pylint: disable=wrong-import-position
import world  # noqa: E402  pylint: disable=wrong-import-position
from netlab import Late, wait_for  # noqa: E402  pylint: disable=wrong-import-position

# One thread for both processors: with one each, QEMU 7.2 goes on carrying out a breakpoint that Linux has set on a running
# kernel's code and taken away again. That is how BPF LSM programs are attached and detached, so a processor came to hang at the
# first instruction of bpf_lsm_socket_sendmsg() for good, now and then.
EMULATED = "tcg,thread=single"
BOOT_TIMEOUT = 900.0  # an idle machine takes 15, one that is shared by forty busy programs 100
COMMAND_TIMEOUT = 300.0
PORT = 4242  # the senders'
INSIDE, OUTSIDE = (lab.INTERNAL4,), (lab.INTERNET4, lab.INTERNET6)


class Cable:
    """The other end of the machine's network device: every frame that leaves it is seen here, and none is answered."""

    def __init__(self, path):
        self.path = path
        self.arrived = collections.Counter()  # (uid, destination): datagrams of the senders
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()

    def _listen(self):
        while True:
            frame = self.socket.recv(65536)
            if not frame:
                return
            packet = world.parse(int.from_bytes(frame[12:14], "big"), frame[14:], len(frame) - 14)
            if packet is None or packet.protocol != socket.IPPROTO_UDP or packet.dport != PORT:
                continue
            self.arrived[int(packet.payload.split()[0]), packet.dst] += 1

    def of(self, who, destinations):
        return sum(self.arrived[who.uid, destination] for destination in destinations)

    def close(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.sendto(b"", self.path)
        self.thread.join(5)
        self.socket.close()
        os.unlink(self.path)


class Agent:
    """Commands in the machine, one after the other, over a port that is no network."""

    def __init__(self, path):
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(path)
        self.listener.listen(1)
        self.connection = None
        self.numbers = itertools.count(1)
        self.read, self.answers = b"", {}

    def connect(self):
        self.listener.settimeout(60)
        self.connection, _ = self.listener.accept()

    def send(self, command):
        number = next(self.numbers)
        self.connection.sendall(f"{number} {command}\n".encode())
        return number

    def answer(self, number, timeout):
        """(status, output), or None: it did not come within TIMEOUT."""
        deadline = time.monotonic() + timeout
        while number not in self.answers:
            left = deadline - time.monotonic()
            if not select.select([self.connection], [], [], max(left, 0))[0]:
                return None
            data = self.connection.recv(65536)
            if not data:
                return None
            self.read += data
            *lines, self.read = self.read.split(b"\n")
            for line in lines:
                words = line.decode().split()
                output = base64.b64decode(words[2]).decode("utf-8", "replace") if len(words) > 2 else ""
                self.answers[int(words[0])] = (int(words[1]), output)
        return self.answers.pop(number)

    def close(self):
        if self.connection:
            self.connection.close()
        self.listener.close()
        os.unlink(self.path)


class PowerMachine:
    """Has a disk (and perhaps a second one) that lasts, and is booted and killed as often as wanted."""

    def __init__(self, kernel, image, directory):
        self.kernel, self.directory = kernel, directory
        self.names = itertools.count(1)
        self.disk = disk.Disk(image, self.new_path("disk"))
        self.process = self.cable = self.agent = self.log = None

    def new_path(self, what):
        return os.path.join(self.directory, f"{what}-{next(self.names)}")

    def boot(self, clock=None):
        """Switches it on; returns as soon as commands can be given. CLOCK: what the hardware clock says
        ("2016-11-30T18:00:00"), by default the right time."""
        self.cable, self.agent = Cable(self.new_path("cable")), Agent(self.new_path("agent"))
        self.log = self.new_path("console")
        self.disk.connect()
        command = ["qemu-system-x86_64", "-accel", os.environ.get("VM_ACCEL", EMULATED), "-cpu", "qemu64,+rdrand", "-smp", "2",
                   "-m", "512M", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
                   "-kernel", self.kernel.vmlinuz, "-initrd", self.kernel.initrd,
                   # the level: so that a kernel that hangs says where
                   "-append", "console=ttyS0 panic=-1 net.ifnames=0 loglevel=5 no_timer_check", "-serial", f"file:{self.log}",
                   # write-back: so the machine knows that it has to flush
                   "-drive", f"if=virtio,format=raw,cache=writeback,file=nbd+unix:///?socket={self.disk.path}",
                   "-netdev", f"dgram,id=cable,local.type=unix,local.path={self.new_path('qemu')},remote.type=unix,"
                   f"remote.path={self.cable.path}", "-device", "virtio-net-pci,netdev=cable",
                   "-chardev", f"socket,id=agent,path={self.agent.path}", "-device", "virtio-serial-pci",
                   "-device", "virtserialport,chardev=agent,name=agent"]
        if clock:
            command += ["-rtc", f"base={clock}"]
        with open(self.log + ".qemu", "wb") as log:
            # pylint: disable-next=consider-using-with,subprocess-popen-preexec-fn
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            preexec_fn=netlab.die_with_parent)
        self.agent.connect()
        if self.agent.answer(0, BOOT_TIMEOUT) is None:
            raise Late(f"the machine did not come up; its console:\n{self.said()}")

    def boot_up(self, **kwargs):
        """boot(), and waits for the network: lockdownd is there by then."""
        self.boot(**kwargs)
        self.wait_for_packets(lab.MALLORY, OUTSIDE, 3)

    def said(self):
        """By the machine, on its console, and by qemu."""
        lines = []
        for path in (self.log, self.log + ".qemu"):
            if os.path.exists(path):
                with open(path, encoding="utf-8", errors="replace") as f:
                    lines += f.readlines()[-150:]
        return "".join(lines)

    def run(self, command, timeout=COMMAND_TIMEOUT):
        """(status, output) of a line of shell."""
        answer = self.agent.answer(self.agent.send(command), timeout)
        if answer is None:
            raise Late(f"{command}: no answer within {timeout} s; the console:\n{self.said()}")
        return answer

    def do(self, command, timeout=COMMAND_TIMEOUT):
        """Its output; it must succeed."""
        status, output = self.run(command, timeout)
        assert status == 0, f"{command}: exit {status}: {output}"
        return output

    def wait_for_packets(self, who, destinations, number=1):
        """… of WHO that have arrived in this boot."""
        wait_for(lambda: all(self.cable.of(who, [destination]) >= number for destination in destinations), BOOT_TIMEOUT,
                 f"{number} datagrams of {who.name} to each of {destinations}")

    def pull_plug(self, random):
        """Now. Returns (writes that were not flushed, how many of these are lost whole)."""
        self._end()
        return self.disk.pull_plug(random)

    def _end(self):
        if self.process:
            self.process.kill()
            self.process.wait()
        for each in (self.cable, self.agent):
            if each:
                each.close()
        self.process = self.cable = self.agent = None

    def close(self):
        self._end()
        self.disk.close()
