# SPDX-License-Identifier: Apache-2.0
"""The configuration of one Redfish emulator, which is one BMC; read by sushy-emulator as its configuration file.

The emulator's fake server has neither processors nor a BIOS version, without which Ironic cannot inspect it, and takes
up to eleven seconds to switch; both are mended here.
"""

from __future__ import annotations

import json
import os

from sushy_tools.emulator.resources.systems import fakedriver

_given = json.loads(os.environ["BMS_STANDIN_BMC"])

SUSHY_EMULATOR_LISTEN_IP = "127.0.0.1"
SUSHY_EMULATOR_LISTEN_PORT = _given["port"]
SUSHY_EMULATOR_SSL_CERT = _given["cert"]
SUSHY_EMULATOR_SSL_KEY = _given["key"]
SUSHY_EMULATOR_AUTH_FILE = _given["auth"]
SUSHY_EMULATOR_STATE_DIR = _given["state"]
SUSHY_EMULATOR_FEATURE_SET = "full"
SUSHY_EMULATOR_FAKE_DRIVER = True
SUSHY_EMULATOR_FAKE_SYSTEMS = [
    {
        "uuid": _given["system"],
        "name": "server",
        "power_state": "On",
        "external_notifier": False,
        "nics": [{"mac": mac, "ip": "192.0.2.1"} for mac in _given["macs"]],
    }
]
SUSHY_EMULATOR_STORAGE = {
    _given["system"]: [
        {"Id": "1", "Name": "storage", "StorageControllers": [{"MemberId": "0", "Name": "hba", "SpeedGbps": 12}],
         "Drives": ["1"]}
    ]
}  # fmt: skip
SUSHY_EMULATOR_DRIVES = {
    (_given["system"], "1"): [{"Id": "1", "Name": "drive", "CapacityBytes": _given["bytes"], "Protocol": "SAS"}]
}
SUSHY_EMULATOR_VOLUMES = {(_given["system"], "1"): []}


class _Soon:
    @staticmethod
    def randint(_least, _most):
        return 1


fakedriver.random = _Soon
_fake = fakedriver.FakeDriver
_fake.get_total_memory = lambda *_: 64
_fake.get_total_cpus = lambda *_: 16
_fake.get_versions = lambda *_: {"BiosVersion": "1.2.3"}
_fake.get_processors = lambda *_: [
    {"id": f"CPU{at}", "Id": f"CPU{at}", "socket": f"CPU {at}", "vendor": "Intel", "model": "Xeon", "cores": "8",
     "threads": "16"}
    for at in (0, 1)
]  # fmt: skip
