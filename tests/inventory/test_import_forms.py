# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inventory.domain import import_text, importing
from services.inventory.domain.import_rows import MAX_BYTES, MAX_SERVERS
from services.inventory.domain.import_text import ImportForm
from services.inventory.domain.importing import Planned
from services.inventory.domain.server import Login, NodeType, PortGroup
from services.kernel.errors import TooLarge

MANUAL = Path(__file__).parents[2] / "docs" / "import.md"

CONTRAIL = """
nodes:
  - name: 5c5s1-node1            # else hostname, else auto-<6 hex of PXE MAC>
    node_type: baremetal
    hostname: 5c5s1-node1
    ports:
      - {name: ens224, mac_address: "00:0c:29:13:37:bb", switch_name: 5c5s1-qfx1, port_name: xe-0/0/1, switch_id: "02:aa:bb:cc:dd:01", pxe_enabled: true}
      - {mac_address: "00:0c:29:13:37:cc", switch_name: 5c5s1-qfx2, port_name: xe-0/0/1, switch_id: "02:aa:bb:cc:dd:02"}   # named p-1337cc
    driver: pxe_ipmitool
    driver_info: {ipmi_address: 10.84.5.11, ipmi_port: 623, ipmi_username: ADMIN, ipmi_password: ADMIN}
    properties: {cpu_arch: x86_64, cpus: "16", memory_mb: "65536", local_gb: "500", capabilities: "boot_mode:uefi"}
"""  # noqa: E501 -- as the genuine importer takes it


def read(content: str | bytes, form: ImportForm | None = None) -> tuple[list[Planned], list[str]]:
    """The plan of a file over an empty inventory, and its faults in words."""
    data = content.encode() if isinstance(content, str) else content
    stated, faults = import_text.read(data, form)
    planned, found = importing.plan(stated, {}, lambda keys: {}, lambda server: Login())
    told = [importing.violation(fault) for fault in [*faults, *found]]
    return planned, [f"{each.field}: {each.description}" for each in told]


def test_contrail_commands_own_example() -> None:
    """
    The file that Contrail Command's importer takes is taken, with all that it says.
    """
    (planned,), faults = read(CONTRAIL)

    spec = planned.spec
    assert faults == []
    assert (spec.display_name, spec.node_type) == ("5c5s1-node1", NodeType.BAREMETAL)
    assert (spec.bmc.address, spec.bmc.port, spec.bmc.driver) == ("10.84.5.11", 623, "ipmi")
    assert (planned.login.username, planned.login.password) == ("ADMIN", "ADMIN")
    assert [
        (port.label, port.mac_address, port.switch_name, port.switch_port, port.pxe_enabled) for port in spec.ports
    ] == [
        ("ens224", "00:0c:29:13:37:bb", "5c5s1-qfx1", "xe-0/0/1", True),
        ("", "00:0c:29:13:37:cc", "5c5s1-qfx2", "xe-0/0/1", False),
    ]
    assert (spec.properties.cpus, spec.properties.memory_mb, spec.properties.local_gb) == (16, 65536, 500)
    assert spec.properties.capabilities == {"boot_mode": "uefi"}


def test_the_manuals_examples_are_taken() -> None:
    """
    What docs/import.md shows works as it says.
    """
    yaml, csv = re.findall(r"```(?:yaml|csv)\n(.*?)```", MANUAL.read_text(), re.DOTALL)

    (first, second), faults = read(yaml)
    assert faults == []
    assert first.spec.port_groups == (PortGroup("bond0", "802.3ad"),)
    assert (first.spec.bmc.driver, first.spec.bmc.address, first.spec.bmc.port) == ("redfish", "10.0.0.11", 0)
    assert second.spec.display_name == "compute-7"
    assert not second.spec.can_be_provided
    (one, two), faults = read(csv)
    assert faults == []
    assert (one.row, two.row) == (2, 5)
    assert one.login.password == 's,e"cret'
    assert len(one.spec.ports) == 3
    assert one.spec.port_groups == (PortGroup("bond0", "802.3ad"),)
    assert one.spec.labels == {"owner": "platform", "tier": "gold"}
    assert one.spec.location.unit == 1


