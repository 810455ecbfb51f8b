# SPDX-License-Identifier: Apache-2.0
"""An administrator sets up a site and brings in two racks."""

from __future__ import annotations

from services.cli.story.script import Line, Scene

_BEARER = '-H "authorization: Bearer $(cat $BMS_DATA_DIR/site.token)"'

SITE = Scene(
    "A site: five services, and three private networks",
    (
        Line("bms status", says=("lifecycle", "serving"), never=("down",)),
        Line(
            "bms network create provisioning --class provisioning",
            note="Servers boot here while an image is written.",
            says=("provisioning",),
        ),
        Line("bms network create cleaning --class cleaning", note="Disks are erased here.", says=("cleaning",)),
        Line("bms network create rescue --class rescue", note="Rescue systems boot here.", says=("rescue",)),
        Line(
            "bms network create spare --class cleaning",
            note="There is one of each on a site.",
            code=1,
            says=("Error",),
        ),
        Line(
            "bms token create carol --reader {project}",
            note="A login for somebody who shall only look at the tenant's project.",
            says=("carol.token",),
        ),
        Line(
            "bms --as tenant-a network create mine --class cleaning",
            note="And only the administrator makes them.",
            code=1,
            says=("Error FORBIDDEN",),
        ),
    ),
)

IMPORT = Scene(
    "1. Servers come in from files",
    (
        Line(
            "bms server import $BMS_DATA_DIR/files/faulty.csv",
            note="A file with faults: all are told at once, with row and column, and nothing is imported.",
            code=1,
            says=("nothing was imported", "mac_address", "bmc_address", "Remedy:"),
        ),
        Line(
            "bms server import $BMS_DATA_DIR/files/rack-r11.yaml --dry-run",
            note="Contrail Command's import form. First the plan; nothing is written.",
            says=("r11-01", "Would be: 12 created"),
        ),
        Line("bms server list", says=("No servers",)),
        Line("bms server import $BMS_DATA_DIR/files/rack-r11.yaml", says=("12 created",)),
        Line(
            "bms server import $BMS_DATA_DIR/files/rack-r12.csv",
            note="Another rack, as CSV: a line for each port, with site, rack, unit and labels.",
            says=("12 created",),
        ),
        Line(
            "bms server import $BMS_DATA_DIR/files/rack-r12.csv",
            note="The same file again changes nothing.",
            says=("0 created, 0 updated, 12 unchanged",),
        ),
        Line(
            "bms server import $BMS_DATA_DIR/files/clash.yaml",
            note="A MAC address belongs to one server: the refusal says to which.",
            code=1,
            says=("r11-01",),
        ),
        Line(
            "bms server wait -l rack=R12 --for state=enrolled",
            note="Import touches no hardware: the servers are enrolled, nothing more.",
            says=("enrolled",),
        ),
        Line("bms server list --selector rack=R12", says=("enrolled", "r12-12"), never=("r11-", "available")),
        Line(
            f"grpcurl -plaintext {_BEARER}"
            """ -d '{"filter": "display_name = \\"r11-01\\""}' {inventory}"""
            " bms.inventory.v1.InventoryService/ListServers",
            note="The same over the contract, by a tool that knows nothing of us. No password comes out.",
            says=("0c:c4:7a:0b:01:00", "has_credentials"),
            never=("rack11-01",),
            needs="grpcurl",
        ),
        Line(
            """grpcurl -plaintext -d '{}' {inventory} bms.inventory.v1.InventoryService/ListServers""",
            note="No token, no answer.",
            code=80,
            says=("Unauthenticated",),
            needs="grpcurl",
        ),
    ),
)

PROVIDE = Scene(
    "1b. Only `provide` touches hardware: verify, inspect, erase, make available",
    (
        Line(
            "bms server provide r11-01",
            note="It erases. A script must mean it.",
            code=2,
            says=("Nobody is here to be asked", "--yes", "r11-01"),
        ),
        Line(
            "bms server provide r11-01 --dry-run",
            note="The plan, step by step, with how long each may take.",
            says=("inspect", "every disk"),
        ),
        Line(
            "bms server provide --selector rack=R11 --yes --wait --timeout 3m",
            note="A rack at once; every disk is named that will be erased.",
            says=("ERASED", "r11-12", "done"),
            never=("Error",),
        ),
        Line(
            "bms pool list --kind rack",
            note="How many may be had, and why the others may not.",
            says=("R11", "12 ENROLLED"),
        ),
        Line(
            "bms server import $BMS_DATA_DIR/files/rack-r12.csv --provide --yes --wait --timeout 3m",
            note="Or with the import itself.",
            says=("12 unchanged", "ERASED", "done"),
            never=("Error",),
        ),
        Line(
            "bms server show r11-01",
            note="Inspection found what it is made of.",
            says=("available", "Disks", "off"),
            never=("rack11-01",),
        ),
        Line(
            "bms server create esx-1 --bmc-address 10.84.13.1 --unmanaged --rack R13",
            note="A server that is only on record ...",
            says=("enrolled",),
        ),
        Line("bms server wait esx-1 --for state=enrolled", says=("enrolled",)),
        Line(
            "bms server provide esx-1 --yes",
            note="... can never be erased.",
            code=1,
            says=("Error", "Remedy:"),
        ),
    ),
)
