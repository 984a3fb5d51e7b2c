# SPDX-License-Identifier: GPL-2.0-or-later
"""make install and make uninstall, into directories of their own."""

import os
import subprocess

import pytest
from furnish import install

CONFIGURATION = "etc/lockdownd/lockdownd.conf"


def files(directory):
    return sorted(os.path.relpath(os.path.join(where, name), directory)
                  for where, _, names in os.walk(directory) for name in names)


@pytest.mark.parametrize("prefix", ["/usr", "/usr/local", "/opt/lockdown"])
def test_everything_is_where_it_is_looked_for(tmp_path, prefix):
    done = install(tmp_path, prefix)
    assert done.returncode == 0, done.stdout
    below = prefix.lstrip("/")
    found = files(tmp_path)
    for wanted in ("sbin/lockdownd", "bin/lockdownctl", "lib/systemd/system/lockdownd.service",
                   "lib/systemd/system/lockdownd.socket", "lib/systemd/system/lockdownd-units.service",
                   "lib/systemd/system/lockdownd-launcher.socket", "lib/systemd/system/lockdownd-launcher.service",
                   "lib/systemd/system/lockdown@.service", "lib/systemd/system/lockdownd-user.service",
                   "libexec/lockdownd-user", "lib/systemd/catalog/lockdownd.catalog",
                   "lib/sysusers.d/lockdownd.conf", "share/man/man8/lockdownd.8", "share/man/man1/lockdownctl.1",
                   "share/man/man5/lockdownd.conf.5"):
        assert f"{below}/{wanted}" in found
    bus = "usr/share" if prefix == "/usr" else "etc"
    assert f"{bus}/dbus-1/system.d/org.egresslockdown.Lockdown1.conf" in found
    assert CONFIGURATION in found

    units = tmp_path / below / "lib/systemd/system"
    for unit in units.iterdir():
        text = unit.read_text(encoding="utf-8")
        assert "@PREFIX@" not in text
        for line in text.splitlines():
            if line.startswith(("ExecStart=", "ExecStop=", "ExecReload=")):
                program = line.split("=", 1)[1].split()[0].lstrip("+")
                assert (tmp_path / program.lstrip("/")).is_file(), f"{unit.name}: {line}"


def test_a_configuration_that_is_there_is_kept(tmp_path):
    assert install(tmp_path).returncode == 0
    mine = "[Access]\nOrder=root\n"
    (tmp_path / CONFIGURATION).write_text(mine, encoding="utf-8")
    done = install(tmp_path)
    assert done.returncode == 0, done.stdout
    assert (tmp_path / CONFIGURATION).read_text(encoding="utf-8") == mine
    assert (tmp_path / (CONFIGURATION + ".new")).is_file()
    assert "kept" in done.stdout


def test_uninstall_leaves_the_configuration_alone(tmp_path):
    assert install(tmp_path).returncode == 0
    (tmp_path / "var/lib/lockdownd/orders").mkdir(parents=True)
    (tmp_path / "var/lib/lockdownd/orders/one.json").write_text("{}", encoding="utf-8")
    done = install(tmp_path, target="uninstall")
    assert done.returncode == 0, done.stdout
    assert files(tmp_path) == [CONFIGURATION, "var/lib/lockdownd/orders/one.json"]


def test_the_example_configuration_is_valid(tmp_path):
    assert install(tmp_path).returncode == 0
    env = {"CONFIGURATION_DIRECTORY": str(tmp_path / "etc/lockdownd"), "PATH": os.environ["PATH"]}
    done = subprocess.run([str(tmp_path / "usr/local/sbin/lockdownd"), "--check"], env=env, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=20, check=False)
    # Whether its groups exist is this machine's business, not the example's.
    problems = [line for line in done.stdout.splitlines() if "lockdownd.conf:" in line and "no group" not in line
                and "no user" not in line and "does not exist" not in line]
    assert not problems, done.stdout
