# SPDX-License-Identifier: GPL-2.0-or-later
"""A long life: thousands of orders, reloads, changes of people, refused calls. Nothing grows but the record, and that
within its bounds. `make check` lives a short one; LONG=1 10,000 cycles."""

import os
import shutil
import signal
import time

import pytest

import campaign
import checks
import footprint
import probes
from lab import ALICE, BOB, INTERNET4, INTERNET6, MALLORY, ROOT
from life import CONFIGURATION, KEPT, Life
from netlab import PATIENCE, wait_for

SAMPLES = 20 if campaign.LONG else 10
WATCHED = 2.0  # seconds before each sample in which nobody else may lose anything
SHORT = 60.0  # seconds that a short life lasts at the most, however busy the machine is
# What was freed goes back to the kernel: otherwise libbpf's start leaves 10 MiB in which much can be lost unseen.
TIDY = ("/usr/bin/env", "GLIBC_TUNABLES=glibc.malloc.mmap_threshold=65536:glibc.malloc.trim_threshold=65536:"
        "glibc.malloc.top_pad=4096")
# Bytes a cycle of memory that are no growth: pages come and go. Short lives are measured roughly.
SLOPE_MAX = 64 if campaign.LONG else 1024


def _forget(lab):
    """What the lab itself would heap up."""
    lab.far.ask("forget")
    lab.journal.ask("forget")
    lab.daemon.notify.ask("forget")


def _some(lab, life, cycles):
    """CYCLES of them, or as many as there is time for, the first under a close watch. Returns how many."""
    begin, done = time.monotonic(), 0
    end = begin + (float("inf") if campaign.LONG else SHORT / SAMPLES)
    with checks.unharmed(lab, MALLORY, ROOT):
        while done < cycles and time.monotonic() < min(end, begin + WATCHED):
            life.cycle()
            done += 1
    while done < cycles and time.monotonic() < end:
        life.cycle()
        done += 1
    return done


def _live(lab, cycles, timeout=30.0):
    """Returns the samples, and (cycle, KiB) of memory."""
    life = Life(lab, campaign.SEED, timeout)
    streams = [lab.host.spawn(probes.stream, dst, 9500, 0.02, "try", who=who)
               for who in (ALICE, BOB) for dst in (INTERNET4, INTERNET6)]
    for task in streams:
        task.receive()
    samples, memory, done = [], [], 0
    for _ in range(SAMPLES):
        done += _some(lab, life, cycles // SAMPLES)
        life.settle()
        _forget(lab)
        samples.append(footprint.count_at_rest(lab, KEPT))
        memory.append((done, footprint.resident(lab)))
        print(f"{done} cycles, {memory[-1][1]} KiB, {samples[-1]}", flush=True)
    for task in streams:
        report = task.ask("stop")
        assert 0 < sum(report["errors"].values()) < report["sent"]  # it was blocked at times, and free at others
        task.kill()
        lab.host.tasks.remove(task)
    return samples, memory


def _tell(what, seconds, samples, memory):
    first, last = samples[SAMPLES // 5], samples[-1]
    slope = footprint.slope([(cycle, kib * 1024) for cycle, kib in memory[SAMPLES // 5:]])
    figures = ", ".join(f"{name} {first.get(name, 0)} → {last.get(name, 0)}"
                        for name in ("descriptors", "threads", "child processes", "nf_tables tables", "nf_tables sets",
                                     "BPF programs held", "BPF maps held", "programs attached", "state files, history"))
    campaign.tell(f"{what}: {memory[-1][0]:,} cycles in {seconds:.0f} s, memory {memory[SAMPLES // 5][1] / 1024:.1f} → "
                  f"{memory[-1][1] / 1024:.1f} MiB ({slope:+.0f} bytes a cycle from 20% on), {figures}")
    return slope


def test_what_the_start_took_is_given_back(labs):
    """Opening the second lock takes 10 MiB for a moment, and so does making the next one ready, after each order."""
    lab = labs(CONFIGURATION)
    before = footprint.resident(lab)
    lab.do("order", "staff")
    lab.do("lift", "staff")
    wait_for(lambda: footprint.resident(lab) < 6 << 10, PATIENCE, "the memory to be given back")
    campaign.tell(f"memory of the daemon's own: {before / 1024:.1f} MiB after the start, "
                  f"{footprint.resident(lab) / 1024:.1f} MiB after an order, {footprint.peak(lab) / 1024:.1f} MiB resident at most")
    assert before < 6 << 10, "KiB"


@pytest.mark.slow
def test_nothing_grows(labs):
    lab = labs(CONFIGURATION, start=False)
    lab.wrapper = TIDY
    lab.start()
    begin = time.monotonic()
    samples, memory = _live(lab, 10_000 if campaign.LONG else 300)
    slope = _tell("long life", time.monotonic() - begin, samples, memory)
    assert not footprint.grown(samples), "\n".join(footprint.grown(samples))
    assert slope < SLOPE_MAX, f"memory grows by {slope:.0f} bytes a cycle: {memory}"
    assert os.listdir(lab.path("state/orders")) == [] and not any(lab.tables().values())
    checks.assert_free(lab, ALICE, ("tcp", "udp"))


@pytest.mark.slow
def test_sanitizers_have_nothing_to_say_of_a_long_life(labs):
    """Memory is not judged: the sanitizer keeps what was freed; and looks for what was lost when the daemon ends."""
    program = checks.sanitizer_build()
    lab = labs(CONFIGURATION, start=False)
    shutil.copy(program, lab.lockdownd)
    lab.start()
    begin = time.monotonic()
    samples, memory = _live(lab, 10_000 if campaign.LONG else 40, 60.0)
    _tell("long life under sanitizers", time.monotonic() - begin, samples, memory)
    assert not footprint.grown(samples), "\n".join(footprint.grown(samples))
    code = lab.daemon.end(signal.SIGTERM, 60.0)
    said = lab.daemon.said()
    assert code == 0 and "Sanitizer" not in said and "runtime error" not in said, said
