# SPDX-License-Identifier: GPL-2.0-or-later
"""A small Debian or Ubuntu tree of the machine's own release, with systemd in it and this program installed.

It is made from the machine's own package sources, once: kept as a tar file in the build directory, under a name that
changes with the list of packages. Nothing of the machine itself is changed.
"""

import fcntl
import hashlib
import os
import re
import subprocess

# kmod is for the virtual machine (tests/vm/power); it needs no udev.
SYSTEMD = ["systemd", "systemd-sysv", "kmod", "dbus", "dbus-user-session", "libpam-systemd", "openssh-server"]
LEAVE_OUT = ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*"]


class CannotMake(Exception):
    """Why there is no tree; for a person."""


def run(argv, **kwargs):
    return subprocess.run(argv, stdin=kwargs.pop("stdin", subprocess.DEVNULL), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", check=False, **kwargs)


def release():
    with open("/etc/os-release", encoding="utf-8") as f:
        fields = dict(line.rstrip().split("=", 1) for line in f if "=" in line)
    codename = fields.get("VERSION_CODENAME", "").strip('"')
    if not codename:
        raise CannotMake("/etc/os-release names no VERSION_CODENAME")
    return codename


def library_packages(programs):
    """The packages that hold the shared libraries the programs were linked with."""
    packages = set()
    for program in programs:
        listing = run(["ldd", program]).stdout
        if "not found" in listing:
            raise CannotMake(f"{program} misses a library:\n{listing}")
        for path in re.findall(r"=> (/\S+)", listing):
            # On a merged /usr dpkg may know the file by either name.
            names = {path, os.path.realpath(path), path.removeprefix("/usr"), "/usr" + path}
            found = run(["dpkg", "-S", *names]).stdout
            match = re.search(r"^([a-z0-9.+-]+)(?::[a-z0-9]+)?: /", found, re.M)
            if not match:
                raise CannotMake(f"no package is known to hold {path}, which {program} needs")
            packages.add(match.group(1))
    return sorted(packages)


def sources():
    """The machine's own package sources: files that mention a suite of its release."""
    directory = "/etc/apt/sources.list.d"
    names = ["/etc/apt/sources.list"]
    if os.path.isdir(directory):
        names += sorted(os.path.join(directory, n) for n in os.listdir(directory) if n.endswith((".list", ".sources")))
    found = []
    for name in names:
        try:
            with open(name, encoding="utf-8") as f:
                lines = [line for line in f if not line.lstrip().startswith("#")]
        except OSError:
            continue
        if re.search(rf"\b{release()}\b", "".join(lines)):
            found.append(name)
    if not found:
        raise CannotMake(f"no package source in /etc/apt mentions {release()}")
    return found


def apt_options():
    """How the machine fetches: proxies and the like, which mmdebstrap doesn't take over by itself."""
    dump = run(["apt-config", "dump"]).stdout
    wanted = re.findall(r'^(Acquire::(?:https?::[^"\n]*|Check-[A-Za-z-]+|Retries|ForceIPv[46])) "([^"]+)";$', dump, re.M)
    return [f'--aptopt={name} "{value}"' for name, value in wanted]


def tarball(cache, packages):
    """The path of the tree as a tar file, made now if there is none yet: by one of those who want it at the same time."""
    os.makedirs(cache, exist_ok=True)
    with open(os.path.join(cache, "lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until it is closed
        return _tarball(cache, packages)


def _tarball(cache, packages):
    key = hashlib.sha256("\n".join([release(), *packages, *LEAVE_OUT]).encode()).hexdigest()[:16]
    path = os.path.join(cache, f"tree-{key}.tar")
    if os.path.exists(path):
        return path
    partial = path + ".partial.tar"
    command = ["mmdebstrap", "--variant=minbase", "--include=" + ",".join(packages), *apt_options(),
               *(f"--dpkgopt=path-exclude={pattern}" for pattern in LEAVE_OUT), release(), partial, *sources()]
    try:
        done = run(command, timeout=900)
    except FileNotFoundError:
        raise CannotMake("mmdebstrap is not installed (make deps-check)") from None
    if done.returncode != 0:
        last = "\n".join(done.stdout.strip().splitlines()[-5:])
        raise CannotMake(f"mmdebstrap could not make a tree from the machine's package sources:\n{last}")
    os.rename(partial, path)
    return path


def unpack(tar, directory):
    os.makedirs(directory)
    done = run(["tar", "-xpf", tar, "-C", directory, "--numeric-owner", "--xattrs", "--xattrs-include=*"])
    if done.returncode != 0:
        raise CannotMake(f"unpacking {tar}: {done.stdout}")


def fits(tree, programs):
    """None, or why the programs built here don't run in the tree."""
    for program in programs:
        done = run(["chroot", tree, "/usr/bin/ldd", program])
        missing = [line.strip() for line in done.stdout.splitlines() if "not found" in line]
        if done.returncode != 0 or missing:
            return f"{program} does not run in the tree: {'; '.join(missing) or done.stdout}"
    return None
