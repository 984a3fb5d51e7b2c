# SPDX-License-Identifier: GPL-2.0-or-later
"""One system call of the daemon fails in the middle of an operation, with an error that it can really fail with."""

import collections
import dataclasses
import errno
import os
import signal
import time

import crash
import holds
import operations
import stops
from netlab import wait_for

PATIENCE = 25.0  # seconds for what is tried again by a timer (10 s)
F_DUPFD_CLOEXEC = 1030

_FILE = {"write": "ENOSPC EIO EDQUOT", "pwrite64": "ENOSPC", "read": "EIO EINTR", "pread64": "EIO", "close": "EIO", "fsync": "EIO ENOSPC",
         "renameat": "ENOSPC EIO EROFS", "renameat2": "ENOSPC EROFS", "unlinkat": "EIO EROFS", "mkdirat": "ENOSPC EROFS",
         "getdents64": "EIO ENOMEM", "newfstatat": "EIO", "fstat": "EIO", "statx": "ENOMEM", "faccessat": "EIO", "faccessat2": "EIO",
         "flock": "ENOLCK", "mkdir": "ENOMEM", "rmdir": "EBUSY", "unlink": "EIO", "readlink": "ENOMEM", "fchmod": "EROFS"}
_MADE = {"socket": "EMFILE ENOMEM", "accept4": "EMFILE ENFILE ENOMEM ECONNABORTED", "epoll_create1": "EMFILE", "eventfd2": "EMFILE",
         "timerfd_create": "EMFILE ENOMEM", "signalfd4": "ENFILE", "inotify_init1": "EMFILE", "inotify_add_watch": "ENOSPC ENOMEM",
         "memfd_create": "ENFILE", "pipe2": "EMFILE", "socketpair": "ENFILE", "pidfd_open": "EMFILE", "bind": "ENOMEM", "listen": "EADDRINUSE",
         "clone": "EAGAIN ENOMEM", "clone3": "EAGAIN ENOMEM", "vfork": "EAGAIN", "fork": "EAGAIN",
         "mmap": "ENOMEM", "mremap": "ENOMEM", "mprotect": "ENOMEM",  # brk returns no error but the old end, and then mmap is asked
         "epoll_ctl": "ENOMEM ENOSPC", "epoll_wait": "EINTR", "epoll_pwait": "EINTR", "poll": "EINTR ENOMEM", "ppoll": "EINTR ENOMEM",
         "bpf": "EPERM ENOMEM E2BIG EAGAIN", "setsockopt": "ENOMEM"}
_NETLINK = {"sendto": "ENOBUFS ENOMEM EPERM EINTR", "sendmsg": "ENOBUFS ENOMEM EPERM", "recvmsg": "ENOBUFS EINTR ENOMEM",
            "recvfrom": "ENOBUFS EINTR ENOMEM"}
_UNIX = {"sendmsg": "ENOBUFS EPIPE EINTR", "sendto": "ENOBUFS", "recvmsg": "EINTR ENOMEM ECONNRESET", "recvfrom": "EINTR ECONNRESET",
         "write": "EPIPE", "writev": "EPIPE", "read": "EINTR"}


# What did not hold once: played each time.
KNOWN = (("adopt", "openat", "/sys/kernel/btf/vmlinux", 1, "EIO"), ("lift", "recvmsg", "netlink:netfilter", 1, "EINTR"),
         ("lift", "recvmsg", "netlink:netfilter", 2, "ENOBUFS"), ("lift", "sendto", "netlink:netfilter", 1, "ENOMEM"),
         ("finish-lift", "openat", None, 34, "ENFILE"), ("adopt", "bpf", None, 3, "ENOMEM"),
         ("finish-lift", "getdents64", "state/history", 3, "EIO"), ("finish-lift", "unlinkat", None, 2, "EIO"),
         ("restore", "openat", None, 32, "ENFILE"), ("restore", "read", "state/members", 1, "EIO"))


def errors_of(call):
    """Names of the errors that CALL may return."""
    if call.name in ("open", "openat"):
        creates = call.arguments[1 if call.name == "open" else 2] & os.O_CREAT
        return ("ENOSPC EROFS EDQUOT EMFILE" if creates else "EMFILE ENFILE EIO").split()
    if call.name == "fcntl":
        return ["EMFILE"] if call.arguments[1] == F_DUPFD_CLOEXEC else []
    if call.what.startswith("netlink:"):
        table = _NETLINK
    elif call.what == "unix":
        table = _UNIX
    elif call.name == "close" and "state/" not in call.what:
        return []
    elif call.name in ("write", "read") and (call.what.startswith(("anon_inode", "pipe")) or call.what.endswith(".log")):
        return []  # whoever made these knows that they can be read or written
    else:
        table = _FILE
    return table.get(call.name, _MADE.get(call.name, "")).split()


