# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon is killed at a system call in the middle of an operation, and started again."""

import collections
import time

import operations
import stops
from netlab import wait_for

QUIET = 0.3  # seconds after the end of an operation in which what it left to be done later is counted as well
LATE = 2.0  # … and waited for, if the point was not reached


def _is_a_point(call):
    """Not so where nothing is different from the point before: a file that was only read is closed."""
    return call.name != "close" or not call.what.startswith("/") or call.what.startswith("/sys/fs/bpf/")


def over(request, since):
    """Whether nothing more is to come of the operation. SINCE: [when it was done], to begin with [None]."""
    if since[0] is None and request.done():
        since[0] = time.monotonic()
    return since[0] is not None and time.monotonic() > since[0] + LATE


# Points where something did not hold once: played each time.
KNOWN = (("lift", "rmdir", 1), ("lift", "renameat", 3), ("expire", "rmdir", 1))


def count(place, operation):
    """All calls of the operation, undisturbed."""
    place.arrange(operation)
    stop = stops.Stop(place, operation.starts, keep=True)
    request = operation.begin(place)
    wait_for(request.done, 60.0, f"the end of {operation.name}", 0.01)
    time.sleep(QUIET)
    stop.end()
    acknowledged = request.wait()
    place.settle(operation, acknowledged)
    place.clear()
    return stop.calls()


def points(operation, calls):
    """-> those of CALLS that are crash points, and the known ones among them."""
    found = [call for call in stops.changing(calls) if _is_a_point(call)]
    known, seen = [], collections.Counter()
    for call in found:
        seen[call.name] += 1
        if (operation.name, call.name, seen[call.name]) in KNOWN:
            known.append(call)
    return found, known


def play(place, operation, number):
    """Kills the daemon at the call of that number. -> the Call, or None if the operation was over before."""
    place.arrange(operation)
    stop = stops.Stop(place, operation.starts, number, names=stops.CHANGING)
    since = [None]
    killed = None
    try:
        request = operation.begin(place)
        wait_for(lambda: not place.lab.daemon.running() or over(request, since), 60.0,
                 f"the end of {operation.name}", 0.005)
        killed = stop.reached()
        acknowledged = _acknowledged(place, request, killed)
    finally:
        stop.end()
    try:
        if killed:
            wait_for(lambda: not place.lab.daemon.running(), 60.0, "the killed daemon's end")
            place.lab.daemon.end()
            place.assert_dead(operation, acknowledged)
            place.restart()
        place.settle(operation, acknowledged)
        place.clear()
    except AssertionError as e:
        raise AssertionError(f"killed at {killed}, {'acknowledged' if acknowledged else 'not acknowledged'}: {e}") from e
    return killed


def _acknowledged(place, request, killed):
    if isinstance(request, operations.Request):
        return request.wait()
    if isinstance(request, operations.Start):
        return "READY=1" in place.lab.daemon.messages()
    return not killed
