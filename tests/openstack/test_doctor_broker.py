# SPDX-License-Identifier: Apache-2.0
"""`bms doctor` before a genuine RabbitMQ, and an Ironic that tells it what it does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.lifecycle.observing.broker import PASSWORD, Broker
from tests.openstack.shared_ironic import running_ironic
from tests.openstack.test_doctor import Told, doctor, only

pytestmark = [
    pytest.mark.openstack,
    pytest.mark.rabbitmq,
    pytest.mark.timeout(900),
    # Of the SDK's own parts.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning"),
]


def look(folder: Path, url: str, *line: str) -> Told:
    """What the doctor says of the broker at *url*."""
    clouds, file = folder / "clouds.yaml", folder / "rabbitmq.url"
    clouds.write_text(json.dumps({"clouds": {}}))
    file.write_text(url)
    told = doctor(clouds, *only("rabbitmq"), "--rabbitmq", str(file), *line)
    assert PASSWORD not in told.text
    return told


def test_what_is_wrong_before_it(broker: Broker, tmp_path: Path) -> None:
    """
    A wrong password, a virtual host that is not there, TLS where there is none, nobody, and no exchange yet: each by
    its own finding.
    """
    stranger = look(tmp_path, broker.url.replace(PASSWORD, "not-the-password"))
    elsewhere = look(tmp_path, f"{broker.url}elsewhere")
    veiled = look(tmp_path, broker.url.replace("rabbit:", "rabbits:"))
    nobody = look(tmp_path, "rabbit://u:p@127.0.0.1:9/")
    quiet = look(tmp_path, broker.url)

    assert stranger.of("FAIL") == {"RABBITMQ_LOGIN"}
    assert "refuses the login of user" in stranger.texts("RABBITMQ_LOGIN")
    assert "not-the-password" not in stranger.text
    assert elsewhere.of("FAIL") == {"RABBITMQ_LOGIN"}
    assert "elsewhere" in elsewhere.texts("RABBITMQ_LOGIN")
    assert veiled.of("FAIL") == {"RABBITMQ_ANSWERS"}
    assert nobody.of("FAIL") == {"RABBITMQ_ANSWERS"}
    assert "refused" in nobody.texts("RABBITMQ_ANSWERS")
    assert quiet.of("FAIL") == {"RABBITMQ_EXCHANGE"}
    assert quiet.of("PASS") >= {"RABBITMQ_ANSWERS", "RABBITMQ_LOGIN"}


def test_a_message_comes(broker: Broker, tmp_path: Path) -> None:
    """
    Ironic's notifications are on: a note on a node of its is heard of, and removed again.
    """
    with running_ironic(tmp_path, broker) as ironic:
        uuid = "00000000-0000-4000-8000-00000000d0c0"
        ironic.make(uuid, "available")
        told = look(tmp_path, broker.url, "--ironic-endpoint", ironic.endpoint, "--probe")
        left = ironic.node(uuid).data["extra"]

    assert told.of("FAIL") == set(), told.text
    assert "baremetal.node.update" in told.texts("RABBITMQ_MESSAGE"), told.text
    assert told.of("PASS") >= {"RABBITMQ_EXCHANGE", "RABBITMQ_MESSAGE"}
    assert left == {}
