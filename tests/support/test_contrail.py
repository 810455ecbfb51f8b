# SPDX-License-Identifier: Apache-2.0
"""The contract server answers what the genuine one was recorded to answer, request by request."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.contrail import HOME, FakeContrail
from tests.support.contrail_http import served

GOLDEN = Path(__file__).parent / "golden" / "contrail"
RECORDED = "http://127.0.0.1:8082"
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MADE_UP = {"created", "last_modified", "uuid_mslong", "uuid_lslong", "virtual_network_network_id"}
"""What is another value each time."""
WHOSE = {"perms2", "permissions"}
"""Which login asked does not matter here."""

# Where the recorded text names one of several equals, or the server's own error page.
FREE_TEXT = {
    "PUT remove subnet in use": r"Cannot update IP Block, IP\([\d.]+\) is not in subnets \(\[\]\)",
}


class Replay:
    """Plays recorded requests, with the recorded uuids replaced by those that came instead."""

    def __init__(self, fake: FakeContrail) -> None:
        self.fake = fake
        self.ours: dict[str, str] = {}

    def play(self, exchange: dict[str, Any]) -> tuple[int, Any]:
        """What the fake answers to a recorded request."""
        path, body = self.put_in(exchange["path"]), self.put_in(json.dumps(exchange["body"]))
        return self.fake.handle(exchange["method"], path, json.loads(body))

    def put_in(self, text: str) -> str:
        """*text* with our uuids."""
        return UUID.sub(lambda found: self.ours.get(found[0], found[0]), text).replace(RECORDED, HOME)

    def same(self, recorded: Any, answer: Any, where: str = "") -> None:
        """Compares, and learns which uuid came instead of which."""
        if isinstance(recorded, dict):
            assert isinstance(answer, dict), where
            assert set(answer) == set(recorded), where
            for key, value in recorded.items():
                if key in MADE_UP:
                    assert type(answer[key]) is type(value), f"{where}.{key}"
                elif key in WHOSE:
                    assert set(answer[key]) == set(value), f"{where}.{key}"
                else:
                    self.same(value, answer[key], f"{where}.{key}")
        elif isinstance(recorded, list):
            assert isinstance(answer, list), where
            assert len(answer) == len(recorded), where
            for number, (one, other) in enumerate(zip(_sorted(recorded), _sorted(answer), strict=True)):
                self.same(one, other, f"{where}[{number}]")
        elif isinstance(recorded, str) and UUID.search(recorded):
            self.same_text(recorded, answer, where)
        else:
            assert answer == (self.mac(recorded) if where.endswith(".mac_address[0]") else recorded), where

    def mac(self, recorded: str) -> str:
        """The MAC address that must come instead of *recorded*: another if the server makes it of a uuid."""
        return next((mac_of(after) for before, after in self.ours.items() if mac_of(before) == recorded), recorded)

    def same_text(self, recorded: str, answer: str, where: str = "") -> None:
        """Compares texts that name objects."""
        before, after = UUID.findall(recorded), UUID.findall(answer)
        assert len(before) == len(after), where
        known = set(self.ours.values())
        unknown = zip(
            [one for one in before if one not in self.ours], [one for one in after if one not in known], strict=False
        )
        self.ours |= dict(unknown)
        wanted = self.put_in(recorded)
        assert sorted(UUID.findall(wanted)) == sorted(after), where
        assert UUID.sub("-", answer) == UUID.sub("-", wanted), where


def mac_of(ident: str) -> str:
    """The MAC address that the server makes of an interface's uuid."""
    digits = "02" + ident.replace("-", "")[:10]
    return ":".join(digits[at : at + 2] for at in range(0, 12, 2))


def _sorted(things: list[Any]) -> list[Any]:
    """The server keeps lists of objects in no order that counts."""
    if not things or not isinstance(things[0], dict):
        return things

    def name(thing: dict[str, Any]) -> str:
        inner = next(iter(thing.values())) if len(thing) == 1 else thing
        return json.dumps(inner.get("fq_name") or inner.get("to") or 0) if isinstance(inner, dict) else ""

    return sorted(things, key=name)


def test_the_genuine_answers_are_given() -> None:
    """
    Every recorded request gets the recorded status and body, but for uuids, moments and whose permissions they are.
    """
    replay = Replay(FakeContrail())
    played = 0
    for file in sorted(GOLDEN.glob("*.json")):
        for number, exchange in enumerate(json.loads(file.read_text())):
            where = f"{file.stem} {number} {exchange['note']}"
            status, answer = replay.play(exchange)
            assert status == exchange["status"], f"{where}: {answer}"
            if pattern := FREE_TEXT.get(exchange["note"]):
                assert re.fullmatch(pattern, answer), where
            elif isinstance(exchange["answer"], str):
                assert isinstance(answer, str), where
                replay.same_text(exchange["answer"], answer, where)
            else:
                replay.same(exchange["answer"], answer, where)
            played += 1

    assert played == 262


@pytest.fixture
def fake() -> FakeContrail:
    made = FakeContrail()
    made.add("fabric", ["default-global-system-config", "fab"])
    made.add("physical-router", ["default-global-system-config", "leaf"])
    for name in ("xe-0", "xe-1"):
        made.add("physical-interface", ["default-global-system-config", "leaf", name])
    for name in ("a", "b"):
        made.add("virtual-network", ["default-domain", "default-project", name])
    return made


@pytest.fixture
def connection(fake: FakeContrail) -> Iterator[http.client.HTTPConnection]:
    with served(fake) as url:
        made = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
        try:
            yield made
        finally:
            made.close()