@pytest.mark.parametrize("form", [ImportForm.YAML, ImportForm.JSON, None])
def test_json_with_the_same_keys(form: ImportForm | None) -> None:
    """
    JSON says the same as YAML, numbers and truths as such or as texts.
    """
    text = (
        '{"nodes": [{"name": "n", "unmanaged": false, "properties": {"cpus": 16, "memory_mb": "65536"}, "labels": null,'
        ' "ports": [{"address": "52:54:00:00:00:01", "switch_info": "s", "port_id": "p", "pxe_enabled": true}],'
        ' "driver_info": {"ipmi_address": "10.0.0.1", "ipmi_port": "623"}}]}'
    )

    (planned,), faults = read(text, form)

    assert faults == []
    assert (planned.spec.properties.cpus, planned.spec.properties.memory_mb) == (16, 65536)
    assert planned.spec.ports[0].switch_name == "s"
    assert planned.spec.bmc.port == 623


@pytest.mark.parametrize(
    ("node", "name"),
    [
        ("{name: a, hostname: b}", "a"),
        ("{display_name: c, hostname: b}", "c"),
        ("{hostname: b}", "b"),
        (
            "{ports: [{mac_address: 52:54:00:aa:bb:01}, {mac_address: 52:54:00:aa:bb:02, pxe_enabled: yes}]}",
            "auto-aabb02",
        ),
        ("{ports: [{mac_address: 52-54-00-AA-BB-01}]}", "auto-aabb01"),
    ],
)
def test_names(node: str, name: str) -> None:
    """
    A server's name is said, or its host name, or made of its PXE port's address as Contrail Command makes it.
    """
    node = node.replace("{", "{driver_info: {address: 10.0.0.1}, ", 1)
    (planned,), faults = read(f"nodes:\n- {node}\n")

    assert faults == []
    assert planned.spec.display_name == name


