# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon's own files, where somebody else had a hand in them: whose word they are, and what becomes of the orders."""

import json
import os
import shutil
import signal

import pytest

import checks
from checks import quick
from lab import ALICE, CAROL, CONFIGURATION, MALLORY, OPERATOR


@pytest.fixture
def own(labs):
    return labs(CONFIGURATION)


def _status(own):
    """Whether anything is in force or not."""
    return own.ctl("status", "--verbose").stdout


def _file(own):
    return own.path("configuration/lockdownd.conf")


def _by_group(own):
    os.chown(_file(own), 0, MALLORY.gid)
    os.chmod(_file(own), 0o664)


def _by_everybody(own):
    os.chmod(_file(own), 0o646)


def _by_owner(own):
    os.chown(_file(own), MALLORY.uid, 0)


def _directory(own):
    os.chown(own.path("configuration"), 0, MALLORY.gid)
    os.chmod(own.path("configuration"), 0o775)


def _drop_in(own):
    own.configure("[Profile staff]\nGroups=contractors\n", "50-more.conf")
    os.chown(own.path("configuration/lockdownd.conf.d/50-more.conf"), MALLORY.uid, MALLORY.gid)


def _link(own, mode=0o777):
    """To a file that is as it should be, in a directory that is not."""
    place = own.path("elsewhere")
    os.mkdir(place)
    shutil.move(_file(own), place)
    os.symlink(os.path.join(place, "lockdownd.conf"), _file(own))
    os.chmod(place, mode)


@pytest.mark.parametrize("spoil, says", [
    (_by_group, f"lockdownd.conf: can be written by gid {MALLORY.gid}; "),
    (_by_everybody, "lockdownd.conf: can be written by everybody; "),
    (_by_owner, f"lockdownd.conf: belongs to uid {MALLORY.uid}; "),
    (_directory, f"configuration: can be written by gid {MALLORY.gid}"),
    (_drop_in, f"50-more.conf: belongs to uid {MALLORY.uid}; "),
    (_link, "elsewhere: can be written by everybody (the configuration is found through it); "),
], ids=["group", "everybody", "owner", "directory", "drop-in", "link"])
def test_what_others_can_write_is_no_configuration(own, spoil, says):
    """Neither for a reload, which changes nothing then, nor for a daemon that starts."""
    own.do("order", "staff")
    identity = own.orders()["staff"]["id"]
    spoil(own)
    done = own.ctl("reload")
    assert done.returncode == 1 and says in done.stderr, done.stderr
    check = own.host.run([own.lockdownd, "--check"], env=own.environment())
    assert check.returncode != 0 and says in check.stderr, check.stderr
    assert says in _status(own)
    assert own.ctl("lift", "staff", who=OPERATOR).returncode == 0  # [Access] as before
    own.do("order", "staff")
    identity = own.orders()["staff"]["id"]

    own.daemon.end()
    own.start()
    assert own.orders()["staff"]["id"] == identity
    checks.assert_blocked(own, ALICE, ("tcp", "udp"))
    assert says in own.daemon.said() and says in _status(own)
    assert own.ctl("lift", "staff", who=OPERATOR).returncode == 4
    own.do("lift", "staff")
    assert quick(own, ALICE)
    assert own.ctl("order", "staff").returncode == 1  # there is no such profile


def test_a_link_of_a_configuration_management(own):
    """As long as root alone can change what it leads to."""
    _link(own, 0o755)
    own.do("reload")
    own.do("order", "staff")
    checks.assert_blocked(own, ALICE, ("udp",))
    own.daemon.end()
    own.start()
    assert "not in force" not in _status(own)
    os.unlink(own.path("elsewhere/lockdownd.conf"))  # not the same as no configuration at all
    done = own.ctl("reload")
    assert done.returncode == 1 and "lockdownd.conf: is a symbolic link that leads to nothing" in done.stderr, done.stderr
    assert not quick(own, ALICE)


# --- the state directory, and that of the control socket ---

