# SPDX-License-Identifier: Apache-2.0
"""What fails around a genuine Ironic: its broker, the tokens for it, a ramdisk that never calls."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from services.lifecycle.backends.ironic_api import Deadline, IronicApi
from tests.lifecycle.observing.broker import Broker
from tests.openstack.faults import FaultyIronic, running_faulty
from tests.openstack.fleet import (
    ACTIVE,
    AVAILABLE,
    QUARANTINED,
    SETTINGS,
    Bmc,
    Fleet,
    furnish,
    logs_are_sound,
    nothing_is_left,
)
from tests.openstack.images import serving
from tests.openstack.keystone import Cloud, running_keystone
from tests.site.client import wait_for
from tests.site.rig import running_site

pytestmark = [
    pytest.mark.openstack,
    pytest.mark.rabbitmq,
    pytest.mark.timeout(1200),
    # Of the SDK's own parts, in the test's client.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning"),
]

NAMES = ("worked", "watched")
PASSWORD = "another-bmc's-password"
TOKEN_SECONDS = 40
"""keystoneauth gets another token when one is good for less than 30 s: each is used for ten."""

LISTED_SECONDS = 3600
"""How often lifecycle lists what changed: never, as far as a test goes."""


@pytest.fixture(scope="module")
def keystone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A Keystone whose tokens soon expire."""
    with running_keystone(tmp_path_factory.mktemp("keystone"), token_seconds=TOKEN_SECONDS) as running:
        yield running


@pytest.fixture(scope="module")
def ironic(keystone: Cloud, broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyIronic]:
    """An Ironic behind the one, which tells the other."""
    login = {
        "auth_type": "password", "auth_url": keystone.endpoint, "www_authenticate_uri": keystone.endpoint,
        "username": "bms", "password": keystone.passwords["bms"], "project_name": "service",
        "user_domain_id": "default", "project_domain_id": "default", "interface": "public",
        "token_cache_time": TOKEN_SECONDS,
    }  # fmt: skip
    more: dict[str, dict[str, object]] = {
        "DEFAULT": {
            "auth_strategy": "keystone", "transport_url": broker.url, "notification_level": "debug",
            "rbac_service_role_elevated_access": True, "rbac_service_project_name": "service",
        },
        "keystone_authtoken": login,
        # A notification that cannot be sent is lost, and Ironic goes on.
        "oslo_messaging_notifications": {"driver": "messagingv2", "retry": 1},
        "conductor": {"inspect_wait_timeout": 5},
    }  # fmt: skip
    folder = tmp_path_factory.mktemp("faulty")
    clouds = folder / "clouds.yaml"
    with pytest.MonkeyPatch.context() as patch:
        for name in ("no_proxy", "NO_PROXY"):
            patch.setenv(name, "127.0.0.1")
        patch.setenv("OS_CLIENT_CONFIG_FILE", str(clouds))
        with running_faulty(folder, more=more, api=lambda: IronicApi(cloud="past")) as running:
            ours = json.loads(keystone.clouds.read_text())["clouds"]["bms"]
            direct = f"http://127.0.0.1:{running.port}"
            ways = {"faulty": running.endpoint, "past": direct}
            clouds.touch(mode=0o600)
            known = {name: {**ours, "baremetal_endpoint_override": url} for name, url in ways.items()}
            clouds.write_text(json.dumps({"clouds": known}))
            yield running


