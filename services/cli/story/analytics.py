# SPDX-License-Identifier: Apache-2.0
"""Every step was an event; analytics got each as Sandesh XML."""

from __future__ import annotations

from services.cli.story.script import Line, Scene

_BEARER = '-H "authorization: Bearer $(cat $BMS_DATA_DIR/site.token)"'

ANALYTICS = Scene(
    "6. Every step was an event, and analytics knows",
    (
        Line(
            "bms event watch --after 0 --server r11-11 --type clean --count 2 --for 20s",
            note="Events from the beginning, as they were committed; a watch goes on where it was cut.",
            says=("clean.", "bms event watch --after"),
        ),
        Line(
            "bms event list --server r11-11 --type server.state_changed --limit 12",
            note="The life of the server that had bad luck:",
            says=("enrolled", "cleaning", "available"),
        ),
        Line("bms event list --server r11-11 --type step.failed", note="What had failed:", says=("step.failed",)),
        Line(
            "bms --as tenant-b event list --instance projects/{project}/instances/web",
            note="Another tenant sees nothing of it.",
            says=("No events",),
        ),
        Line(
            "bms uve show server r11-11",
            note="The UVE of the server, as Contrail's analytics has it.",
            says=("IronicNode", "provision_state"),
        ),
        Line(
            'curl -s -H "X-Auth-Token: $(cat $BMS_DATA_DIR/site.token)" "http://{rest}/analytics/uves/server/{stage}?flat"',
            note="The same over its REST form.",
            says=("IronicNode",),
            needs="curl",
        ),
        Line(
            "bms message list --server r11-11 --type IronicNodeInfo --newest --limit 1",
            note="And the raw XML, as it came over TCP into the collector.",
            says=("<IronicNodeInfo",),
        ),
        Line(
            "bms message list --server r11-11 --type BmsLifecycleEventLog --newest --limit 1",
            says=("<BmsLifecycleEventLog",),
        ),
        Line(
            f"grpcurl -plaintext {_BEARER}"
            """ -d '{"stream": "servers/{stage}", "service": "lifecycle", "page_size": 2}' {telemetry}"""
            " bms.telemetry.v1.TelemetryService/QueryEvents",
            note="The log over the contract; each event carries its place in a hash chain.",
            says=("previous", "digest"),
            needs="grpcurl",
        ),
        Line("bms top", note="The fleet at the end of the day:", says=("available",)),
    ),
)
