# SPDX-License-Identifier: GPL-2.0-or-later
"""Namespaces, users and processes of a lab: what lab.py is built from.

Nothing here has a name outside the lab: namespaces live as long as their anchor process does, and every process
started is killed with the test run, however that ends (PR_SET_PDEATHSIG).
"""

import ctypes
import dataclasses
import multiprocessing
import os
import select
import signal
import subprocess
import sys
import time
import traceback

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWNET = 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 4096, 16384, 1 << 18
PR_SET_PDEATHSIG, PR_SET_KEEPCAPS = 1, 8
CAP_NET_RAW = 13
PATIENCE = 60.0  # seconds for what takes milliseconds: a machine may be very busy, and who waits in vain fails anyway

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result, what):
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


def unshare(flags):
    _check(_libc.unshare(flags), "unshare")


def setns(fd):
    _check(_libc.setns(fd, 0), "setns")


def mount(source, target, fstype=None, flags=0, data=None):
    def encode(text):
        return None if text is None else text.encode()

    _check(_libc.mount(encode(source), encode(target), encode(fstype), ctypes.c_ulong(flags), encode(data)),
           f"mount {target}")


def umount(target):
    _check(_libc.umount2(target.encode(), 2), f"umount {target}")  # MNT_DETACH


def die_with_parent():
    """Credentials changes clear this: to be called after them."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")


def keep_only_cap(cap):
    class Header(ctypes.Structure):
        _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]

    class Data(ctypes.Structure):
        _fields_ = [("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32)]

    data = (Data * 2)()
    data[0].effective = data[0].permitted = 1 << cap
    _check(_libc.capset(ctypes.byref(Header(0x20080522, 0)), data), "capset")


@dataclasses.dataclass(frozen=True)
class Who:
    """Whose credentials a process has."""

    name: str
    uid: int
    gid: int
    groups: tuple = ()
    raw: bool = False  # keeps CAP_NET_RAW, as a program with that file capability would

    def become(self):
        os.setgroups(self.groups)
        os.setresgid(self.gid, self.gid, self.gid)
        if self.raw:
            _check(_libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), "prctl")
        os.setresuid(self.uid, self.uid, self.uid)
        if self.raw:
            keep_only_cap(CAP_NET_RAW)

    def with_(self, **changes):
        return dataclasses.replace(self, **changes)


ROOT = Who("root", 0, 0)


class Late(AssertionError):
    """Something did not happen in the time it was given."""


def wait_for(condition, timeout=PATIENCE, what="what was waited for", interval=0.005):
    """Polls CONDITION until it returns something true, which is returned."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Late(f"{what}: not within {timeout} s")
        time.sleep(interval)


def orphans_have_owners():
    """Linux 6.17 and later. Before, sock_diag says root's of every orphan, so that it is not destroyed, and only the second
    lock lets nothing of it out."""
    return tuple(int(n) for n in os.uname().release.split(".")[:2]) >= (6, 17)


class Task:
    """A forked child running a Python function; talks to its parent through a pair of pickling channels."""

    def __init__(self, pid, channel):
        self.pid, self.channel, self.status = pid, channel, None

    def receive(self, timeout=PATIENCE):
        if not self.channel.poll(timeout):
            raise Late(f"process {self.pid} said nothing within {timeout} s")
        kind, value = self.channel.recv()
        if kind == "error":
            raise AssertionError(f"in process {self.pid}:\n{value}")
        return value

    def ask(self, *request, timeout=PATIENCE):
        self.channel.send(request)
        return self.receive(timeout)

    def result(self, timeout=PATIENCE):
        """What the function returned."""
        try:
            return self.receive(timeout)
        finally:
            self.kill()

    def alive(self):
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = status
        return self.status is None

    def kill(self):
        if self.alive():
            os.kill(self.pid, signal.SIGKILL)
            self.status = os.waitpid(self.pid, 0)[1]
        self.channel.close()


class Channel:
    """The child's side."""

    def __init__(self, connection):
        self.connection = connection

    def send(self, value):
        self.connection.send(("value", value))

    def fileno(self):
        return self.connection.fileno()

    def request(self, timeout=0.0):
        """The parent's next request, or None; the end of the parent is the end of the child."""
        if not self.connection.poll(timeout):
            return None
        return self.connection.recv()