@pytest.fixture(scope="module")
def fleet(
    ironic: FaultyIronic, broker: Broker, keystone: Cloud, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    """Servers that were provided, but for the one whose inspection is to fail."""
    settings = {
        **SETTINGS,
        "BMS_LIFECYCLE_LIMIT_SCALE": "0.5",
        "BMS_LIFECYCLE_IRONIC_CLOUD": "faulty",
        "BMS_LIFECYCLE_IRONIC_NOTIFICATIONS": broker.url,
        "BMS_LIFECYCLE_IRONIC_LIST_SECONDS": str(LISTED_SECONDS),
        "OS_CLIENT_CONFIG_FILE": str(ironic.folder / "clouds.yaml"),
    }
    with serving() as images, running_site(tmp_path_factory.mktemp("site"), settings=settings) as site:
        bmcs = {name: Bmc(1001 + number, "root", PASSWORD) for number, name in enumerate(NAMES)}
        made = furnish(site, ironic.api, images, bmcs)
        made.secrets += [keystone.passwords["bms"], broker.place.secrets["rabbitmq"]]
        ironic.plug_all(made)
        ironic.steer(bmcs["watched"].port, inspect="wait")
        made.provide(*NAMES)
        made.moved("worked", AVAILABLE)
        yield made


def test_an_inspection_that_nobody_answers(fleet: Fleet, ironic: FaultyIronic) -> None:
    """
    Ironic gives an inspection up whose ramdisk never called: told by its name, and led out when it does.
    """
    fleet.quarantined("watched", "INSPECTION_FAILED")
    assert "imeout" in fleet.status("watched").fault_message, fleet.status("watched")

    ironic.steer(fleet.bmcs["watched"].port)
    fleet.recovered("watched")


def test_a_broker_that_goes_while_a_server_is_deployed(fleet: Fleet, ironic: FaultyIronic, broker: Broker) -> None:
    """
    The deploy ends well, what somebody did to another node meanwhile is found when the broker is back, and from then
    on notifications come again: the listing, once an hour, has no part in either.
    """
    ironic.steer(fleet.bmcs["worked"].port, deploy="sleep:30")
    fleet.create("worked")
    wait_for("it is deployed", lambda: fleet.node("worked")["provision_state"] == "deploying", 300)
    broker.down()
    maintenance = f"/nodes/{fleet.uuid('watched')}/maintenance"
    ironic.api.call("PUT", maintenance, Deadline(), {"reason": "a fan"})
    wait_for("it is away", lambda: "notifications.away" in fleet.site.log("lifecycle"), 300)
    assert fleet.diagnosis("watched").blocked_on == ""
    broker.up()

    wait_for("it is told", lambda: fleet.diagnosis("watched").blocked_on == "CONTROLLER_MAINTENANCE", 300)
    fleet.moved("worked", ACTIVE)
    ironic.api.call("DELETE", maintenance, Deadline())
    wait_for("it is over", lambda: fleet.diagnosis("watched").blocked_on == "", 300)
    fleet.delete("worked")
    fleet.moved("worked", AVAILABLE)


def test_tokens_that_expire_while_a_server_is_deployed(fleet: Fleet, ironic: FaultyIronic) -> None:
    """
    No token that was there when it began is good when it ends, and nobody notices.
    """
    ironic.steer(fleet.bmcs["worked"].port, deploy=f"sleep:{TOKEN_SECONDS + 5}")
    began = time.monotonic()
    fleet.create("worked")
    fleet.moved("worked", ACTIVE, QUARANTINED)
    assert time.monotonic() - began > TOKEN_SECONDS
    assert fleet.status("worked").state == ACTIVE
    refused = [line for line in fleet.site.log("lifecycle").splitlines() if "REFUSED_BY_PEER" in line]
    assert not refused, refused[:3]
    ironic.steer(fleet.bmcs["worked"].port)


def test_it_is_given_back(fleet: Fleet) -> None:
    """
    What is left is a release like any other.
    """
    fleet.delete("worked")
    fleet.moved("worked", AVAILABLE)


def test_nothing_is_left(fleet: Fleet) -> None:
    """
    No lease but resting ones, no port outside quarantine, no leak between services, nobody's hold in Ironic.
    """
    nothing_is_left(fleet)


def test_the_verifier_finds_nothing(fleet: Fleet) -> None:
    """
    Judged by its log, no server and no address broke an invariant whatever failed; and no secret stands anywhere.
    """
    logs_are_sound(fleet)