def _stop(own):
    """An order is in force and saved; the daemon is gone, and so is what the kernel knew."""
    own.do("order", "staff", "--for", "8h", "--reason", "IR-42")
    identity = own.orders()["staff"]["id"]
    own.reboot()
    return identity


def _state(own, *names):
    return own.path("state", *names)


def _asides(own, name):
    return [n for n in os.listdir(_state(own)) if n.startswith(name + ".aside.")]


def _told(own, *sentences):
    status = _status(own)
    for sentence in sentences:
        assert sentence in own.daemon.said(), own.daemon.said()
        assert sentence in status, status


def test_directories_that_others_have_rights_to(own):
    """What is not the daemon's is set aside and told, whatever it is; the order is in force again."""
    identity = _stop(own)
    shutil.rmtree(_state(own, "attempts"))
    os.symlink(own.path("elsewhere"), _state(own, "attempts"))
    os.chown(_state(own, "history"), MALLORY.uid, MALLORY.gid)
    shutil.rmtree(_state(own, "damaged"))
    os.mkfifo(_state(own, "damaged"))
    os.chmod(_state(own, "orders"), 0o777)
    own.start()
    _told(own, "attempts cannot be used: it is a symbolic link; it was set aside as ",
          f"history cannot be used: it belongs to uid {MALLORY.uid}; it was set aside as ",
          "damaged cannot be used: it is no directory; it was set aside as ",
          "orders (mode 0777): what is in it is taken as it stands, and nobody else can now; check it")
    assert all(len(_asides(own, name)) == 1 for name in ("attempts", "history", "damaged"))
    assert os.stat(_state(own, "orders")).st_mode & 0o7777 == 0o700
    assert own.orders()["staff"]["id"] == identity
    checks.assert_blocked(own, ALICE, ("tcp", "udp"))
    own.do("lift", "staff")
    assert "IR-42" in own.do("history")
    own.daemon.end()
    own.start()
    assert "cannot be used" not in own.daemon.said() + _status(own)


def test_files_of_others(own):
    """An order that somebody else wrote is none; a list of people that somebody else wrote is asked for anew."""
    identity = _stop(own)
    other = "0" * 32
    with open(_state(own, "orders", identity + ".json"), encoding="utf-8") as f:
        text = f.read()
    with open(_state(own, "orders", other + ".json"), "w", encoding="utf-8") as f:
        f.write(text.replace(identity, other).replace('"staff"', '"contractors"'))
    os.chown(f.name, MALLORY.uid, MALLORY.gid)
    os.chown(_state(own, "members", "staff"), MALLORY.uid, MALLORY.gid)
    os.link(_state(own, "orders", identity + ".json"), own.path("backup.json"))  # as some backups do: no reason
    os.mkfifo(_state(own, "orders", "1" * 32 + ".json"))
    os.symlink("/etc/passwd", _state(own, "orders", "2" * 32 + ".json"))
    own.start()
    checks.wait_blocked(own, ALICE)
    assert list(own.orders()) == ["staff"] and own.orders()["staff"]["id"] == identity
    _told(own, f"orders/{other}.json cannot be used: it belongs to uid {MALLORY.uid}; it was set aside as damaged/",
          f"members/staff cannot be used: it belongs to uid {MALLORY.uid}; it was set aside as damaged/",
          f"orders/{'1' * 32}.json cannot be used: it is not a regular file; it was set aside as damaged/",
          f"orders/{'2' * 32}.json cannot be used: it is a symbolic link; it was set aside as damaged/")
    assert len(os.listdir(_state(own, "damaged"))) == 4
    own.do("extend", "staff", "--for", "9h")
    with open(own.path("backup.json"), encoding="utf-8") as f:
        assert f.read() == text


def _give_away(own):
    os.chown(_state(own), MALLORY.uid, MALLORY.gid)
    return lambda: os.chown(_state(own), 0, 0)


