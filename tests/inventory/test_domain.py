# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inventory.domain.checks import Checks
from services.inventory.domain.flavor import FlavorSpec
from services.inventory.domain.image import Image, ImageSpec, ImageType, Visibility, may_have
from services.inventory.domain.image import checked as checked_image
from services.inventory.domain.keys import Key, keys
from services.inventory.domain.placement import Candidate, Failure, Wish, failures, fits, refusal
from services.inventory.domain.pools import PoolKind, pools
from services.inventory.domain.server import Bmc, Login, PoolRow, Port, Properties, ServerSpec, checked
from services.kernel.calls import Caller, Role

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GOOD = Candidate(
    uuid="11111111-1111-4111-8111-111111111111",
    display_name="n1",
    resource_class="compute",
    manufacturer="Acme",
    cpu_arch="x86_64",
    cpus=32,
    memory_mb=65536,
    local_gb=480,
    disks=2,
    rack="R1",
    capabilities={"boot_mode": "uefi"},
    labels={"env": "prod"},
    available=True,
    ready=True,
)
FULL = Wish(
    FlavorSpec(
        resource_class="compute",
        manufacturer="ACME",
        cpu_arch="x86_64",
        min_cpus=32,
        min_memory_mb=65536,
        min_local_gb=480,
        min_disks=2,
        capabilities={"boot_mode": "uefi"},
        labels={"env": "prod"},
    ),
    ImageSpec(cpu_arch="x86_64", min_local_gb=480),
)


def test_a_server_that_has_everything_would_do() -> None:
    """
    Each constraint is met by exactly what it asks for; a manufacturer is compared without case.
    """
    assert failures(FULL, GOOD) == []
    assert failures(Wish(FlavorSpec()), Candidate("u", "n", available=True, ready=True)) == []


@pytest.mark.parametrize(
    ("lacking", "failure"),
    [
        ({"resource_class": "storage"}, Failure("resource_class", "compute", "storage")),
        ({"manufacturer": ""}, Failure("manufacturer", "ACME", "")),
        ({"cpus": 31}, Failure("min_cpus", "32", "31")),
        ({"cpus": 0}, Failure("min_cpus", "32", "")),
        ({"memory_mb": 65535}, Failure("min_memory_mb", "65536", "65535")),
        ({"disks": 1}, Failure("min_disks", "2", "1")),
        ({"capabilities": {}}, Failure("capabilities.boot_mode", "uefi", "")),
        ({"capabilities": {"boot_mode": "bios"}}, Failure("capabilities.boot_mode", "uefi", "bios")),
        ({"labels": {}}, Failure("labels.env", "prod", "")),
        ({"node_type": "esxi"}, Failure("node_type", "baremetal", "esxi")),
        ({"unmanaged": True}, Failure("unmanaged", "false", "true")),
        ({"deleting": True, "ready": False}, Failure("deleting", "false", "true")),
        ({"reserved_by": "projects/p/instances/i"}, Failure("reserved", "nobody", "projects/p/instances/i")),
        ({"ready": False, "reason": "CLEANING"}, Failure("available", "true", "CLEANING")),
    ],
)
def test_each_constraint_alone(lacking: dict[str, object], failure: Failure) -> None:
    """
    A server that lacks one thing fails that one constraint, with what is wanted and what was found.
    """
    assert failures(FULL, replace(GOOD, **lacking)) == [failure]  # type: ignore[arg-type]


@pytest.mark.parametrize("lacking", [{"cpu_arch": "aarch64"}, {"local_gb": 479}])
def test_an_image_has_constraints_too(lacking: dict[str, object]) -> None:
    """
    Architecture and disk are asked for by flavor and image, each under its own name.
    """
    found = [failure.constraint for failure in failures(FULL, replace(GOOD, **lacking))]  # type: ignore[arg-type]

    assert len(found) == 2
    assert found[1] == f"image.{found[0]}"


def test_a_refusal_counts_the_most_frequent_reasons_and_names_nobody() -> None:
    """
    Each server that would not do counts once, under its first reason; no instance and no server is named.
    """
    fleet = [
        replace(GOOD, reserved_by="projects/secret/instances/x", available=False),
        *[replace(GOOD, ready=False, available=False, reason="CLEANING")] * 3,
        replace(GOOD, resource_class="storage"),
        replace(GOOD, uuid="barred"),
        GOOD,
    ]

    error = refusal(FULL, 2, fleet, frozenset({"barred"}))

    assert "2 asked for, 1 of 7 servers would do now" in str(error)
    assert error.facts["reasons"] == "3 CLEANING, 1 RESERVED, 1 resource_class, 1 EXCLUDED"
    assert "secret" not in repr((str(error), error.facts, error.remedy))


