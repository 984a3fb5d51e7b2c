# SPDX-License-Identifier: GPL-2.0-or-later
"""What tests measured, told at the end of a run; and how much of it they do: all (LONG=1), or a sample (SEED=N)."""

import os
import random

LONG = bool(os.environ.get("LONG"))
SEED = int(os.environ.get("SEED") or 1)
_told = []


def tell(text):
    """TEXT, one line, is printed at the end of the run, and in the summary of `make check`."""
    _told.append(text)


def show(terminalreporter):
    for text in _told:
        terminalreporter.write_line(f"figure: {text}")


def choose(every, number):
    """All of EVERY with LONG=1; otherwise NUMBER of them, in their order, the same ones for the same SEED."""
    every = list(every)
    if LONG or len(every) <= number:
        return every
    return [every[i] for i in sorted(random.Random(SEED).sample(range(len(every)), number))]