def _symlink(own):
    os.rename(_state(own), own.path("moved"))
    os.symlink(own.path("moved"), _state(own))

    def put_right():
        os.unlink(_state(own))
        os.rename(own.path("moved"), _state(own))

    return put_right


@pytest.mark.parametrize("spoil, says", [
    (_give_away, f"cannot be used: it belongs to uid {MALLORY.uid}; "),
    (_symlink, "cannot be used: it is a symbolic link; "),
], ids=["owner", "symlink"])
def test_without_a_state_directory_it_goes_on(labs, spoil, says):
    """What is ordered holds, and is said not to be saved; what was saved is in force once it can be read."""
    own = labs(CONFIGURATION + "\n[Profile contractors]\nGroups=contractors\n")
    identity = _stop(own)
    put_right = spoil(own)
    own.start()
    _told(own, says)
    assert any("SAVED ORDERS NOT KNOWN" in message for message in own.daemon.messages())
    assert not own.orders()
    assert "will not survive a reboot" in own.do("order", "contractors")
    assert not quick(own, CAROL) and quick(own, ALICE)
    assert "carol" in own.do("attempts", "contractors")
    put_right()
    checks.wait_blocked(own, ALICE, 30.0)
    assert own.orders()["staff"]["id"] == identity
    checks.wait_for(lambda: own.orders()["contractors"]["saved"], checks.PATIENCE, "the other one to be saved")
    assert says not in _status(own)
    own.reboot()
    own.start()
    assert set(own.orders()) == {"staff", "contractors"}
    assert not quick(own, ALICE) and not quick(own, CAROL)


def _save_another(own, **changes):
    """A second saved order for the same people. The daemon is not running."""
    (name,) = os.listdir(_state(own, "orders"))
    with open(_state(own, "orders", name), encoding="utf-8") as f:
        order = json.load(f)
    order.update(id="0" * 32, **changes)  # it is read before the other
    with open(_state(own, "orders", order["id"] + ".json"), "w", encoding="utf-8") as f:
        json.dump(order, f)


def test_two_orders_for_the_same_people(own):
    """The end of one is not the other's: what is in force stays so, untouched; else the later end counts."""
    own.do("order", "staff")
    identity = own.orders()["staff"]["id"]
    own.daemon.end(signal.SIGKILL)
    _save_another(own, end="for", until=1_000_000, until_boottime=1)
    own.start()
    said = own.daemon.said()
    assert "staff was still in force and is taken over" in said and "repaired" not in said, said
    assert own.orders()["staff"]["id"] == identity
    assert not quick(own, ALICE)

    own.do("lift", "staff")
    own.do("order", "staff", "--for", "8h")
    identity = own.orders()["staff"]["id"]
    own.daemon.end(signal.SIGKILL)
    _save_another(own, end="never", until=0, until_boottime=0)
    own.start()
    assert list(own.orders()) == ["staff"] and "until" not in own.orders()["staff"]
    assert own.orders()["staff"]["id"] == "0" * 32
    assert "another order for the same people" in own.json("history")["orders"][0]["end_reason"]
    assert os.listdir(_state(own, "orders")) == ["0" * 32 + ".json"] and not quick(own, ALICE)
    own.do("lift", "staff")
    assert quick(own, ALICE)


def test_the_directory_of_the_control_socket(own):
    """Open to others, it is closed; what is in place of the lock goes."""
    own.do("order", "staff")
    own.daemon.end()
    directory = own.path("run/lockdownd")
    os.unlink(os.path.join(directory, "lock"))
    os.symlink(own.path("configuration/lockdownd.conf"), os.path.join(directory, "lock"))
    own.start(mode=0o777)
    _told(own, "others could write to ", "and put another control socket there: nobody else can now")
    assert os.stat(directory).st_mode & 0o7777 == 0o755
    assert not os.path.islink(os.path.join(directory, "lock"))
    assert not quick(own, ALICE)
    second = own.host.run([own.lockdownd], env=own.environment())
    assert second.returncode != 0 and "another lockdownd is running" in second.stderr, second.stderr
    assert not quick(own, ALICE)
