# SPDX-License-Identifier: Apache-2.0
"""The verifier's state at a cut of a log: an archive ends with it, and what follows is judged from there.

It is taken at a checkpoint. Where the streams ended is proven by that checkpoint; what the verifier believed of each
server is not, and whoever does not trust who cut judges the archive itself.
"""

from __future__ import annotations

import base64
import json
import types
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from bms.event.v1 import event_pb2
from services.verifier.address_trial import Address
from services.verifier.judge import Judge, trial_of
from services.verifier.picture import Picture
from services.verifier.track import Span, Track
from services.verifier.verdict import Verdict

VERSION = 1


class NoState(ValueError):
    """The state cannot be taken, or not be understood; the message says why."""


def state_of(judge: Judge) -> bytes:
    """What *judge* knows at the checkpoint where it stands, as JSON.

    Raises:
        NoState: it does not stand at a checkpoint that fits, or judges a single stream.
    """
    if judge.stream or not judge.whole or not judge.position or judge.judged_to != judge.position:
        raise NoState(f"position {judge.position} of {judge.service} is not a checkpoint up to which all fits")
    content = {
        "version": VERSION,
        "service": judge.service,
        "position": judge.position,
        "running": judge.running.hex(),
        "number": judge.number,
        "checkpoint": judge.last_checkpoint.hex(),
        "keys": [base64.b64encode(key.SerializeToString()).decode() for key in judge.keys.known],
        "streams": [
            {
                "stream": track.stream,
                "sequence": track.sequence,
                "digest": track.digest.hex(),
                "verdict": track.trial.verdict.value,
                "reason": track.trial.reason,
                # Since when it is not PASS is lost; until when is not.
                "time": track.spans[-1].end if track.trial.verdict is not Verdict.PASS else 0,
                "picture": pack(track.trial.picture),
            }
            for track in judge.tracks.values()
        ],
    }
    return json.dumps(content, separators=(",", ":")).encode()


def resume(state: bytes, trusted: frozenset[bytes] | None = None) -> Judge:
    """A judge that goes on where the one that gave *state* stood.

    Raises:
        NoState: it cannot be understood.
    """
    try:
        content = json.loads(state)
        if content["version"] != VERSION:
            raise NoState(f"the state has version {content['version']}; this verifier knows {VERSION}")
        judge = Judge(content["service"], trusted=trusted)
        judge.position = judge.judged_to = content["position"]
        judge.running, judge.number = bytes.fromhex(content["running"]), content["number"]
        judge.last_checkpoint = bytes.fromhex(content["checkpoint"])
        for key in content["keys"]:
            judge.key(event_pb2.SigningKey.FromString(base64.b64decode(key)))
        for each in content["streams"]:
            trial = trial_of(judge.service, each["stream"])
            trial.verdict, trial.reason = Verdict(each["verdict"]), each["reason"]
            if each["picture"] is not None:
                kind = Address if judge.service == "ipam" else Picture
                trial.picture = unpack(kind, each["picture"])
            digest = bytes.fromhex(each["digest"])
            track = judge.tracks[each["stream"]] = Track(each["stream"], trial, each["sequence"], digest)
            if trial.verdict is not Verdict.PASS:
                # It lasts until something ends it, whether or not anything follows.
                track.spans.append(Span(trial.verdict, track.sequence, each["time"], trial.reason))
            judge.heads.put(each["stream"], each["sequence"], digest)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, NoState):
            raise
        raise NoState(f"the state cannot be understood: {error!r}") from error
    return judge


def pack(value: object) -> Any:
    """*value*, a dataclass or what one is made of, as JSON's own types."""
    if is_dataclass(value):
        return {field.name: pack(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {str(key): pack(one) for key, one in value.items()}
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, list | tuple):
        return [pack(one) for one in value]
    return value.value if isinstance(value, Enum) else value


@cache
def _hints(kind: type) -> dict[str, Any]:
    """The types of a dataclass's fields; finding them takes longer than all the rest."""
    return get_type_hints(kind)


def unpack(kind: Any, data: Any) -> Any:
    """What `pack` made of a value of type *kind*, as that type again."""
    if data is None:
        return None
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return unpack(next(one for one in args if one is not type(None)), data)
    if is_dataclass(kind):
        made: Any = kind
        hints = _hints(made)
        return made(**{name: unpack(hints[name], one) for name, one in data.items()})
    if origin is dict:
        return {key: unpack(args[1], one) for key, one in data.items()}
    if origin is list:
        return [unpack(args[0], one) for one in data]
    if origin is frozenset:
        return frozenset(data)
    return kind(data)
