# SPDX-License-Identifier: GPL-2.0-or-later
"""One disk, on which all tests go on where the last one stopped; each begins by switching the machine on."""

import os
import random
import shutil
import signal
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import image  # noqa: E402  pylint: disable=wrong-import-position
import machine as machines  # noqa: E402  pylint: disable=wrong-import-position
import campaign  # noqa: E402  pylint: disable=wrong-import-position

# Ended from outside it still takes the machine down and removes its files.
signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def machine():
    if os.geteuid() != 0:
        pytest.skip("root is needed to make the machine's disk")
    directory = tempfile.mkdtemp(prefix="lockdown-vm-", dir="/var/tmp")
    made = None
    try:
        kernel = image.Kernel(directory)
        made = machines.PowerMachine(kernel, image.make(kernel, directory), directory)
        yield made
    except image.CannotMake as e:
        pytest.skip(str(e))
    finally:
        if made:
            made.close()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(name="switched_off")
def fixture_switched_off(machine):
    """The machine, which is switched off again at the end, however that comes."""
    yield machine
    if machine.process:
        machine.pull_plug(random.Random(campaign.SEED))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure comes with what the daemon said."""
    outcome = yield
    report = outcome.get_result()
    made = item.funcargs.get("machine")
    if call.when == "call" and report.failed and made and made.process:
        try:
            said = made.run("journalctl -b --no-pager -o short-monotonic -n 80 -u 'lockdown*' -u cable.service")[1]
        except (AssertionError, OSError) as e:
            said = str(e)
        report.sections.append(("journal of lockdown*", said))
        report.sections.append(("console", made.said()))


def pytest_terminal_summary(terminalreporter):
    campaign.show(terminalreporter)
    stats = terminalreporter.stats
    counts = {word: len(stats.get(word, [])) for word in ("passed", "failed", "skipped", "error")}
    terminalreporter.write_line(f"power tests: {counts['passed']} passed, {counts['failed'] + counts['error']} failed, "
                                f"{counts['skipped']} skipped")
