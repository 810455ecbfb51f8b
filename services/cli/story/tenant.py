# SPDX-License-Identifier: Apache-2.0
"""A tenant gets a whole server by one call, and does to it what tenants do; then it is moved under him."""

from __future__ import annotations

from services.cli.story.script import Line, Scene

_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGu4vJmPwS0m2vX7T7uYq5cS5n0o1yq3pQ2r8tUv9wXy ann@example.org"
_CREATE = "bms {tenant} instance create web --flavor bm.large --image debian-12 --network blue,address=10.1.0.7"

TENANT = Scene(
    "3. A tenant gets a whole server, on his own network, by one call",
    (
        Line("bms {tenant} network create blue", says=("/networks/blue", "VLAN")),
        Line(
            "bms {tenant} prefix create blue-v4 --network blue --cidr 10.1.0.0/24 --cool-down 20s", says=("10.1.0.1",)
        ),
        Line("bms {tenant} network create green", says=("/networks/green",)),
        Line(
            "bms {tenant} prefix create green-v4 --network green --cidr 10.2.0.0/24 --cool-down 20s", says=("10.2.0.1",)
        ),
        Line(
            "bms {tenant} prefix create blue-too --network blue --cidr 10.1.0.128/25",
            note="Prefixes of one address space do not overlap.",
            code=1,
            says=("Error",),
        ),
        Line(
            f"{_CREATE} --dry-run",
            note="The plan first.",
            says=("write_image", "attach_tenant"),
        ),
        Line(
            f'{_CREATE} --hostname web --ssh-key "{_KEY}" --user-data $BMS_DATA_DIR/files/user-data.yaml'
            " --wait --timeout 2m",
            note="Flavor, image, network with a fixed address, host name, key and user data: one call.",
            says=("write_image", "active", "10.1.0.7"),
            never=("Error", "s3cret"),
            keep={"server": r"Server\s+([0-9a-f-]{36})"},
        ),
        Line("bms {tenant} instance show web", says=("active", "connected"), never=("s3cret",)),
        Line(
            "bms {tenant} lease list",
            note="The address is leased, with its owner and epoch.",
            says=("10.1.0.7", "leased"),
        ),
        Line(
            "bms server port list {server}",
            note="The administrator sees where the ports are, as read back from the switch.",
            says=("tenant", "/networks/blue"),
        ),
        Line("bms --as carol instance list", note="Who may only look, sees it ...", says=("web", "active")),
        Line("bms --as carol instance stop web", note="... and no more.", code=1, says=("FORBIDDEN",)),
        Line(
            "bms {tenant} lease create --network blue --owner vm-4711 --mac 02:00:00:00:47:11",
            note="Virtual machines lease from the same authority.",
            says=("vm-4711", "leased"),
        ),
        Line(
            "bms --as tenant-b instance show projects/{project}/instances/web",
            note="For another tenant it does not exist.",
            code=1,
            says=("NOT_FOUND",),
        ),
        Line("bms --as tenant-b instance list", says=("No instances",)),
        Line(
            "bms --as tenant-b instance delete projects/{project}/instances/web --yes",
            code=1,
            says=("NOT_FOUND",),
        ),
    ),
)

_REPEAT = "9f1c2b1e-7b1f-4c1e-9d0a-3f6f2f4f8a11"

VERBS = Scene(
    "3b. Stop, start, reboot, rebuild, rescue; on and off networks",
    (
        Line("bms {tenant} instance stop web --wait", says=("done",), never=("Error",)),
        Line(
            "bms server port list {server}",
            note="Powered off, its ports are in quarantine: no traffic at all.",
            says=("quarantine",),
            never=("/networks/blue",),
        ),
        Line("bms {tenant} lease list", note="Its address stays.", says=("10.1.0.7", "leased")),
        Line(
            "bms {tenant} instance reboot web",
            note="What makes no sense is refused, with the way out.",
            code=1,
            says=("WRONG_STATE", "Remedy:"),
        ),
        Line("bms {tenant} instance start web --wait", says=("done",), never=("Error",)),
        Line(
            f"bms {{tenant}} instance reboot web --request-id {_REPEAT} --wait -o name",
            note="With a request id a call may be repeated:",
            says=("done",),
        ),
        Line(
            f"bms {{tenant}} instance reboot web --request-id {_REPEAT} -o name",
            note="the second time is answered by the first, and nothing is rebooted again.",
            keep={"reboot": r"(projects/\S+/operations/lifecycle-[0-9a-f-]+)"},
        ),
        Line("bms {tenant} operation show {reboot}", says=("reboot", "done", "100%")),
        Line("bms server port list {server}", note="A reboot does not move the ports.", says=("/networks/blue",)),
        Line("bms {tenant} instance rebuild web --yes --wait", note="A fresh disk; the address stays.", says=("done",)),
        Line("bms {tenant} instance rescue web --wait", says=("done",), never=("Error",)),
        Line("bms {tenant} instance show web", says=("rescued", "10.1.0.7")),
        Line("bms {tenant} instance unrescue web --wait", says=("done",), never=("Error",)),
        Line(
            "bms {tenant} instance attach web green,vlan=200 --wait", note="One more network, tagged.", says=("done",)
        ),
        Line("bms {tenant} instance show web", says=("green", "vlan 200", "10.2.0.")),
        Line("bms {tenant} instance detach web green --wait", says=("done",), never=("Error",)),
        Line("bms {tenant} lease list", note="Its address there rests before anybody may have it.", says=("cooling",)),
        Line("bms {tenant} instance detach web blue --wait", note="Even its only network ...", says=("done",)),
        Line("bms server port list {server}", says=("quarantine",), never=("/networks/",)),
        Line("bms {tenant} instance attach web blue --wait", note="... and back.", says=("done",), never=("Error",)),
        Line(
            "bms {tenant} instance show web",
            says=("active", "10.1.0.", "connected"),
            keep={"address": r"(10\.1\.0\.\d+)"},
        ),
    ),
)

_MOVE = "bms server move {server} --port ens1f0=leaf12a/xe-0/0/%d --port ens2f0=leaf12b/xe-0/0/%d --reason 'rack R12'"

MOVE = Scene(
    "3c. To other switch ports, with its tenant on it",
    (
        Line(
            f"{_MOVE % (1, 1)} --yes",
            note="Another server is plugged in there: refused before anything is touched.",
            code=1,
            says=("r12-01", "Remedy:"),
        ),
        Line(
            f"{_MOVE % (41, 41)} --yes",
            note="Off, and cut where it is; no call moves a cable, so it waits for whoever does.",
            keep={"move": r"(operations/lifecycle-[0-9a-f-]+)"},
        ),
        Line("bms server wait {server} --for wait=RECABLE --timeout 1m", says=("RECABLE",)),
        Line(
            "bms server diagnose {server}",
            note="Nothing is left on the old ports, and on the new ones it is in quarantine.",
            says=("off", "-> leaf12a xe-0/0/41", "-> leaf12b xe-0/0/41", "bms server cabled"),
        ),
        Line("bms server cabled {server}", note="The cables are there.", says=("where they shall be",)),
        Line("bms operation wait {move} --timeout 1m", says=("done",), never=("Error",)),
        Line(
            "bms server port list {server}",
            note="Read back from the new switches: on his network again ...",
            says=("leaf12a/xe-0/0/41", "leaf12b/xe-0/0/41", "tenant", "/networks/blue"),
        ),
        Line(
            "bms {tenant} instance show web",
            note="... with the address that it had.",
            says=("active", "{address}", "connected"),
        ),
    ),
)
