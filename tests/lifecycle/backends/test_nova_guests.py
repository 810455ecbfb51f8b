# SPDX-License-Identifier: Apache-2.0
"""Nova's servers as they are shown to those who did not make them with us."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from services.lifecycle.backends.nova_servers import NovaServers
from services.lifecycle.domain.guests import Guest
from services.lifecycle.ports import NotNow
from services.runtime.openstack import Answer

NODE, IDENT = "00000000-0000-4000-8000-000000000001", "5f3c1f0e-1111-4222-8333-444455556666"
SERVER: dict[str, Any] = {
    "id": IDENT, "tenant_id": "5a1e61253e04468095514d0d32c05640", "name": "his", "status": "ACTIVE",
    "created": "2026-01-01T10:00:00Z", "OS-EXT-SRV-ATTR:hypervisor_hostname": NODE,
    "flavor": {"original_name": "bm.fake", "vcpus": 4}, "image": {"id": "g-7"}, "OS-EXT-STS:task_state": None,
    "addresses": {"net-a": [{"addr": "10.0.0.9", "version": 4, "OS-EXT-IPS-MAC:mac_addr": "52:54:00:00:00:01"}]},
}  # fmt: skip


class Nova:
    """Answers of one server what it was made with, and everybody's servers only to who may list them."""

    def __init__(self, status: int, body: dict[str, Any], listing: int) -> None:
        self.answer = Answer(status, body)
        self.listing = listing

    def send(self, method: str, path: str, body: object = None, content_type: str = "") -> Answer:
        """See `Transport.send`."""
        assert method == "GET"
        if path.startswith("/servers?all_tenants=1"):
            said = {"forbidden": {"message": "Policy doesn't allow it."}}
            return Answer(self.listing, said if self.listing >= 400 else {"servers": []})
        assert path == f"/servers/{IDENT}"
        return self.answer


def asked(status: int, body: dict[str, Any], listing: int = 200) -> Guest | None:
    """What is shown of a Nova that answers so."""
    nova = Nova(status, body, listing)
    return NovaServers(lambda _: nova, nova, str).guest(IDENT, NODE)


def test_what_nova_shows_is_told() -> None:
    """
    Project, state, names and addresses; the time it was made is Nova's.
    """
    made = datetime(2026, 1, 1, 10, tzinfo=UTC)
    addresses = (("10.0.0.9", "52:54:00:00:00:01"),)
    expected = Guest(IDENT, SERVER["tenant_id"], NODE, "his", "ACTIVE", made, "bm.fake", "g-7", addresses)
    assert asked(200, {"server": SERVER}) == expected


@pytest.mark.parametrize(
    "changed",
    [
        {"image": "", "flavor": {}, "addresses": {}},
        {"status": "ERROR", "fault": {"message": "No valid host", "code": 500}},
        {"OS-EXT-STS:task_state": "deleting"},
    ],
)
def test_what_it_leaves_out_is_empty(changed: dict[str, Any]) -> None:
    """
    A server booted from a volume has no image, one that failed no address.
    """
    found = asked(200, {"server": {**SERVER, **changed}})
    assert found is not None
    assert found.deleting is ("OS-EXT-STS:task_state" in changed)
    assert found.fault == (changed.get("fault") or {}).get("message", "")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, {"itemNotFound": {"message": "Instance could not be found."}}),
        (400, {"badRequest": {"message": "not a UUID"}}),
        (200, {"server": {**SERVER, "OS-EXT-SRV-ATTR:hypervisor_hostname": "another"}}),
    ],
)
def test_what_is_not_there_is_nothing(status: int, body: dict[str, Any]) -> None:
    """
    Unknown to Nova, no id of Nova's at all, or a server elsewhere.
    """
    assert asked(status, body) is None


@pytest.mark.parametrize("status", [401, 403, 409, 500, 503])
def test_a_refusal_says_nothing_of_the_server(status: int) -> None:
    """
    Whoever cannot look does not know.
    """
    with pytest.raises(NotNow, match="Nova"):
        asked(status, {"forbidden": {"message": "no"}})


@pytest.mark.parametrize("listing", [403, 404, 503])
def test_a_login_that_sees_too_little_takes_nothing_for_gone(listing: int) -> None:
    """
    To one without its role, or at a wrong address, Nova says of every server of others that there is none.
    """
    with pytest.raises(NotNow, match="Nova"):
        asked(404, {"itemNotFound": {"message": "Instance could not be found."}}, listing)


def test_a_server_of_which_nova_shows_no_node_is_not_told() -> None:
    """
    So Nova shows servers of a cell that is down, and those of who is no administrator.
    """
    less = {name: value for name, value in SERVER.items() if name in ("id", "tenant_id", "created")}
    with pytest.raises(NotNow, match="not on which node"):
        asked(200, {"server": {**less, "status": "UNKNOWN"}})
