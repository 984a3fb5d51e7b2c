# SPDX-License-Identifier: GPL-2.0-or-later
"""A message bus of a lab's own."""

import os
import subprocess

import attacker
from attacker import Caller
from netlab import PATIENCE, wait_for

BROKER = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={path}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
  </policy>
  <include>{policy}</include>
</busconfig>
"""


class Broker:
    """A dbus-daemon of the lab's own, where lockdownd looks for the system's, with the policy that is installed."""

    def __init__(self, lab, environment=None):
        self.path, self.host = "/run/dbus/system_bus_socket", lab.host
        os.makedirs(lab.path("run/dbus"), exist_ok=True)
        configuration = lab.path("broker.conf")
        policy = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../conf/org.egresslockdown.Lockdown1.conf")
        with open(configuration, "w", encoding="utf-8") as f:
            f.write(BROKER.format(path=self.path, policy=os.path.realpath(policy)))
        self.process = lab.host.popen(["/usr/bin/dbus-daemon", f"--config-file={configuration}", "--nofork", "--nopidfile",
                                       "--nosyslog"], stdin=subprocess.DEVNULL, env=lab.environment(environment), cwd="/")
        wait_for(lambda: os.path.exists(lab.path("run/dbus/system_bus_socket")), PATIENCE, "the message bus")
        os.chmod(lab.path("run/dbus/system_bus_socket"), 0o666)

    def signal(self, number):
        self.process.send_signal(number)

    def wait_for_lockdownd(self):
        """Until it has its name there."""

        def named():
            caller = Caller(self.path, broker=True)
            try:
                return caller.ask(attacker.message("GetNameOwner", "s", attacker.strings(attacker.NAME), 2,
                                                   "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus"), 2)
            finally:
                caller.close()

        wait_for(lambda: self.host.call(named)[0] is None, PATIENCE, "lockdownd on the message bus", 0.1)


def over(path, data):
    """What is answered to the call DATA, whose serial is 7."""
    caller = Caller(path, broker=True)
    try:
        return caller.ask(data, 7)
    finally:
        caller.close()