def test_yaml_types_nothing() -> None:
    """
    What YAML would take for numbers, truths and dates stays the text that it is.
    """
    login = "{address: bmc, username: no, password: 012345}"
    text = f"nodes:\n- {{name: 0x10, driver_info: {login}, location: {{rack: 2026-01-01}}}}\n"
    (planned,), faults = read(text)

    assert faults == []
    assert (planned.spec.display_name, planned.spec.location.rack) == ("0x10", "2026-01-01")
    assert (planned.login.username, planned.login.password) == ("no", "012345")


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + before] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("content", "form", "expected"),
    [
        (b"", None, "content: the file is empty"),
        (b" \n\n", None, "content: the file is empty"),
        (b"nodes:\n- name: caf\xe9\n", None, "content: line 2: is not UTF-8 (at byte 19); save the file as UTF-8"),
        ("nodes: []".encode("utf-16"), None, "content: the file is UTF-16; save it as UTF-8"),
        (b"nodes:\n- name: a\x00b\n", None, "content: line 2: holds a NUL character"),
        (b"nodes:\n- name: [\n", None, "content: line 3, character 1: is not well-formed YAML"),
        (b"nodes:\n- \x01\n", ImportForm.YAML, "content: the file is not well-formed YAML"),
        (b"nodes:\n- name: a\n  name: b\n", None, "content: line 3, character 3: a key is there twice"),
        (b"nodes:\n- &n {name: a}\n- *n\n", None, "content: line 3, character 3: an alias"),
        (b"nodes:\n- !!python/object:os.system {}\n", None, "content: line 2, character 3: a tag"),
        (b"nodes: []\n---\nnodes: []\n", None, "content: line 2, character 1: a second document begins"),
        (b"nodes:\n- ? [a]\n  : b\n", None, "content: line 2, character 5: a key is not a plain text"),
        (b"nodes: " + b"[" * 50 + b"]" * 50, None, "content: line 1, character 24: is nested deeper than 16 levels"),
        (b'{"nodes": ' + b"[" * 90000, None, "content: the file is n"),
        (b'{"nodes": ' + b"[" * 50 + b"]" * 50 + b"}", None, "content: the file is nested deeper than 16 levels"),
        (BOMB.encode(), ImportForm.YAML, "content: line 2, character 8: an alias"),
        (b'{"nodes": [}', None, "content: line 1, character 12: is not well-formed JSON"),
        (b'{"nodes": [], "nodes": []}', None, "content: the file a key is there twice in one object"),
        (b'{"nodes": NaN}', None, "content: the file holds NaN or Infinity"),
        (b"servers: []\n", None, "content: the file has no list called nodes at its top"),
        (b"nodes: {}\n", None, "content: the file has no list called nodes at its top"),
        (b"nodes: []\nports: []\n", None, "content: the file has ports at its top, where only nodes belongs"),
        (b"nodes: [text]\n", None, "rows[1].nodes: row 1, column nodes: is not a server"),
        (b"- a\n", None, "content: the file has no list called nodes"),
        (b"hello\n", None, "rows[1]: row 1: names mostly unknown columns"),
        (b'name,mac_address\n"a,b\n', None, "rows[2]: row 2: cannot be read: a quote is not closed"),
        (b"name,mac_address\na\n", None, "rows[2]: row 2: has 1 cells, the first line has 2"),
        (b"name,mac_address\na,b,c\n", None, "rows[2]: row 2: has 3 cells, the first line has 2"),
        (b"name,mac_address,name\n", None, "rows[1]: row 1, column name: is there twice"),
        (b"name,mac_address,colour\n", None, "rows[1]: row 1, column colour: is not a column that is known"),
        (b"name,rack\na,b\n", None, "rows[1]: row 1: names neither mac_address nor bmc_address"),
        (b"name,mac_address\na," + b"x" * 200_000 + b"\n", None, "rows[2]: row 2: cannot be read"),
    ],
)
def test_malformed_files(content: bytes, form: ImportForm | None, expected: str) -> None:
    """
    Each form of wrong file is told where and why, in bounded time and memory, and nothing of it is planned.
    """
    _, faults = read(content, form)

    assert [fault for fault in faults if fault.startswith(expected)], faults


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ("{driver_info: {address: b}}", "rows[1].display_name: row 1, column display_name: is required and missing"),
        ("{name: a}", "rows[1].bmc.address: row 1, column address: is required and missing"),
        (
            "{name: a, driver_info: {ipmi_address: 1.2.3}}",
            "rows[1].bmc.address: row 1, column ipmi_address: is not an IPv4",
        ),
        ("{name: a, colour: red}", "rows[1].colour: row 1, column colour: is not a key that is known here"),
        ("{name: a, driver_info: {ipmi_adress: b}}", "rows[1].driver_info.ipmi_adress: row 1, column ipmi_adress"),
        ("{name: a, node_type: toaster}", "rows[1].node_type: row 1, column node_type: is none of baremetal, private"),
        ("{name: a, type: vm}", "rows[1].type: row 1, column type: is not baremetal"),
        ("{name: a, ports: x}", "rows[1].ports: row 1, column ports: is not a list"),
        ("{name: a, ports: [x]}", "rows[1].ports[0]: row 1, column ports: is not a map"),
        ("{name: a, ports: [{}]}", "rows[1].ports[0].mac_address: row 1, column ports: is required and missing"),
        (
            "{name: a, ports: [{mac_address: x}]}",
            "rows[1].ports[0].mac_address: row 1, column mac_address: is not a MAC",
        ),
        ("{name: a, ports: [{name: [x]}]}", "rows[1].ports[0].label: row 1, column name: is not a single value"),
        (
            "{name: a, ports: [{port_id: x, port_name: y}]}",
            "rows[1].ports[0].switch_port: row 1, column port_name: is given",
        ),
        (
            "{name: a, ports: [{speed_mbps: fast}]}",
            "rows[1].ports[0].speed_mbps: row 1, column speed_mbps: is not a whole",
        ),
        (
            "{name: a, ports: [{pxe_enabled: maybe}]}",
            "rows[1].ports[0].pxe_enabled: row 1, column pxe_enabled: is neither",
        ),
        (
            "{name: a, ports: [{port_group: b}]}",
            "rows[1].ports[0].port_group: row 1, column port_group: is not the label",
        ),
        ("{name: a, properties: {cpus: 1.5}}", "rows[1].properties.cpus: row 1, column cpus: is not a whole number"),
        ("{name: a, properties: {cpus: -1}}", "rows[1].properties.cpus: row 1, column cpus: is not a whole number"),
        ("{name: a, properties: {cpus: 99999999999999999999}}", "rows[1].properties.cpus: row 1, column cpus: is not"),
        (
            "{name: a, properties: {capabilities: x}}",
            "rows[1].properties.capabilities: row 1, column capabilities: is nei",
        ),
        ("{name: a, properties: text}", "rows[1].properties: row 1, column properties: is not a map"),
        ("{name: a, labels: {x: [y]}}", "rows[1].labels: row 1, column labels: has a value that is not a text"),
        (
            "{name: a, driver_info: {redfish_address: 'https://u:p@h'}}",
            "rows[1].bmc.address: row 1, column redfish_addr",
        ),
        ("{name: a, location: {unit: 0.5}}", "rows[1].location.unit: row 1, column unit: is not a whole number"),
    ],
)
def test_malformed_rows(node: str, expected: str) -> None:
    """
    Each wrong cell is told with its row, its own column, and its path.
    """
    _, faults = read(f"nodes:\n- {node}\n")

    assert [fault for fault in faults if fault.startswith(expected)], faults