@dataclasses.dataclass(frozen=True)
class Case:
    """POINT: the how-manieth call of that name, on a descriptor of that kind if there is one."""

    operation: operations.Operation
    name: str
    point: int
    error: str
    what: str = ""
    kind: str = None

    @property
    def known(self):
        return (self.operation.name, self.name, self.kind, self.point, self.error) in KNOWN

    def __str__(self):
        about = "" if self.what in ("", "-") else f" ({self.what})"
        return f"{self.operation.name}: {self.name}{about} number {self.point} fails with {self.error}"

    def again(self):
        kind = f" --kind '{self.kind}'" if self.kind else ""
        return (f"tests/faults/run --fail --operation {self.operation.name} --call {self.name}{kind} --point {self.point} "
                f"--error {self.error}")


def cases(operation, calls):
    """Of CALLS, all that the operation makes. Of a row of the same calls (1,800 reads of one file) the first, one in the
    middle and the last."""
    seen, rows = collections.Counter(), []
    loading = operation.starts  # the program itself: what fails then is not the daemon's to answer for
    for call in calls:
        loading = loading and not (call.name.startswith("readlink") and call.what == "/proc/self/exe")
        for kind in {None, call.kind}:
            seen[call.name, kind] += 1
        key = (call.name, call.what)
        if loading:
            continue
        if not rows or rows[-1][0] != key:
            rows.append((key, []))
        rows[-1][1].append((call, seen[call.name, call.kind]))
    found = []
    for _, row in rows:
        kept = row if len(row) <= 3 else [row[0], row[len(row) // 2], row[-1]]
        for call, point in kept:
            found += [Case(operation, call.name, point, error, call.what, call.kind) for error in errors_of(call)]
    return found


class _Told:
    """What was said since it was made: journal, standard error."""

    def __init__(self, place):
        self.place, self.before = place, len(place.lab.entries())

    def complaints(self):
        entries = self.place.lab.entries()[self.before:]
        said = [e.get("MESSAGE", "") for e in entries if int(e.get("PRIORITY", "6")) <= 4]
        for order in self.place.lab.orders().values():
            said += order.get("warnings", []) + holds.problems(order)
        return said


def play(place, case):
    """-> the Call that failed, or None if the operation made no such call."""
    operation = case.operation
    place.arrange(operation)
    told = _Told(place)
    daemon = place.lab.daemon
    stop = stops.Stop(place, operation.starts, case.point, getattr(errno, case.error), case.name, case.kind)
    since = [None]
    try:
        request = operation.begin(place)
        wait_for(lambda: (stop.reached() and request.done()) or crash.over(request, since), 60.0,
                 f"the end of {operation.name}", 0.005)
        failed = stop.reached()
    finally:
        stop.end()
    try:
        if operation.starts:
            _started(place, operation)
        else:
            assert daemon.running(), f"lockdownd ended with {daemon.process.returncode}:\n{daemon.said()}"
        _judge(place, operation, request, told)
    except AssertionError as e:
        raise AssertionError(f"{failed}; {(request.said or '').strip()}: {e}{_end_of(place.lab.daemon)}") from e
    return failed


def _end_of(daemon):
    return "" if daemon.running() else f"\nand lockdownd has ended, with {daemon.process.returncode}:\n{daemon.said()}"


def _started(place, operation):
    """It runs, or has ended with a sentence; then the service manager would start it again."""
    daemon = place.lab.daemon
    if daemon.running():
        return
    said, status = daemon.said(), daemon.process.returncode
    daemon.end()
    assert status > 0, f"ended by signal {-status}: {said}"
    assert said.strip(), f"ended with {status}, and said nothing"
    place.assert_dead(operation, False)
    place.restart()


def _judge(place, operation, request, told):
    acknowledged = request.wait() or operation.starts
    refused_it = isinstance(request, operations.Request) and request.program.returncode == 1
    assert acknowledged or request.said.strip(), "it was not done, and nothing says why"
    if acknowledged:  # at once, whatever else may still be wrong
        place.assert_done(operation)
    try:
        done = place.settle(operation, acknowledged)
    except AssertionError as e:
        complaints = told.complaints()
        assert complaints, f"something is wrong, and nobody is told: {e}"
        if any("attempts could not be" in text for text in complaints):
            place.tried = False  # told, and gone: nothing would bring it back
        done = _later(place, operation, acknowledged, told)
    assert not (refused_it and done and operation.before != operation.after and not operation.sure), \
        "it was said not to be done, and was done"
    place.clear()


def _later(place, operation, acknowledged, told):
    """What did not hold at once, does when it has been tried again."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return place.settle(operation, acknowledged)
        except AssertionError as e:
            if time.monotonic() > deadline:
                # libbpf asks once what the kernel has, and remembers the answer for as long as the process lives
                if operation.starts and any("no second lock: this kernel" in text for text in told.complaints()):
                    place.lab.daemon.end(signal.SIGKILL)
                    place.restart()
                    return place.settle(operation, acknowledged)
                raise AssertionError(f"not put right within {PATIENCE} s: {e}") from e
        time.sleep(0.5)
