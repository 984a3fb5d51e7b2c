# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures: labs, and a bound on how long one test may take."""

import os
import signal
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lab import Lab  # noqa: E402

TEST_SECONDS = 90


def pytest_collection_modifyitems(items):
    for item in items:
        if "slow" in item.keywords:
            item.user_properties.append(("seconds", 300))


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
    with Lab(**({"configuration": configuration} if configuration else {})) as lab:
        yield lab


@pytest.fixture
def lab(shared_lab):
    """The module's lab, with nothing in force before and after."""
    yield shared_lab
    shared_lab.end_tasks()
    daemon = shared_lab.daemon
    assert daemon.running(), f"lockdownd ended with {daemon.process.returncode}:\n{daemon.said()}"
    shared_lab.do("lift", "--all")
    shared_lab.far.ask("forget")


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
