# SPDX-License-Identifier: Apache-2.0
"""An event of the kernel as bms.event.v1: made once, when it is appended."""

from __future__ import annotations

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from bms.event.v1 import event_pb2
from services.kernel.events import Event, Evidence
from services.runtime.times import to_timestamp


def header_of(event: Event, identity: str, sequence: int) -> event_pb2.EventHeader:
    """What everybody who may read the stream sees."""
    return event_pb2.EventHeader(
        id=identity,
        stream=event.stream,
        sequence=sequence,
        time=_time(event.time),
        type=event.type,
        state_before=event.state_before,
        state_after=event.state_after,
    )


def body_of(event: Event, salt: bytes) -> event_pb2.EventBody:
    """What those see who may see it."""
    return event_pb2.EventBody(
        salt=salt,
        cause=event_pb2.Cause(
            operation=event.operation, request_id=event.request_id, fence=event.fence, step=event.step
        ),
        actor=event.actor,
        project=event.project,
        instance=event.instance,
        reason=event.reason,
        message=event.message,
        evidence=None if event.evidence is None else _evidence(event.evidence),
        facts=event.facts,
    )


def _evidence(evidence: Evidence) -> event_pb2.Evidence:
    power, image = evidence.power, evidence.image
    return event_pb2.Evidence(
        ports=[
            event_pb2.PortReading(
                port=port.port,
                port_class=port.port_class,
                networks=port.networks,
                read_time=_time(port.read_time),
                reading_digest=port.digest,
            )
            for port in evidence.ports
        ],
        power=None
        if power is None
        else event_pb2.PowerReading(power=power.power, read_time=_time(power.read_time), reading_digest=power.digest),
        disks=[
            event_pb2.DiskReading(
                serial=disk.serial,
                size_bytes=disk.size_bytes,
                method=disk.method,
                start_time=_time(disk.start_time),
                end_time=_time(disk.end_time),
                sample_digest=disk.sample_digest,
            )
            for disk in evidence.disks
        ],
        image=None
        if image is None
        else event_pb2.ImageReading(
            image=image.image,
            expected_checksum=image.expected_checksum,
            actual_checksum=image.actual_checksum,
            disk=image.disk,
        ),
        addresses=[
            event_pb2.AddressReading(
                lease=address.lease,
                vrf=address.vrf,
                address=address.address,
                epoch=address.epoch,
                state=address.state,
                free_time=_time(address.free_time),
                network=address.network,
            )
            for address in evidence.addresses
        ],
    )


def _time(moment: datetime | None) -> Timestamp | None:
    return None if moment is None else to_timestamp(moment)