def bound(port: str, **more: str) -> dict[str, Any]:
    """Bindings of an interface at a switch port."""
    link = {"switch_info": "leaf", "port_id": port, "fabric": "fab"}
    pairs = {"vnic_type": "baremetal", "profile": json.dumps({"local_link_information": [link]}), **more}
    return {"key_value_pair": [{"key": key, "value": value} for key, value in pairs.items()]}


def interface(fake: FakeContrail, name: str, network: str, port: str, vlan: int) -> str:
    """An interface with a tag at a switch port."""
    return fake.add(
        "virtual-machine-interface",
        ["default-domain", "default-project", name],
        virtual_network_refs=[{"to": ["default-domain", "default-project", network]}],
        virtual_machine_interface_bindings=bound(port),
        virtual_machine_interface_properties={"sub_interface_vlan_tag": vlan},
    )


def test_a_change_of_vlan_does_not_take(fake: FakeContrail) -> None:
    """
    After a PUT of another VLAN the interface says the new one, and its port group the old.
    """
    made = interface(fake, "one", "a", "xe-0", 55)

    fake.do(
        "PUT",
        f"/virtual-machine-interface/{made}",
        {
            "virtual-machine-interface": {
                "virtual_machine_interface_properties": {"sub_interface_vlan_tag": 56},
                "virtual_machine_interface_bindings": bound("xe-0"),
            }
        },
    )

    read = fake.read("virtual-machine-interface", made)
    assert read["virtual_machine_interface_properties"]["sub_interface_vlan_tag"] == 56
    assert read["virtual_port_group_refs"][0]["attr"] == {"vlan_tag": 55}


def test_a_port_whose_switch_port_points_to_it_stays(fake: FakeContrail) -> None:
    """
    The server ties a switch port to the port that names it; taking the name away unties nothing, a ref-update does.
    """
    config = "default-global-system-config"
    fake.add("node", [config, "n1"])
    link = {"local_link_connection": {"switch_info": "leaf", "port_id": "xe-0"}, "address": "0c:c4:7a:00:00:01"}
    made = fake.add("port", [config, "n1", "p1"], bms_port_info=link)
    fake.do("PUT", f"/port/{made}", {"port": {"bms_port_info": {"address": "0c:c4:7a:00:00:01"}}})

    status, text = fake.handle("DELETE", f"/port/{made}", None)
    switch_port = fake.named("physical-interface", config, "leaf", "xe-0")
    assert switch_port is not None
    assert (status, text) == (409, f"Delete when resource still referred: ['{switch_port['href']}']")

    untie = {"type": "physical-interface", "uuid": switch_port["uuid"], "ref-type": "port", "ref-uuid": made}
    fake.do("POST", "/ref-update", {**untie, "operation": "DELETE"})
    assert fake.handle("DELETE", f"/port/{made}", None) == (200, "")


def test_the_last_writer_wins(fake: FakeContrail, connection: http.client.HTTPConnection) -> None:
    """
    A PUT with the tag of an older version is done; reading with the tag of this version is answered 304.
    """
    made = fake.add("node", ["default-global-system-config", "n1"])
    connection.request("GET", f"/node/{made}")
    answer = connection.getresponse()
    tag = answer.headers["ETag"]
    answer.read()
    fake.do("PUT", f"/node/{made}", {"node": {"hostname": "theirs"}})

    headers = {"If-Match": tag, "Content-Type": "application/json"}
    connection.request("PUT", f"/node/{made}", json.dumps({"node": {"hostname": "ours"}}), headers)
    answer = connection.getresponse()
    assert (answer.status, answer.read() and fake.read("node", made)["hostname"]) == (200, "ours")
    connection.request("GET", f"/node/{made}", headers={"If-None-Match": f'"{fake.objects.things[made].changed}"'})
    assert connection.getresponse().status == 304


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Transfer-Encoding": "chunked", "Content-Type": "application/json"}, b"2\r\n{}\r\n0\r\n\r\n", 400),
        ({"Content-Type": "application/json", "Content-Length": "0"}, b"", 500),
        ({"Content-Type": "application/json", "Content-Length": "1"}, b"{", 500),
        ({"Content-Type": "text/plain", "Content-Length": "2"}, b"{}", 500),
        ({"Content-Type": "application/json", "Content-Length": "1024001"}, b"", 413),
    ],
    ids=["chunked", "no body", "half a document", "another type", "too long"],
)
def test_bodies_that_are_refused(
    connection: http.client.HTTPConnection, headers: dict[str, str], body: bytes, status: int
) -> None:
    """
    A body must say its length, be JSON, say so, and not be too long.
    """
    connection.putrequest("POST", "/nodes")
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    connection.send(body)

    answer = connection.getresponse()

    assert answer.status == status
    assert answer.headers["Content-Type"].startswith("text/html")
    assert answer.read()


def test_pages_begin_where_the_marker_says(fake: FakeContrail) -> None:
    """
    Pages come only to who asks with a marker; the last one's marker is null.
    """
    found: list[str] = []
    marker = "none"
    while marker:
        page = fake.do("GET", f"/virtual-networks?page_marker={marker}&page_limit=2")
        found += [row["uuid"] for row in page["virtual-networks"]]
        marker = page["marker"]

    assert sorted(found) == sorted(one["uuid"] for one in fake.every("virtual-network"))
    assert len(fake.do("GET", "/virtual-networks?page_limit=1")["virtual-networks"]) == len(found)
