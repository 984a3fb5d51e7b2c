# SPDX-License-Identifier: GPL-2.0-or-later
"""One tree, booted once for the whole story the tests tell; each of them goes on where the last one stopped."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import container  # noqa: E402  pylint: disable=wrong-import-position
import tree  # noqa: E402  pylint: disable=wrong-import-position
from container import lab  # noqa: E402  pylint: disable=wrong-import-position

REPOSITORY = lab.repository()
BUILD = lab.build_directory()
PROGRAMS = ("/usr/local/sbin/lockdownd", "/usr/local/bin/lockdownctl")

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


def install(destination, prefix="/usr/local", target="install"):
    return subprocess.run(["make", "-s", "-C", REPOSITORY, f"B={BUILD}", target, f"DESTDIR={destination}",
                           f"PREFIX={prefix}"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)


def populate(directory):
    """Users, groups, configuration; nothing is enabled yet."""
    def append(path, text):
        with open(directory + path, "a", encoding="utf-8") as f:
            f.write(text)

    def write(path, text):
        with open(directory + path, "w", encoding="utf-8") as f:
            f.write(text)

    groups = (f"boot-staff:x:{lab.STAFF}:bob\ncontractors:x:{lab.CONTRACTORS}:carol\n"
              f"lockdown:x:{lab.LOCKDOWN}:oper\n")
    for person in lab.PEOPLE:
        append("/etc/passwd", f"{person.name}:x:{person.uid}:{person.gid}::/:/bin/sh\n")
        append("/etc/shadow", f"{person.name}:*:17000:0:99999:7:::\n")
        if person.uid == person.gid:
            groups += f"{person.name}:x:{person.gid}:\n"
    append("/etc/group", groups)
    write("/etc/lockdownd/lockdownd.conf", CONFIGURATION.replace("Groups=staff", "Groups=boot-staff"))
    # Without one the first boot would enable every unit there is ("preset-all").
    write("/etc/machine-id", os.urandom(16).hex() + "\n")
    write("/etc/hostname", "lockdown-boot\n")
    write("/etc/ssh/sshd_config.d/lockdown.conf", "AuthorizedKeysFile /etc/ssh/everybody.pub\n")


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
        binaries = [os.path.join(BUILD, name) for name in ("lockdownd", "lockdownctl")]
        tar = tree.tarball(os.path.join(BUILD, "boot"), tree.SYSTEMD + tree.library_packages(binaries))
        tree.unpack(tar, where)
        done = install(where)
        assert done.returncode == 0, f"make install: {done.stdout}"
        populate(where)
        reason = tree.fits(where, PROGRAMS)
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