def test_pools_count_every_server_once() -> None:
    """
    A pool's servers are available, reserved or counted under a reason; flavors' pools are there even if empty.
    """
    fleet = [
        GOOD,
        replace(GOOD, uuid="b", reserved_by="projects/p/instances/i", available=False),
        replace(
            GOOD, uuid="c", ready=False, available=False, reason="QUARANTINED", reserved_by="projects/p/instances/j"
        ),
        replace(GOOD, uuid="d", unmanaged=True, available=False, rack=""),
    ]

    found = {pool.name: pool for pool in pools(fleet, {"big": FlavorSpec(min_cpus=999), "all": FlavorSpec()}, None)}

    assert list(found) == [
        "pools/class.compute",
        "pools/capability.boot_mode=uefi",
        "pools/rack.R1",
        "pools/flavor.all",
        "pools/flavor.big",
    ]
    compute = found["pools/class.compute"]
    assert (compute.total, compute.available, compute.reserved) == (4, 1, 1)
    assert {each.reason: each.count for each in compute.unavailable} == {"QUARANTINED": 1, "UNMANAGED": 1}
    assert found["pools/rack.R1"].total == 3
    assert found["pools/flavor.big"].total == 0
    assert [pool.kind for pool in pools(fleet, {}, PoolKind.RACK)] == [PoolKind.RACK]


candidates = st.builds(
    Candidate,
    uuid=st.uuids().map(str),
    display_name=st.just("n"),
    node_type=st.sampled_from(["baremetal", "esxi"]),
    unmanaged=st.booleans(),
    resource_class=st.sampled_from(["", "a", "b"]),
    cpus=st.integers(0, 4),
    rack=st.sampled_from(["", "r"]),
    capabilities=st.dictionaries(st.sampled_from("xy"), st.sampled_from("01")),
    available=st.booleans(),
    ready=st.booleans(),
    reason=st.sampled_from(["", "CLEANING"]),
    reserved_by=st.sampled_from(["", "projects/p/instances/i"]),
    held=st.booleans(),
    deleting=st.booleans(),
)


@given(st.lists(candidates, max_size=12), st.integers(0, 4))
def test_pools_always_add_up(fleet: list[Candidate], cpus: int) -> None:
    """
    Whatever the fleet, total = available + reserved + unavailable, and a flavor's pool has what fits the flavor.
    """
    spec = FlavorSpec(min_cpus=cpus, capabilities={"x": "1"})

    for pool in pools(fleet, {"f": spec}, None):
        assert pool.total == pool.available + pool.reserved + sum(each.count for each in pool.unavailable)
        if pool.kind is PoolKind.FLAVOR:
            assert pool.total == sum(fits(Wish(spec), server) for server in fleet)


@pytest.mark.parametrize(
    ("given_", "canonical"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:DB8::0:1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("BMC-7.Example.org.", "bmc-7.example.org"),
        ("300.1.2.3", None),
        ("10.0.0", None),
        ("0.0.0.0", None),
        ("ff02::1", None),
        ("a..b", None),
        ("-a", None),
        ("a b", None),
        ("https://10.0.0.1", None),
        ("", None),
    ],
)
def test_hosts(given_: str, canonical: str | None) -> None:
    """
    A host is an address or a name, in one spelling each.
    """
    checks = Checks()
    found = checks.host("bmc.address", given_)

    assert (None if checks.violations else found) == canonical


@pytest.mark.parametrize(
    ("given_", "good"),
    [
        ("52:54:00:00:00:01", True),
        ("52-54-00-00-00-01", True),
        ("525400000001", True),
        ("5254.0000.0001", False),
        ("52:54:00:00:00", False),
        ("52:54-00:00:00:01", False),
        ("01:00:5e:00:00:01", False),
        ("ff:ff:ff:ff:ff:ff", False),
        ("00:00:00:00:00:00", False),
        ("٥2:54:00:00:00:01", False),
    ],
)
def test_macs(given_: str, good: bool) -> None:
    """
    A MAC address is that of one card, however it is spelt.
    """
    checks = Checks()
    found = checks.mac("mac", given_)

    assert (not checks.violations) is good
    assert not good or found == "52:54:00:00:00:01"


@pytest.mark.parametrize(
    ("uri", "good"),
    [
        ("https://images.example.org/a.qcow2", True),
        ("http://[2001:db8::1]:8080/a", True),
        ("file:///srv/images/a.raw", True),
        ("glance:4a7c", True),
        ("https://user:password@images/a", False),
        ("https://user@images/a", False),
        ("ftp://images/a", False),
        ("https:///a", False),
        ("https://images:99999/a", False),
        ("https://[::1/a", False),
        ("images/a", False),
        ("https://images/a\n", False),
    ],
)
def test_uris(uri: str, good: bool) -> None:
    """
    An image is fetched from a URI that names its place and holds no login.
    """
    checks = Checks()
    checks.uri("source_uri", uri, required=True)

    assert (not checks.violations) is good


@pytest.mark.parametrize("text", ["a\x00b", "a\nb", "\ud800", "a\x7f", "a\u202eb", " a", "a\u2028"])
def test_texts_can_be_shown(text: str) -> None:
    """
    What cannot be shown on one line is no name, and what cannot be encoded is stored nowhere.
    """
    checks = Checks()
    checks.text("display_name", text, 255)

    assert checks.violations


