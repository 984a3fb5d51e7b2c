# SPDX-License-Identifier: GPL-2.0-or-later
"""Valgrind and the sanitizers have nothing to say of a tour of everything. Thousands of cycles: test_longlife.py."""

import os
import shutil
import signal

import pytest

import checks
from checks import quick
from lab import ALICE, INTERNET4, MALLORY

CONFIGURATION = """\
[Profile staff]
Groups=staff

[Profile other]
Groups=contractors
"""


def _tour(lab):
    """Something of everything."""
    lab.ctl("status", who=MALLORY, timeout=60)
    lab.do("order", "staff", "--for", "1h", "--reason", "tour", timeout=60)
    assert not quick(lab, ALICE)
    lab.do("order", "--user", "erin", "--name", "night", timeout=60)
    for verb in (("status", "--verbose"), ("attempts",), ("profiles",), ("explain", "alice", INTERNET4), ("history",),
                 ("extend", "staff", "--for", "2h"), ("reload",), ("order", "other", "--dry-run")):
        lab.do(*verb, timeout=60)
    lab.ctl("order", "nosuch", timeout=60)
    lab.ctl("order", "--group", "nosuch", timeout=60)
    lab.ctl("lift", "--all", who=MALLORY, timeout=60)
    lab.configure("[Profile staff]\nGroups=nosuch\n")
    assert lab.ctl("reload", timeout=60).returncode == 1
    lab.configure(CONFIGURATION.replace("Groups=staff\n", "Groups=staff\nAllow=internal 203.0.113.10:443/tcp\n"))
    lab.do("reload", timeout=60)
    lab.do("lift", "night", timeout=60)
    assert not quick(lab, ALICE)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("valgrind"), reason="no valgrind")
def test_valgrind_has_nothing_to_say(labs):
    lab = labs(CONFIGURATION)
    lab.daemon.end()
    lab.wrapper = ("/usr/bin/valgrind", "-q", "--error-exitcode=99", "--leak-check=full", "--track-fds=no",
                   "--errors-for-leak-kinds=definite,indirect,possible", "--log-file=" + lab.path("valgrind"),
                   "--suppressions=" + os.path.join(os.path.dirname(os.path.abspath(__file__)), "valgrind.supp"))
    for _ in range(2):  # the second time it adopts what the first one left
        lab.start()
        _tour(lab)
        code = lab.daemon.end(signal.SIGTERM, 60.0)
        with open(lab.path("valgrind"), encoding="utf-8") as f:
            said = "".join(line for line in f if line.startswith("=="))  # not: of syscalls it does not know
        assert code == 0 and not said, said
        lab.configure(CONFIGURATION)


@pytest.mark.slow
def test_sanitizers_have_nothing_to_say(labs):
    program = checks.sanitizer_build()
    lab = labs(CONFIGURATION, start=False)
    shutil.copy(program, lab.lockdownd)
    for _ in range(2):
        lab.start()
        _tour(lab)
        code = lab.daemon.end(signal.SIGTERM, 30.0)
        said = lab.daemon.said()
        assert code == 0 and "Sanitizer" not in said and "runtime error" not in said, said
        lab.configure(CONFIGURATION)
