# SPDX-License-Identifier: GPL-2.0-or-later
"""What the machine is made of: Debian's kernel, a first root for it, and a disk with a Debian tree, systemd, this program,
and units that send (units/)."""

import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "boot"))

import furnish  # noqa: E402  pylint: disable=wrong-import-position
import tree  # noqa: E402  pylint: disable=wrong-import-position
from furnish import lab, write  # noqa: E402  pylint: disable=wrong-import-position

SIZE = "640M"
MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "virtio_console", "ext4")
# What of the kernel's modules the machine itself loads: all that nf_tables and sock_diag may ask for.
MODULE_DIRECTORIES = ("kernel/net", "kernel/lib", "kernel/crypto", "kernel/arch/x86/crypto")
SENDERS = (lab.ALICE, lab.BOB, lab.CAROL, lab.ERIN, lab.MALLORY)
# Not what is tested, and each costs an emulated machine a second.
MASKED = ("ssh.service", "getty@tty1.service", "serial-getty@ttyS0.service", "systemd-update-utmp.service",
          "systemd-random-seed.service", "e2scrub_reap.service", "apt-daily.timer", "apt-daily-upgrade.timer",
          "dpkg-db-backup.timer", "fstrim.timer", "e2scrub_all.timer")

CONFIGURATION = lab.CONFIGURATION + """
[Profile contractors]
Groups=contractors
"""


class CannotMake(Exception):
    """Why there is no machine; for a person."""


def run(argv, **kwargs):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                          **kwargs)
    if done.returncode == 77:
        raise CannotMake(done.stderr.decode().strip().removeprefix("skipped: "))
    if done.returncode != 0:
        raise AssertionError(f"{argv[0]}: exit {done.returncode}: {done.stderr.decode()}{done.stdout.decode()}")
    return done.stdout


def script(name):
    return os.path.join(HERE, "..", name)


class Kernel:
    """What qemu boots: .vmlinuz and .initrd; .place has the modules."""

    def __init__(self, directory):
        environment = {**os.environ, "BUILD": furnish.BUILD}
        self.place = run([script("kernel")], env=environment).decode().strip()
        self.vmlinuz = os.path.join(self.place, "vmlinuz")
        with open(os.path.join(self.place, "release"), encoding="ascii") as f:
            self.release = f.read().strip()
        self.initrd = os.path.join(directory, "initrd")
        with open(self.initrd, "wb") as f:
            f.write(run([script("initrd"), self.place, os.path.join(HERE, "first"), *MODULES]))


def _add_modules(kernel, where):
    to = os.path.join(where, "usr/lib/modules", kernel.release)
    modules = os.path.join(kernel.place, "modules")
    for name in MODULE_DIRECTORIES:
        shutil.copytree(os.path.join(modules, name), os.path.join(to, name))
    for name in os.listdir(modules):
        if name.startswith("modules."):
            shutil.copy(os.path.join(modules, name), to)


def _add_units(where):
    programs = os.path.join(where, "usr/local/libexec")
    os.makedirs(programs, exist_ok=True)
    sender = os.path.join(furnish.BUILD, "tests/vm/sender")
    for source in (os.path.join(HERE, "agent"), os.path.join(HERE, "cable"), sender, shutil.which("busybox")):
        shutil.copy(source, programs)
    for name in os.listdir(os.path.join(HERE, "units")):
        shutil.copy(os.path.join(HERE, "units", name), os.path.join(where, "etc/systemd/system"))
    units = ["lockdownd.service", "agent.service", "cable.service"] + [f"sender@{who.uid}.service" for who in SENDERS]
    run(["chroot", where, "systemctl", "enable", *units])
    run(["chroot", where, "systemctl", "mask", *MASKED])


def _add_directory(where):
    """A name service that nothing asks yet; see nss-directory.c."""
    libraries, = (os.path.join(where, "usr/lib", name) for name in os.listdir(os.path.join(where, "usr/lib"))
                  if name.endswith("-linux-gnu"))
    run(["cc", "-shared", "-fPIC", '-DDIRECTORY_GROUP="far"', f'-DDIRECTORY_MEMBER="{lab.ERIN.name}"',
         "-DDIRECTORY_GID=3100", "-o", os.path.join(libraries, "libnss_directory.so.2"),
         os.path.join(HERE, "nss-directory.c")])


def make(kernel, directory):
    """A disk image in DIRECTORY; its path. CannotMake if something is missing."""
    where, path = os.path.join(directory, "tree"), os.path.join(directory, "image")
    try:
        tar = tree.tarball(os.path.join(furnish.BUILD, "boot"), tree.SYSTEMD + tree.library_packages(furnish.binaries()))
        tree.unpack(tar, where)
    except tree.CannotMake as e:
        raise CannotMake(str(e)) from None
    done = furnish.install(where)
    assert done.returncode == 0, f"make install: {done.stdout}"
    reason = tree.fits(where, furnish.PROGRAMS)
    if reason:
        raise CannotMake(reason)
    furnish.populate(where, CONFIGURATION)
    write(where + "/etc/fstab", "/dev/vda / ext4 defaults 0 1\n")
    _add_modules(kernel, where)
    _add_units(where)
    _add_directory(where)
    for name in ("/etc/.updated", "/var/.updated"):  # else the first boot brings caches up to date
        write(where + name, "")
    run(["mke2fs", "-q", "-t", "ext4", "-E", "lazy_itable_init=0,lazy_journal_init=0", "-d", where, path, SIZE])
    shutil.rmtree(where)
    return path
