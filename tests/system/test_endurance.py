# SPDX-License-Identifier: GPL-2.0-or-later
"""Again and again: nothing is left behind, and the sanitizers have nothing to say."""

import collections
import os
import shutil
import signal
import subprocess

import pytest

import checks
import netlab
import probes
from checks import quick
from lab import ALICE, BOB, INTERNET4, INTERNET6, MALLORY, ROOT, build_directory

CYCLES = 100
CONFIGURATION = """\
[Profile staff]
Groups=staff

[Profile other]
Groups=contractors
"""


def _sockets(lab, who):
    """The person's sockets that lead to the internet, as the kernel lists them (orphans included)."""
    out = lab.host.check(["/usr/bin/ss", "-Htuwane", "dst", "198.51.100.0/24", "or", "dst", "2001:db8::/32"])
    return [line for line in out.splitlines() if f"uid:{who.uid}" in line and "TIME-WAIT" not in line]


def test_a_hundred_cycles_leave_nothing_behind(labs):
    lab = labs(CONFIGURATION)
    for _ in range(3):  # warm up: caches, the worker
        lab.do("order", "staff")
        lab.do("lift", "staff")
    tables = lab.tables()
    descriptors = lab.daemon.descriptors()  # of the last callers, perhaps one is still being closed
    ruleset = _without_attempts(lab.ruleset())
    memory = _resident(lab)
    streams = [lab.host.spawn(probes.stream, dst, 9500, 0.002, "try", who=who)
               for who in (ALICE, BOB) for dst in (INTERNET4, INTERNET6)]
    for task in streams:
        task.receive()
    with checks.unharmed(lab, MALLORY, ROOT):
        for cycle in range(CYCLES):
            held = lab.host.spawn(probes.hold, INTERNET4, 9200, who=BOB) if cycle % 10 == 0 else None
            if held:
                held.receive()
            if cycle % 2:
                lab.do("order", "staff")
                name = "staff"
            else:
                lab.do("order", "--group", "staff", "--name", "cycle")
                name = "cycle"
            if cycle % 10 == 0:
                assert not _sockets(lab, BOB)
                assert not quick(lab, ALICE)
            lab.do("lift", name)
            if held:
                held.kill()
    for task in streams:
        report = task.ask("stop")
        assert 0 < sum(report["errors"].values()) < report["sent"]  # it was blocked at times, and free at others
        task.kill()
    assert lab.tables() == tables
    assert _without_attempts(lab.ruleset()) == ruleset
    netlab.wait_for(lambda: not collections.Counter(lab.daemon.descriptors()) - collections.Counter(descriptors), 5.0,
                    "no descriptor more than before")
    assert not _sockets(lab, ALICE) and not _sockets(lab, BOB)
    assert os.listdir(lab.path("state/orders")) == []
    assert _resident(lab) < memory + 4096, "kilobytes"
    checks.assert_free(lab, ALICE, ("tcp", "udp"))


def _without_attempts(ruleset):
    """A packet under way while the hooks were taken off may still be noted down; the next order clears that."""
    return "".join(line for line in ruleset.splitlines(True) if " counter packets " not in line)


def _resident(lab):
    with open(f"/proc/{lab.daemon.pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def _tour(lab, directory=True):
    """Something of everything. Without a directory there is no ad-hoc order."""
    lab.ctl("status", who=MALLORY, timeout=60)
    lab.do("order", "staff", "--for", "1h", "--reason", "tour", timeout=60)
    assert not quick(lab, ALICE)
    adhoc = lab.ctl("order", "--user", "erin", "--name", "night", timeout=60)
    assert adhoc.returncode == (0 if directory else 1)
    for verb in (("status", "--verbose"), ("attempts",), ("profiles",), ("explain", "alice", INTERNET4), ("history",),
                 ("extend", "staff", "--for", "2h"), ("reload",), ("order", "other", "--dry-run")):
        done = lab.ctl(*verb, timeout=60)
        assert done.returncode == 0 or not directory, done.stderr
    lab.ctl("order", "nosuch", timeout=60)
    lab.ctl("order", "--group", "nosuch", timeout=60)
    lab.ctl("lift", "--all", who=MALLORY, timeout=60)
    lab.configure("[Profile staff]\nGroups=nosuch\n")
    assert lab.ctl("reload", timeout=60).returncode == (1 if directory else 0)
    lab.configure(CONFIGURATION.replace("Groups=staff\n", "Groups=staff\nAllow=internal 203.0.113.10:443/tcp\n"))
    done = lab.ctl("reload", timeout=60)
    assert done.returncode == 0 or not directory, done.stderr
    lab.do("lift", "night", timeout=60)
    assert not quick(lab, ALICE)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("valgrind"), reason="no valgrind")
def test_valgrind_has_nothing_to_say(labs):
    lab = labs(CONFIGURATION)
    lab.do("order", "staff")  # valgrind knows no pidfds and so the directory's worker none: a saved list is needed
    lab.do("lift", "staff")
    lab.daemon.end()
    lab.wrapper = ("/usr/bin/valgrind", "-q", "--error-exitcode=99", "--leak-check=full", "--track-fds=no",
                   "--errors-for-leak-kinds=definite,indirect,possible", "--log-file=" + lab.path("valgrind"),
                   "--suppressions=" + os.path.join(os.path.dirname(os.path.abspath(__file__)), "valgrind.supp"))
    for _ in range(2):  # the second time it adopts what the first one left
        lab.start()
        _tour(lab, directory=False)
        code = lab.daemon.end(signal.SIGTERM, 60.0)
        with open(lab.path("valgrind"), encoding="utf-8") as f:
            said = "".join(line for line in f if line.startswith("=="))  # not: of syscalls it does not know
        assert code == 0 and not said, said
        lab.configure(CONFIGURATION)


@pytest.mark.slow
def test_sanitizers_have_nothing_to_say(labs):
    """A build with -fsanitize=address,undefined: LOCKDOWND, or the one make sanitize-programs leaves."""
    program = os.environ.get("LOCKDOWND") or os.path.join(build_directory(), "sanitize", "lockdownd")
    if not os.path.exists(program) or b"__asan_init" not in subprocess.run(
            ["nm", "-D", program], capture_output=True, check=False).stdout:
        pytest.skip("no sanitizer build (make sanitize-programs)")
    lab = labs(CONFIGURATION, start=False)
    shutil.copy(program, lab.lockdownd)
    for _ in range(2):
        lab.start()
        _tour(lab)
        code = lab.daemon.end(signal.SIGTERM, 30.0)
        said = lab.daemon.said()
        assert code == 0 and "Sanitizer" not in said and "runtime error" not in said, said
        lab.configure(CONFIGURATION)
