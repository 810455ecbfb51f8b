# SPDX-License-Identifier: Apache-2.0
"""What a server's isolation is worth, as a UVE of ours beside its `IronicNode`."""

from __future__ import annotations

from typing import Final, Required, TypedDict

from telemetry.sandesh.messages import OBJECT_SERVER_TABLE
from telemetry.sandesh.schema import Field, Scalar, Struct, uve


class BmsServerVerdict(TypedDict, total=False):
    """A server's verdict. ``name`` is its UUID; every text is always sent, empty where there is nothing to say."""

    name: Required[str]
    deleted: bool
    verdict: str
    since: str
    cause_event: str
    cause_type: str
    cause_kind: str
    cause_text: str
    requested_by: str
    approved_by: str
    forced_action: str


_TEXTS = (
    *("verdict", "since", "cause_event", "cause_type", "cause_kind", "cause_text"),
    *("requested_by", "approved_by", "forced_action"),
)

BMS_SERVER_VERDICT: Final = Struct(
    "BmsServerVerdict",
    (
        Field("name", Scalar.STRING, 1, (("key", OBJECT_SERVER_TABLE),)),
        Field("deleted", Scalar.BOOL, 2, optional=True),
        *(Field(name, Scalar.STRING, identifier, optional=True) for identifier, name in enumerate(_TEXTS, 3)),
    ),
)
BMS_SERVER_VERDICT_INFO: Final = uve("BmsServerVerdictInfo", BMS_SERVER_VERDICT)