@given(st.text(max_size=50))
def test_no_fault_repeats_what_it_refuses(text: str) -> None:
    """
    Whatever stands in a field, its refusal does not say it: a shifted column puts passwords anywhere.
    """
    secret = f"pw7{text}7pw"
    checks = Checks()
    checked(
        ServerSpec(
            display_name=secret + "\n",
            bmc=Bmc(secret, -1, secret),
            ports=(Port(secret, secret, secret, "", secret, port_group=secret),),
            resource_class=secret + "\n",
            labels={secret: "v", "k": secret + "\n"},
            properties=Properties(cpu_arch=secret + "\n", capabilities={secret: ""}),
        ),
        checks,
    )

    assert checks.violations
    assert not [each for each in checks.violations if secret in each.field + each.description]


def test_a_login_shows_nothing_of_itself() -> None:
    """
    A login printed by mistake shows neither part.
    """
    assert "x" not in repr(Login("xx", "xxx")).replace("...", "")


def test_equal_things_have_equal_keys() -> None:
    """
    A port left to the driver and the driver's port are the same BMC; IPMI and Redfish on one host are two.
    """

    def bmc(port: int, driver: str) -> set[Key]:
        return keys(ServerSpec(display_name="n", bmc=Bmc("10.0.0.1", port, driver)))

    assert bmc(0, "ipmi") == bmc(623, "ipmi")
    assert bmc(0, "ipmi") != bmc(0, "redfish")


@pytest.mark.parametrize(
    ("row", "available", "reason"),
    [
        (PoolRow(NOW), False, "ENROLLED"),
        (PoolRow(NOW, ready=True, reason=""), True, ""),
        (PoolRow(NOW, ready=True, reason="", reserved_by="x"), False, "RESERVED"),
        (PoolRow(NOW, reason="IN_USE", reserved_by="x", held=True), False, "IN_USE"),
    ],
)
def test_who_may_take_a_server(row: PoolRow, available: bool, reason: str) -> None:
    """
    A server may be taken if lifecycle says so and nobody has reserved it; else the reason is lifecycle's, or RESERVED.
    """
    assert (row.available, row.unavailable_reason) == (available, reason)


def test_images_and_their_users() -> None:
    """
    Public: all. Private: its project. Shared: its project and those named.
    """

    def image(**fields: object) -> Image:
        spec = ImageSpec(source_uri="http://h/i", checksum="sha256:" + "0" * 64, **fields)  # type: ignore[arg-type]
        return Image("i", checked_image(spec, Checks()), NOW, NOW)

    private, site = image(project="a"), image()
    shared = image(project="a", visibility=Visibility.SHARED, shared_projects=("b",))
    assert (private.usable_by("a"), private.usable_by("b"), private.usable_by("")) == (True, False, False)
    assert (shared.usable_by("b"), shared.usable_by("c")) == (True, False)
    assert site.usable_by("anybody")
    hidden = image(visibility=Visibility.PRIVATE)
    assert not hidden.usable_by("")
    assert not hidden.visible_to(Caller("m", frozenset(), {"a": frozenset({Role.MEMBER})}))
    assert hidden.visible_to(Caller("admin", frozenset({Role.ADMIN})))


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"checksum": "md5:1234"}, "checksum"),
        ({"checksum": ""}, "checksum"),
        ({"source_uri": ""}, "source_uri"),
        ({"type": ImageType.PARTITION}, "kernel_uri"),
        ({"kernel_uri": "http://h/k"}, "type"),
        ({"project": "Not An Id"}, "project"),
        ({"visibility": Visibility.PUBLIC, "shared_projects": ("b",)}, "shared_projects"),
        ({"size_bytes": -1}, "size_bytes"),
    ],
)
def test_malformed_images(spec: dict[str, object], field: str) -> None:
    """
    Each thing an image lacks is told by its field.
    """
    checks = Checks()
    base = ImageSpec(source_uri="http://h/i", checksum="sha256:" + "0" * 64)
    checked_image(replace(base, **spec), checks)  # type: ignore[arg-type]

    assert field in [each.field for each in checks.violations]


def test_who_may_have_an_image() -> None:
    """
    Members make their project's images; only administrators make the site's, and make one public.
    """
    member = Caller("m", frozenset(), {"a": frozenset({Role.MEMBER}), "b": frozenset({Role.READER})})

    assert may_have(ImageSpec(project="a", visibility=Visibility.PRIVATE), member) is None
    for spec in (ImageSpec(), ImageSpec(project="b"), ImageSpec(project="c")):
        assert may_have(spec, member) is not None
    assert may_have(ImageSpec(project="a", visibility=Visibility.PUBLIC), member) is not None
    assert may_have(ImageSpec(visibility=Visibility.PUBLIC), Caller("x", frozenset({Role.ADMIN}))) is None