CSV = "name,bmc_address,bmc_password,rack,mac_address,switch_name,switch_port,pxe_enabled\n"


def test_csv_as_office_programs_write_it() -> None:
    """
    A byte order mark, Windows line ends, quotes, semicolons and empty lines at the end change nothing.
    """
    plain = CSV + "n1,10.0.0.1,a b,R1,52:54:00:00:00:01,s1,p1,yes\n,,,,52:54:00:00:00:02,s1,p2,\n"
    office = "\ufeff" + plain.replace("a b", '"a b"').replace(",", ";").replace("\n", "\r\n") + ";;;;;;;\r\n\r\n"

    expected, faults = read(plain)
    assert faults == []
    assert len(expected[0].spec.ports) == 2
    assert read(office) == (expected, [])


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            "n1,10.0.0.1,,R1,,,,\nn1,10.0.0.1,,R2,,,,\n",
            ["rows[3].location.rack: row 3, column rack: contradicts row 2"],
        ),
        (
            "n1,10.0.0.1,,,52:54:00:00:00:01,,,\nn2,10.0.0.2,,,52:54:00:00:00:01,,,\n",
            ["rows[3].ports[0].mac_address: row 3, column mac_address: the MAC address 52:54:00:00:00:01 is"],
        ),
        (
            "n1,10.0.0.1,,,52:54:00:00:00:01,,,\n,,,,52:54:00:00:00:01,,,\n",
            ["rows[3].ports[1].mac_address: row 3, column mac_address: the MAC address 52:54:00:00:00:01 is"],
        ),
        (
            "n1,10.0.0.1,,,,,,\nn2,10.0.0.1,,,,,,\n",
            ["rows[3].bmc.address: row 3, column bmc_address: this BMC address is in row 2 too"],
        ),
        (
            "n1,10.0.0.1,,,52:54:00:00:00:01,s,p,\nn2,10.0.0.2,,,52:54:00:00:00:02,s,p,\n",
            ["rows[3].ports[0].switch_port: row 3, column switch_port: this switch port is in row 2 too"],
        ),
        ("n1,10.0.0.1,,,,s,p,\n", ["rows[2].ports[0].mac_address: row 2, column mac_address: is required and missing"]),
    ],
)
def test_csv_rows_against_each_other(lines: str, expected: list[str]) -> None:
    """
    What two lines of a file disagree on, or both claim, is told with both rows.
    """
    _, faults = read(CSV + lines)

    assert len(faults) == len(expected)
    assert all(fault.startswith(start) for fault, start in zip(faults, expected, strict=True)), faults


