# SPDX-License-Identifier: Apache-2.0
"""`bms server certificate`: proof on one page that every disk of a server was erased."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.cli.certificate import Certificate, certify
from services.cli.commands.audit_isolation import KEY_FILE
from services.cli.commands.server_noun import NAME, server
from services.cli.counting import Counter
from services.cli.evidence import trusted_keys
from services.cli.fleet import find
from services.cli.screen import Screen, when
from services.cli.session import Session, reads

if TYPE_CHECKING:
    from services.cli.certificate import Cited


@server.command("certificate")
@NAME
@KEY_FILE
@reads
def certificate(session: Session, name: str, key_file: Path | None) -> None:
    """Print the erasure certificate of the last full clean; refused where the log does not prove one."""
    record = find(session, name)
    with Counter() as counter:
        found = certify(session, record, trusted_keys(key_file), lambda count: counter.add(count, "events"))
    if session.screen.structured:
        session.screen.data(as_data(found))
    else:
        _page(session.screen, found)


def as_data(found: Certificate) -> dict[str, Any]:
    """*found* for a program."""
    from services.cli.screen import as_dict

    return {
        "server": found.server,
        "display_name": found.display_name,
        "disks": [{**as_dict(disk), "sample_digest": disk.sample_digest.hex()} for disk in found.disks],
        "events": {what: _cited(event) for what, event in found.events.items()},
        "used_since_by": found.used_by,
        "checkpoint": {
            **as_dict(found.checkpoint),
            **{
                field: getattr(found.checkpoint, field).hex()
                for field in ("running_digest", "heads_root", "previous", "restored_from")
                if getattr(found.checkpoint, field)
            },
        },
        "key": {"key_id": found.key.key_id, "public_key": found.key.public_key.hex(), "trusted": found.trusted},
    }


def _until(found: Certificate) -> str:
    return "Until that instance came" if found.used_by else "Since then"


def _cited(event: Cited) -> dict[str, Any]:
    return {
        "id": event.id,
        "sequence": event.sequence,
        "position": event.position,
        "time": event.time.ToJsonString(),
        "digest": event.digest.hex(),
    }


def _page(screen: Screen, found: Certificate) -> None:
    count = len(found.disks)
    screen.print(screen.styled("CERTIFICATE OF ERASURE", "bold"))
    screen.print()
    screen.card(
        [
            ("Server", f"{found.display_name}  {found.server}"),
            (
                "Statement",
                f"Every disk that inspection found ({count}) was erased after the server was off its tenant's",
            ),
            ("", f"networks. {_until(found)} it ran nowhere but in cleaning and provisioning, and no disk"),
            ("", "was found on it that was not erased."),
            ("Used since", found.used_by or "by nobody"),
        ]
    )
    screen.print()
    rows = [
        (disk.serial, f"{disk.size_bytes / 1e9:.0f} GB", disk.method, when(disk.start_time), when(disk.end_time))
        for disk in found.disks
    ]
    screen.table(("DISK", "SIZE", "METHOD", "BEGAN", "ENDED"), rows)
    screen.print()
    for disk in found.disks:
        screen.print(f"sample {disk.serial}  {disk.sample_digest.hex()}")
    screen.print()
    for what, event in found.events.items():
        screen.print(f"{what}  {when(event.time)}  sequence {event.sequence}  {event.id}")
        screen.print(f"  digest {event.digest.hex()}")
    checkpoint = found.checkpoint
    screen.print()
    screen.card(
        [
            ("Covered by", f"checkpoint {checkpoint.number} of log {checkpoint.log}, {when(checkpoint.time)}"),
            ("Root", checkpoint.heads_root.hex()),
            ("Signed with", f"key {found.key.key_id}, {'trusted by you' if found.trusted else 'as the log names it'}"),
            ("Public key", found.key.public_key.hex()),
        ]
    )
    screen.note("Whoever doubts it verifies it himself: bms audit export --server NAME, then bms-verify.")
