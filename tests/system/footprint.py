# SPDX-License-Identifier: GPL-2.0-or-later
"""What a daemon takes of the machine, counted: memory, descriptors, processes, objects in the kernel, files."""

import collections
import ctypes
import json
import os
import platform
import time

_BPF = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}.get(platform.machine())
_OBJ_GET_INFO_BY_FD, _LINK_GET_FD_BY_ID, _LINK_GET_NEXT_ID = 15, 30, 31
_LINK_TYPE_CGROUP = 3
_libc = ctypes.CDLL(None, use_errno=True)


def _bpf(command, *numbers):
    """The system call, with a bpf_attr of 32-bit numbers. Returns the result and the numbers after it; None: refused."""
    attr = (ctypes.c_uint32 * 32)(*numbers)
    result = _libc.syscall(_BPF, command, ctypes.byref(attr), ctypes.sizeof(attr))
    return None if result < 0 else (result, attr)


def links_at(cgroup):
    """Ids of the BPF links whose programs are attached to this directory of the control groups, whoever holds them.
    None: the kernel does not say."""
    if _BPF is None:
        return None
    found, number, inode = [], 0, os.stat(cgroup).st_ino
    while True:
        answer = _bpf(_LINK_GET_NEXT_ID, number)
        if answer is None:
            return found if ctypes.get_errno() == 2 else None
        number = answer[1][1]
        answer = _bpf(_LINK_GET_FD_BY_ID, number)
        if answer is None:
            continue  # gone since
        info = (ctypes.c_uint64 * 16)()
        address = ctypes.addressof(info)
        known = _bpf(_OBJ_GET_INFO_BY_FD, answer[0], ctypes.sizeof(info), address & 0xFFFFFFFF, address >> 32)
        os.close(answer[0])
        if known and info[0] & 0xFFFFFFFF == _LINK_TYPE_CGROUP and info[2] == inode:
            found.append(number)


def _fdinfo(pid):
    """Kinds of descriptors, what was found in their fdinfo, each counted."""
    kinds, found = collections.Counter(), collections.Counter()
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            kinds[os.readlink(f"/proc/{pid}/fd/{number}").split(":")[0]] += 1
            with open(f"/proc/{pid}/fdinfo/{number}", encoding="ascii") as f:
                for line in f:
                    word = line.split()[0]
                    found["event sources with a descriptor"] += word == "tfd:"
                    found["watched files"] += word == "inotify"
                    found["BPF programs held"] += word == "prog_id:"
                    found["BPF maps held"] += word == "map_id:"
        except FileNotFoundError:
            pass  # closed since
    return kinds, found


def _status(pid, *words):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        fields = dict(line.split(":", 1) for line in f)
    return [int(fields[word].split()[0]) for word in words]


def _objects(lab):
    """What nf_tables holds in the lab's host."""
    listed = json.loads(lab.host.check(["/usr/sbin/nft", "-j", "list", "ruleset"]))["nftables"]
    found = collections.Counter(next(iter(one)) for one in listed)
    return {f"nf_tables {kind}s": found[kind] for kind in ("table", "chain", "set", "rule")}


def _files(path):
    return sum(len(files) for _, _, files in os.walk(path))


def resident(lab):
    """KiB of the daemon's own memory."""
    return _status(lab.daemon.pid, "RssAnon")[0]


def peak(lab):
    """KiB that were resident at most."""
    return _status(lab.daemon.pid, "VmHWM")[0]


def count(lab, kept=0):
    """All of it but memory, by name: what must not become more. KEPT: the record may have as many orders."""
    least = {"history": kept, "attempts": kept, "record": 1, "spare": 8}  # made one by one
    pid = lab.daemon.pid
    kinds, found = _fdinfo(pid)
    children = len(lab.daemon.children())
    links = links_at(lab.cgroup)
    pins = lab.host.path("/sys/fs/bpf/lockdownd")
    return {"descriptors": sum(kinds.values()), **{f"descriptors ({kind})": n for kind, n in kinds.items()},
            **found, "threads": _status(pid, "Threads")[0], "child processes": children,
            "programs attached": len(links or []), "pinned orders": len(os.listdir(pins)) if os.path.isdir(pins) else 0,
            "runtime files": _files(lab.path("run/lockdownd")), **_objects(lab),
            **{f"state files, {name}": max(_files(lab.path("state", name)), least.get(name, 0))
               for name in os.listdir(lab.path("state"))}}


def slope(points):
    """The median of the slopes between all pairs of (x, y): one outlier does not bend it."""
    slopes = sorted((b[1] - a[1]) / (b[0] - a[0]) for i, a in enumerate(points) for b in points[i + 1:])
    return slopes[len(slopes) // 2]


def count_at_rest(lab, kept=0):
    """The same as soon as it is the same twice: on a busy machine something is still on its way to the journal now and then."""
    before = count(lab, kept)
    for _ in range(50):
        time.sleep(0.05)
        now = count(lab, kept)
        if now == before:
            break
        before = now
    return before


def grown(samples):
    """Counts that are always higher in the last third of SAMPLES (their first fifth left out) than ever in the first
    third: a list of sentences."""
    samples = samples[len(samples) // 5:]
    third = max(1, len(samples) // 3)
    early, late = samples[:third], samples[-third:]
    sentences = []
    for name in sorted({name for sample in samples for name in sample}):
        before, after = max(s.get(name, 0) for s in early), min(s.get(name, 0) for s in late)
        if after > before:
            sentences.append(f"{name}: at most {before} in the beginning, at least {after} in the end")
    return sentences
