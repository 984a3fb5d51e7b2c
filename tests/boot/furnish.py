# SPDX-License-Identifier: GPL-2.0-or-later
"""What a Debian tree (tree.py) gets before it is booted: this program, people, a configuration."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))

import lab  # noqa: E402  pylint: disable=wrong-import-position

REPOSITORY = lab.repository()
BUILD = lab.build_directory()
PROGRAMS = ("/usr/local/sbin/lockdownd", "/usr/local/bin/lockdownctl")


def binaries():
    """As they were built, before they are installed anywhere."""
    return [os.path.join(BUILD, os.path.basename(program)) for program in PROGRAMS]


def install(destination, prefix="/usr/local", target="install"):
    return subprocess.run(["make", "-s", "-C", REPOSITORY, f"B={BUILD}", target, f"DESTDIR={destination}",
                           f"PREFIX={prefix}"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)


def write(path, text, how="w"):
    with open(path, how, encoding="utf-8") as f:
        f.write(text)


def populate(directory, configuration):
    """Users, groups, configuration; nothing is enabled yet."""
    groups = (f"boot-staff:x:{lab.STAFF}:bob\ncontractors:x:{lab.CONTRACTORS}:carol\n"
              f"lockdown:x:{lab.LOCKDOWN}:oper\n")
    for person in lab.PEOPLE:
        write(directory + "/etc/passwd", f"{person.name}:x:{person.uid}:{person.gid}::/:/bin/sh\n", "a")
        write(directory + "/etc/shadow", f"{person.name}:*:17000:0:99999:7:::\n", "a")
        if person.uid == person.gid:
            groups += f"{person.name}:x:{person.gid}:\n"
    write(directory + "/etc/group", groups, "a")
    write(directory + "/etc/lockdownd/lockdownd.conf", configuration.replace("Groups=staff", "Groups=boot-staff"))
    # Without one the first boot would enable every unit there is ("preset-all").
    write(directory + "/etc/machine-id", os.urandom(16).hex() + "\n")
    write(directory + "/etc/hostname", "lockdown-boot\n")