def test_two_rows_of_one_name_in_yaml() -> None:
    """
    A name that stands twice in the list says which two rows.
    """
    _, faults = read("nodes:\n- {name: a, driver_info: {address: b}}\n- {name: a, driver_info: {address: c}}\n")

    assert faults == ["rows[2].display_name: row 2, column name: this name is in row 1 too"]


def test_all_faults_at_once_and_a_thousand_at_most() -> None:
    """
    Every row's faults are told together; beyond a thousand, how many more there are.
    """
    text = "nodes:\n" + "".join(f"- {{name: n{at}, node_type: x, ports: [{{mac_address: y}}]}}\n" for at in range(500))

    stated, faults = import_text.read(text.encode())
    _, found = importing.plan(stated, {}, lambda keys: {}, lambda server: Login())
    told = importing.refusal([*faults, *found], "").violations

    assert len(found) == 1500
    assert len(told) == importing.MAX_FAULTS + 1
    assert told[-1].description == "and 500 more"


@pytest.mark.parametrize(
    "content",
    [b"x" * (MAX_BYTES + 1), b"nodes:\n" + b"- {name: a}\n" * (MAX_SERVERS + 1)],
    ids=["50 MB", "10,001 servers"],
)
def test_too_much_is_refused_with_the_limit(content: bytes) -> None:
    """
    A file beyond the limits is refused, and told which limit.
    """
    with pytest.raises(TooLarge) as caught:
        import_text.read(content)

    assert caught.value.facts["limit"] in {str(MAX_BYTES), str(MAX_SERVERS)}


@pytest.mark.parametrize(
    "content",
    [
        "nodes:\n- {name: n, driver_info: {address: h, password: *hunter2}}\n",
        "nodes:\n- {name: n, driver_info: {address: h, password: !hunter2 x}}\n",
        "nodes:\n- {name: n, driver_info: {address: h, password: %hunter2}}\n",
        "nodes:\n- {name: n, driver_info: {hunter2: x, address: hunter2 hunter2, port: hunter2}}\n",
        "nodes:\n- {hunter2 hunter2}\n",
        '{"nodes": [{"password": "hunter2" "x"}]}',
        CSV + "n1,10.0.0.1,R1,hunter2\n",
        CSV + "n1,,10.0.0.1,R1,hunter2,hunter2,,hunter2\n",
        "n1,10.0.0.1,hunter2,R1\n",
        CSV + "hunter2,10.0.0.1,hunter2,,,,,\nn1,10.0.0.2,,,,,,\nhunter2,10.0.0.3,hunter2,,,,,\n",
        CSV + 'n1,10.0.0.1,"hunter2\n',
        CSV + "hunter2,10.0.0.1,,,,,,\nn1,10.0.0.2,,,,,,\nhunter2,10.0.0.3,,,,,,\n",
        CSV + "n1,hunter2,,,hunter2,,,\nn2,hunter2,,,hunter2,s,hunter2,\nn3,h,,,52:54:00:00:00:03,s,hunter2,\n",
    ],
)
def test_no_fault_shows_a_password(content: str) -> None:
    """
    However a password got into the wrong place, no fault repeats it.
    """
    _, faults = read(content)

    assert faults
    assert "hunter2" not in repr(faults)


@given(
    st.one_of(
        st.binary(max_size=300), st.text(max_size=300).map(str.encode), st.from_regex(rb"nodes:\n- \{[ -~]{0,80}\}\n")
    )
)
def test_no_bytes_break_the_reader(content: bytes) -> None:
    """
    Whatever the bytes, there is a plan or there are faults, in every form, and nothing else is raised.
    """
    for form in (None, *ImportForm):
        planned, faults = read(content, form)
        assert faults or all(plan.spec.display_name for plan in planned)
