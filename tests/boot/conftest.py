# SPDX-License-Identifier: GPL-2.0-or-later
"""One tree, booted once for the whole story the tests tell; each of them goes on where the last one stopped."""

import os
import shutil
import signal
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import container  # noqa: E402  pylint: disable=wrong-import-position
import furnish  # noqa: E402  pylint: disable=wrong-import-position
import tree  # noqa: E402  pylint: disable=wrong-import-position
from container import lab  # noqa: E402  pylint: disable=wrong-import-position

CONFIGURATION = lab.CONFIGURATION + """
[Profile blue-team]
Description=A name with a dash in it
Groups=contractors
Allow=internal

[Profile remote]
Groups=staff
RemoteSessions=end

[Profile operators]
Groups=lockdown
RemoteSessions=end

[Profile sessions]
Groups=staff
Sessions=yes
"""


# Ended from outside it still takes the container down and removes the tree.
signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def machine():
    if os.geteuid() != 0:
        pytest.skip("the boot test needs root")
    if not shutil.which("systemd-nspawn"):
        pytest.skip("systemd-nspawn is not installed (make deps-check)")
    directory = tempfile.mkdtemp(prefix="lockdown-boot-", dir="/var/tmp")
    os.chmod(directory, 0o755)
    where = os.path.join(directory, "tree")
    booted = None
    try:
        tar = tree.tarball(os.path.join(furnish.BUILD, "boot"), tree.SYSTEMD + tree.library_packages(furnish.binaries()))
        tree.unpack(tar, where)
        done = furnish.install(where)
        assert done.returncode == 0, f"make install: {done.stdout}"
        furnish.populate(where, CONFIGURATION)
        furnish.write(where + "/etc/ssh/sshd_config.d/lockdown.conf", "AuthorizedKeysFile /etc/ssh/everybody.pub\n")
        reason = tree.fits(where, furnish.PROGRAMS)
        if reason:
            pytest.skip(reason)
        booted = container.Container(where, os.path.join(directory, "console.log"))
        yield booted
    except (tree.CannotMake, container.CannotBoot) as e:
        pytest.skip(str(e))
    finally:
        if booted:
            booted.close()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure comes with what the daemon and the follower said."""
    outcome = yield
    report = outcome.get_result()
    booted = item.funcargs.get("machine")
    if call.when == "call" and report.failed and booted:
        journal = booted.run("journalctl", "-b", "-n", "60", "--no-pager", "-o", "short-monotonic", "-u", "lockdown*")
        report.sections.append(("journal of lockdown*", journal.stdout))


def pytest_terminal_summary(terminalreporter):
    stats = terminalreporter.stats
    counts = {word: len(stats.get(word, [])) for word in ("passed", "failed", "skipped", "error")}
    terminalreporter.write_line(f"boot tests: {counts['passed']} passed, {counts['failed'] + counts['error']} failed, "
                                f"{counts['skipped']} skipped")