def fork_task(prepare, function, *args, wants_channel=False, **kwargs):
    """Runs FUNCTION in a child after PREPARE(); its return value, or its exception, is sent back."""
    ours, theirs = multiprocessing.Pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        theirs.close()
        return Task(pid, ours)
    status = 1
    try:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        ours.close()
        prepare()
        die_with_parent()
        if wants_channel:
            args = (Channel(theirs), *args)
        theirs.send(("value", function(*args, **kwargs)))
        status = 0
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        pass
    except BaseException:  # pylint: disable=broad-except
        try:
            theirs.send(("error", traceback.format_exc()))
        except OSError:
            pass
    finally:
        os._exit(status)


class Machine:
    """A set of namespaces kept by an anchor process, and processes in them."""

    NAMES = {"net": CLONE_NEWNET, "mnt": CLONE_NEWNS, "cgroup": CLONE_NEWCGROUP}

    def __init__(self, kinds, cgroup=None, setup=None):
        """KINDS: of NAMES. CGROUP: directory every process is put into first. SETUP runs in the anchor."""
        self.cgroup, self.tasks, self.programs, self.fds = cgroup, [], [], []

        def make():
            self._join_cgroup()
            flags = 0
            for kind in kinds:
                flags |= self.NAMES[kind]
            unshare(flags)
            if "mnt" in kinds:
                mount(None, "/", flags=MS_REC | MS_PRIVATE)
            if setup:
                setup()

        def stay(channel):
            channel.send("ready")
            while True:
                channel.request(None)

        self.anchor = fork_task(make, stay, wants_channel=True)
        try:
            self.anchor.receive()
            for kind in kinds:
                self.fds.append(os.open(f"/proc/{self.anchor.pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC))
        except BaseException:
            self.close()
            raise

    def _join_cgroup(self):
        if self.cgroup:
            with open(f"{self.cgroup}/cgroup.procs", "w", encoding="ascii") as f:
                f.write("0")

    def enter(self, who=None, join=True):
        if join:
            self._join_cgroup()
        self.enter_namespaces()
        if who and who is not ROOT:
            who.become()

    def enter_namespaces(self):
        for fd in self.fds:
            setns(fd)

    def path(self, path):
        """How the test's own process reaches PATH of this machine."""
        return f"/proc/{self.anchor.pid}/root{path}"

    def spawn(self, function, *args, who=None, **kwargs):
        """FUNCTION(channel, *ARGS) goes on in a child of its own until killed or the lab ends."""
        task = fork_task(lambda: self.enter(who), function, *args, wants_channel=True, **kwargs)
        self.tasks.append(task)
        return task

    def call(self, function, *args, who=None, timeout=PATIENCE, **kwargs):
        """FUNCTION(*ARGS) in a child; returns what it returns."""
        task = fork_task(lambda: self.enter(who), function, *args, **kwargs)
        self.tasks.append(task)
        try:
            return task.result(timeout)
        finally:
            self.tasks.remove(task)

    def popen(self, argv, who=None, join=True, **kwargs):
        def prepare():
            signal.setitimer(signal.ITIMER_REAL, 0)
            self.enter(who, join)
            die_with_parent()

        program = subprocess.Popen(argv, preexec_fn=prepare, **kwargs)  # pylint: disable=consider-using-with
        self.programs.append(program)
        return program

    def run(self, argv, who=None, timeout=PATIENCE, stdin=None, env=None, join=False):
        """A program's CompletedProcess (text). JOIN: in the machine's control group, too, which costs a grace period
        of the kernel's and which tools do not need."""
        program = self.popen(argv, who, join, stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
        try:
            out, err = program.communicate(stdin, timeout)
        except subprocess.TimeoutExpired as e:
            raise Late(f"{' '.join(argv)}: not done within {timeout} s") from e
        finally:
            if program.poll() is None:
                program.kill()
                program.wait()
            self.programs.remove(program)
        return subprocess.CompletedProcess(argv, program.returncode, out, err)

    def check(self, argv, **kwargs):
        """As run(); the program must succeed. Returns its output."""
        done = self.run(argv, **kwargs)
        if done.returncode != 0:
            raise AssertionError(f"{' '.join(argv)}: exit {done.returncode}: {done.stderr or done.stdout}")
        return done.stdout

    def nft(self, text):
        return self.check(["/usr/sbin/nft", "-f", "-"], stdin=text)

    def close(self):
        for program in self.programs:
            if program.poll() is None:
                program.kill()
            program.wait()
        for task in self.tasks:
            task.kill()
        for fd in self.fds:
            os.close(fd)
        self.anchor.kill()
        self.programs, self.tasks, self.fds = [], [], []


def drain(fd):
    """Throws away what can be read from a non-blocking descriptor."""
    while select.select([fd], [], [], 0)[0] and os.read(fd, 65536):
        pass
