# SPDX-License-Identifier: Apache-2.0
"""docs/doctor.md, written from the registry: ``python -m services.cli.doctor.page > docs/doctor.md``."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from services.cli.doctor.facts import SECTIONS
from services.cli.doctor.registry import CHECKS
from services.cli.doctor.verdicts import Check

PAGE = "docs/doctor.md"
"""Where the page stands in the tree."""

_HEAD = """# Is this site fit for use?

Written from `services/cli/doctor/checks`, and held to it by a test: do not edit it here.

    bms doctor --os-cloud bms                              # our services, and everything in that cloud
    bms doctor --ironic-endpoint http://10.0.0.5:6385      # an Ironic without Keystone
    bms doctor --os-cloud bms --section ironic --section neutron
    bms doctor --os-cloud bms --rabbitmq /etc/bms/rabbitmq.url --probe
    bms doctor --os-cloud bms --section contrail           # the Contrail of the settings in this environment
    bms doctor --os-cloud bms --contrail http://10.0.0.7:8082,http://10.0.0.8:8082
    bms doctor --os-cloud bms -o json                      # for machines

It only reads, unless `--probe` is given. Name the cloud whose login the services use: what another may see says nothing
of them. With `--as LOGIN` or `--token-file FILE` our services are asked with that token; otherwise with the data
directory's, if it has one, or with one of the cloud's. `--rabbitmq` names a file with the broker's URL
(`rabbit://user:password@host:5672/vhost`, or `rabbits://` for TLS), so that no password is in the list of processes.
A Contrail is looked at if `BMS_NETWORK_CONTRAIL_URLS` or `BMS_IPAM_CONTRAIL_URLS` is in the environment, or
`--contrail` names it: run it with the environment of network and ipam, since that is judged too. Which networks and
servers are ours the services are asked; a login that is no cloud admin of Contrail's is shown too little to judge
anything by, and that is told instead.

| verdict | means |
|---|---|
| PASS | it is as it has to be |
| WARN | it works, and something will not |
| FAIL | servers will be lost, stuck or not isolated; or it does not answer |
| UNKNOWN | it could not be seen: the login may not, or no API tells. It is never taken for PASS |

The exit code is 1 if anything FAILs, else 0; with `--strict`, 5 if anything is WARN or UNKNOWN. 2 is a line that was
not understood. An endpoint that is silent costs its own section and no more; nothing is waited for longer than 10 s a
request (`--request-timeout`, if that is shorter), and 60 s in all (`--limit`).

Codes stay as they are: scripts may look for them.
"""
_TITLES = {
    "services": "Our services", "keystone": "Keystone", "ironic": "Ironic", "neutron": "Neutron",
    "contrail": "Contrail",
    "placement": "Placement", "nova": "Nova", "glance": "Glance", "rabbitmq": "RabbitMQ",
}  # fmt: skip


def anchor(code: str) -> str:
    """Where the page says what to do for *code*: a path from the tree's root."""
    return f"{PAGE}#{code.lower()}"


def page() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *(line for section in SECTIONS for line in _section(section))])


def _section(section: str) -> Iterator[str]:
    yield f"## {_TITLES[section]}"
    yield ""
    for each in CHECKS:
        if each.section == section:
            yield from _entry(each)


def _entry(each: Check) -> Iterator[str]:
    yield f"### {each.code}"
    yield ""
    yield each.asks
    yield ""
    yield f"- **Do:** {each.remedy}"
    yield ""
    if each.lines:
        yield "```ini"
        place = None
        for line in each.lines:
            if (line.file, line.section) != place:
                place = (line.file, line.section)
                yield f"# {line.file}"
                if line.section:
                    yield f"[{line.section}]"
            yield f"{line.key} = {line.value}" if line.section else f"{line.key}={line.value}"
        yield "```"
        yield ""
    if each.commands:
        yield "```sh"
        yield from each.commands
        yield "```"
        yield ""


if __name__ == "__main__":
    sys.stdout.write(page())
