# SPDX-License-Identifier: GPL-2.0-or-later
"""What several tests ask of a lab."""

import contextlib
import os
import subprocess

import pytest

import lab as lab_
from lab import INTERNAL4, INTERNAL6, INTERNET4, INTERNET6
from netlab import PATIENCE, wait_for

EVERY_KIND = ("tcp", "mptcp", "udp", "udp-connected", "udplite", "ping", "raw")
# How a refused program finds out, at once: TCP by a reset, the others by the verdict on their own send.
REFUSALS = {"ECONNREFUSED", "ECONNRESET", "EACCES", "EPERM", "EHOSTUNREACH", "ENETUNREACH"}
AT_ONCE_MS = 500


def sanitizer_build():
    """A lockdownd with -fsanitize=address,undefined: LOCKDOWND, or the one make sanitize-programs leaves."""
    program = os.environ.get("LOCKDOWND") or os.path.join(lab_.build_directory(), "sanitize", "lockdownd")
    if not os.path.exists(program) or b"__asan_init" not in subprocess.run(
            ["nm", "-D", program], capture_output=True, check=False).stdout:
        pytest.skip("no sanitizer build (make sanitize-programs)")
    return program


def outside(lab, kinds=EVERY_KIND):
    """One probe of each kind to the internet, each family, IPv4-mapped included."""
    specs = [lab.spec(kind, dst) for kind in kinds for dst in (INTERNET4, INTERNET6)]
    specs += [lab.spec(kind, "::ffff:" + INTERNET4) for kind in ("tcp", "udp", "udp-connected") if kind in kinds]
    return specs


def inside(lab, kinds=("tcp", "udp", "ping")):
    """Internal destinations."""
    specs = [lab.spec(kind, dst) for kind in kinds
             for dst in (INTERNAL4, INTERNAL6, "172.16.5.5", "192.168.7.7", lab_.WORLD6)]
    return specs + [lab.spec("tcp", "::ffff:" + INTERNAL4)]


def loopback(lab):
    """On this machine: loopback and its own addresses."""
    return [lab.spec(kind, dst, 8080) for kind in ("tcp", "udp")
            for dst in ("127.0.0.1", "::1", lab_.HOST4, lab_.HOST6, lab_.OWN4)] + [lab.spec("ping", "127.0.0.1"),
                                                                                 lab.spec("ping", "::1")]


def line(result):
    return (f"{result['kind']} to {result['dst']} port {result['dport']}: error {result['error']}, "
            f"reply {result['reply']}, {result['ms']:.0f} ms, arrived {result['arrived']}")


def assert_refused(results, errors=True, arrived_only=False):
    """Nothing arrived; and the program was told at once."""
    leaks = [line(r) for r in results if r["arrived"]]
    assert not leaks, "arrived in the world:\n" + "\n".join(leaks)
    if not arrived_only:
        silent = [line(r) for r in results if r["error"] not in REFUSALS] if errors else []
        assert not silent, "not told that it was refused:\n" + "\n".join(silent)
        slow = [line(r) for r in results if r["ms"] > AT_ONCE_MS]
        assert not slow, "not told at once:\n" + "\n".join(slow)


def assert_passed(results, local=False):
    bad = [line(r) for r in results if r["error"] or r["reply"] is False or not (local or r["arrived"])]
    assert not bad, "did not get through:\n" + "\n".join(bad)


def assert_blocked(lab, who, kinds=EVERY_KIND):
    """Off the internet, and nothing else."""
    assert_refused(lab.probe(outside(lab, kinds), who.with_(raw=True)))
    assert_passed(lab.probe(inside(lab), who))
    assert_passed(lab.probe(loopback(lab), who), local=True)


def assert_free(lab, who, kinds=EVERY_KIND):
    assert_passed(lab.probe(outside(lab, kinds), who.with_(raw=who.uid != 0)))
    assert_passed(lab.probe(inside(lab), who))


def _try_both(lab, who):
    return lab.probe([lab.spec("udp", INTERNET4, reply=False), lab.spec("udp", INTERNET6, reply=False)], who)


def quick(lab, who):
    """Can WHO reach the internet at this moment? By what arrived; both families must agree."""
    results = _try_both(lab, who)
    arrived = {r["arrived"] for r in results}
    assert len(arrived) == 1, [line(r) for r in results]
    return arrived.pop()


def wait_blocked(lab, who, timeout=5.0):
    """Both families; on the way there they may differ."""
    wait_for(lambda: not any(r["arrived"] for r in _try_both(lab, who)), timeout, f"{who.name} blocked", 0.02)


def wait_freed(lab, who, timeout=5.0):
    wait_for(lambda: all(r["arrived"] for r in _try_both(lab, who)), timeout, f"{who.name} freed", 0.02)


@contextlib.contextmanager
def unharmed(lab, *people):
    """While the body runs, these people lose nothing: not a packet of numbered streams, nothing of transfers that
    were open before."""
    import probes  # pylint: disable=import-outside-toplevel

    streams, transfers = [], []
    mark = lab.mark()
    for who in people:
        for dst in (INTERNET4, INTERNET6):
            name = f"{who.name}-{dst}-{mark}"
            streams.append((name, lab.host.spawn(probes.stream, dst, 9000, 0.002, name, who=who)))
            transfers.append((name, lab.host.spawn(probes.transfer, dst, 9001, who=who)))
    for _, task in streams + transfers:
        task.receive()
    before = {name: task.ask("report") for name, task in transfers}
    yield
    for name, task in transfers:  # still running, not merely open
        wait_for(lambda n=name, t=task: t.ask("report")["received"] > before[n]["received"], PATIENCE, f"progress of {name}")
        report = task.ask("report")
        assert report["error"] is None, (name, report)
        assert report["retransmits"] == 0, (name, report)
        task.kill()
    sent = {}
    for name, task in streams:
        sent[name] = task.ask("stop")
        assert not sent[name]["errors"], (name, sent[name])
        task.kill()
    packets = lab.packets(mark)
    for name, task in streams:
        prefix = f"q:{name}:".encode()
        numbers = {int(p.payload[len(prefix):].split(b":")[0]) for p in packets if p.payload.startswith(prefix)}
        lost = set(range(sent[name]["sent"])) - numbers
        assert not lost, f"{name}: lost {len(lost)} of {sent[name]['sent']}, from number {min(lost)}"
