# SPDX-License-Identifier: Apache-2.0
"""Facts about the contracts that no linter knows, read from their descriptors."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from services.access import RULES
from tests.tooling.descriptors import (
    GUARDED_VERBS,
    ROOT,
    Contracts,
    behaviors,
    build_image,
    changes,
    first_word,
)

SECRET = re.compile(
    r"password|passphrase|secret|private_key|user_data|config_drive|credential|(?<!page_)token(?!s?_count)"
)

# A secret that goes out all the same, with the reason. Anything new here is a decision for the whole project.
ANSWERED_ON_PURPOSE = {
    "bms.inventory.v1.GetServerCredentialsResponse.password": "the one way out: role service, mutual TLS or loopback",
    "bms.telemetry.v1.WatchEventsResponse.token": "a place in the log, no authority",
    "bms.telemetry.v1.WatchUvesResponse.token": "a place among the changes, no authority",
}

BEHAVIOR_WORDS = {
    "IDENTIFIER": "Identifier.",
    "IMMUTABLE": "Immutable.",
    "INPUT_ONLY": "Input only.",
    "OPTIONAL": "Optional.",
    "OUTPUT_ONLY": "Output only.",
    "REQUIRED": "Required.",
}


@pytest.fixture(scope="module")
def contracts(tmp_path_factory: pytest.TempPathFactory) -> Contracts:
    return Contracts(build_image(tmp_path_factory.mktemp("image") / "contracts.binpb"))


def test_every_service_has_a_contract(contracts: Contracts) -> None:
    """
    Five services, five contracts, and the one of events they share.
    """
    packages = {file.package for file in contracts.files}

    assert packages == {
        f"bms.{service}.v1" for service in ("event", "inventory", "ipam", "lifecycle", "network", "telemetry")
    }


def test_every_list_is_paged(contracts: Contracts) -> None:
    """
    A List takes a page size and a place to go on from, and answers one repeated field and the next place.
    """
    wrong = []
    for method in contracts.methods:
        if first_word(method.name) != "List":
            continue
        asked, told = method.input_type.fields_by_name, method.output_type.fields_by_name
        places = (("page_token", "next_page_token"), ("after", "next_after"))
        rows = [field for field in told.values() if field.is_repeated]
        if "page_size" not in asked or not any(a in asked and b in told for a, b in places) or not rows:
            wrong.append(method.full_name)

    assert not wrong


def test_every_requested_field_says_how_it_behaves(contracts: Contracts) -> None:
    """
    What a caller can set, and what he cannot, is written on every field that a request may hold (AIP-203).
    """
    wrong = [
        field.full_name
        for message in contracts.requested().values()
        for field in message.fields
        if not behaviors(field)
    ]

    assert not wrong


def test_comments_begin_with_the_behavior(contracts: Contracts) -> None:
    """
    Who reads and who compiles are told the same: the comment's first words are the field's behaviour.
    """
    wrong = []
    for message in contracts.messages:
        for field in message.fields:
            words = [BEHAVIOR_WORDS[name] for name in behaviors(field)]
            if words and not contracts.comments[field.full_name].startswith(tuple(words)):
                wrong.append(f"{field.full_name}: {words} / {contracts.comments[field.full_name][:40]!r}")

    assert not wrong


def test_everything_has_a_comment(contracts: Contracts) -> None:
    """
    The contracts are the manual: no message, field, enum, value, service or RPC goes without a sentence.
    """
    wrong = [
        name for name, comment in contracts.comments.items() if not comment.rstrip("`)").endswith((".", ":", "?", "!"))
    ]

    assert len(contracts.comments) > 100
    assert not wrong


def test_every_change_can_be_repeated_and_rehearsed(contracts: Contracts) -> None:
    """
    Every request that changes something has ``request_id`` and ``validate_only``; none that only reads has them.
    """
    wrong = []
    for method in contracts.methods:
        has = {"request_id", "validate_only"} & set(method.input_type.fields_by_name)
        if has != ({"request_id", "validate_only"} if changes(method) else set()):
            wrong.append(f"{method.full_name}: {sorted(has)}")

    assert not wrong


def test_updates_and_deletes_are_guarded(contracts: Contracts) -> None:
    """
    An update or a deletion can be bound to what its caller saw, by an etag of the request or of the resource in it.
    """
    wrong = []
    for method in contracts.methods:
        if first_word(method.name) not in GUARDED_VERBS:
            continue
        fields = method.input_type.fields
        inside = [each.name for field in fields if field.message_type for each in field.message_type.fields]
        if "etag" not in {field.name for field in fields} | set(inside):
            wrong.append(method.full_name)

    assert not wrong


def test_updates_take_a_mask(contracts: Contracts) -> None:
    """
    An update says which fields it means (AIP-134).
    """
    wrong = [
        method.full_name
        for method in contracts.methods
        if first_word(method.name) == "Update" and "update_mask" not in method.input_type.fields_by_name
    ]

    assert not wrong


def test_secrets_only_go_in(contracts: Contracts) -> None:
    """
    A field that by its name holds a secret is input only, and one that is not can be no more than a flag.
    """
    wrong = []
    for message in contracts.messages:
        for field in message.fields:
            text = field.type in {FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES}
            if text and SECRET.search(field.name) and behaviors(field) != ["INPUT_ONLY"]:
                wrong.append(field.full_name)

    assert sorted(set(wrong)) == sorted(ANSWERED_ON_PURPOSE)


def test_every_rpc_has_its_rule(contracts: Contracts) -> None:
    """
    Who may call what stands in one table: no RPC of ours without a rule, no rule without an RPC.
    """
    ours = {f"/{method.containing_service.full_name}/{method.name}" for method in contracts.methods}
    ruled = {method for method in RULES if method.startswith("/bms.")}

    assert sorted(ours - ruled) == []
    assert sorted(ruled - ours) == []


def test_buf_lint_is_clean(contracts: Contracts, tmp_path: Path) -> None:
    """
    The rules STANDARD and COMMENTS of buf hold, but for the exceptions that buf.yaml gives its reasons for.
    """
    ran = _buf("lint", _written(contracts.image, tmp_path / "now.binpb"))

    assert (ran.returncode, ran.stdout) == (0, "")


def test_buf_notices_what_breaks_a_caller(contracts: Contracts, tmp_path: Path) -> None:
    """
    The check that guards released contracts does refuse: a field that is gone is named.
    """
    before = _written(contracts.image, tmp_path / "before.binpb")
    changed = FileDescriptorSet.FromString(contracts.image.SerializeToString())
    message = next(message for file in changed.file if file.package == "bms.event.v1" for message in file.message_type)
    gone = message.field.pop()
    after = _written(changed, tmp_path / "after.binpb")

    ran = _buf("breaking", after, "--against", before)

    assert ran.returncode == 100
    assert f'"{gone.name}"' in ran.stdout


def _written(image: FileDescriptorSet, path: Path) -> str:
    path.write_bytes(image.SerializeToString())
    return str(path)


def _buf(*arguments: str) -> subprocess.CompletedProcess[str]:
    buf = Path(sys.executable).parent / "buf"
    command = [str(buf), *arguments, "--config", str(ROOT / "buf.yaml")]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
