# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures: labs, and a bound on how long one test may take."""

import os
import signal
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import campaign  # noqa: E402
from lab import Lab  # noqa: E402

TEST_SECONDS = 90


def pytest_collection_modifyitems(items):
    for item in items:
        if "slow" in item.keywords:
            item.user_properties.append(("seconds", 6 * 3600 if campaign.LONG else 300))


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes long on purpose")


@pytest.fixture(autouse=True)
def bounded(request):
    """No test hangs: SIGALRM ends it as a failure."""
    seconds = dict(request.node.user_properties).get("seconds", TEST_SECONDS)

    def late(*_):
        raise AssertionError(f"not done within {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def shared_lab(request):
    """One lab for a module's tests; the module may set CONFIGURATION."""
    configuration = getattr(request.module, "CONFIGURATION", None)
    holder = [_make(configuration)]
    yield holder
    holder[0].close()


def _make(configuration):
    return Lab(configuration) if configuration else Lab()


@pytest.fixture
def lab(shared_lab, request):
    """The module's lab, with nothing in force before and after. A test that breaks it breaks only itself."""
    one = shared_lab[0]
    healthy = False
    try:
        yield one
        one.end_tasks()
        daemon = one.daemon
        assert daemon.running(), f"lockdownd ended with {daemon.process.returncode}:\n{daemon.said()}"
        one.do("lift", "--all", timeout=20.0)
        one.far.ask("forget")
        healthy = True
    finally:
        if not healthy:
            one.close()
            shared_lab[0] = _make(getattr(request.module, "CONFIGURATION", None))


@pytest.fixture
def labs():
    """Makes labs of the test's own."""
    made = []

    def make(*args, **kwargs):
        made.append(Lab(*args, **kwargs))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure comes with the daemon's last words."""
    outcome = yield
    report = outcome.get_result()
    one = item.funcargs.get("lab")
    if call.when == "call" and report.failed and one and one.daemon:
        report.sections.append(("what lockdownd said", one.daemon.said()[-4000:]))


def pytest_terminal_summary(terminalreporter):
    campaign.show(terminalreporter)
