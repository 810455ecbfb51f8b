# SPDX-License-Identifier: Apache-2.0
"""What is said of made-up facts: each check passes a sound site and finds its own fault, and no other's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from services.cli.doctor.facts import (
    Agent,
    Allocation,
    Compute,
    Conductor,
    Driver,
    Endpoint,
    Facts,
    Flavor,
    Glance,
    Ironic,
    Keystone,
    Network,
    Neutron,
    Node,
    NodePort,
    Nova,
    Placement,
    Port,
    Private,
    Provider,
    Quota,
    Rabbitmq,
    Seen,
    Service,
    Template,
)  # fmt: skip
from services.cli.doctor.registry import CHECKS
from services.cli.doctor.verdicts import Finding, Verdict, findings
from tests.cli.doctor import contrail_faults

HERE = Endpoint("http://127.0.0.1:1", local=True, skew=0.2, least="1.1", most="9.9")
FAR = Endpoint("https://cloud.example.org", tls=True, days=200, skew=-0.3, least="1.1", most="9.9")
NODE = Node("n1", "r1", owner="elsewhere", automated_clean=True)
FABRIC = Driver(
    "redfish",
    {"rescue": ("agent", "no-rescue"), "inspect": ("agent",), "network": ("neutron", "noop")},
    {"deploy": "direct", "network": "neutron", "power": "redfish", "boot": "ipxe", "management": "redfish"},
)
PRIVATE = {
    step: Network(f"id-{step}", step, owner="service", owner_name="service", segment=f"vlan/p/{number}")
    for number, step in enumerate(("cleaning", "provisioning", "rescuing"))
}
NAMES = ("inventory", "lifecycle", "ipam", "network", "telemetry")


def ours(name: str, **other: Any) -> Service:
    """One of our services, sound but for what is *other*."""
    sound = Service(
        name, HERE, "serving", Seen(()), Seen(True), Seen(3.0),
        Seen({"inventory": True}) if name == "telemetry" else Seen(),
    )  # fmt: skip
    return replace(sound, **other)


SOUND = Facts(
    services=tuple(ours(name) for name in NAMES),
    keystone=Keystone(
        FAR, "site", "bms", "service", "service", roles=("service", "admin"),
        catalogue=dict.fromkeys(("baremetal", "network", "placement", "compute", "image"), "https://x"),
        settings={"BMS_LIFECYCLE_IRONIC_CLOUD": "site", "BMS_LIFECYCLE_NOVA_CLOUD": "site"},
    ),
    ironic=Ironic(
        FAR, Seen((NODE,)), Seen((NodePort("p1", "n1"),)), Seen((Conductor("c1", True, ("redfish",), -5.0),)),
        Seen((FABRIC,)), Seen((Allocation("a1", "active"),)[:0]),
        Seen((Template("CUSTOM_BMS_HELD", ("boot_instance",)), Template("CUSTOM_RAID"))),
    ),
    neutron=Neutron(
        FAR, Seen(frozenset({"binding", "port-security", "provider", "trunk"})), Seen((Agent("Baremetal Node", "h"),)),
        Seen(tuple(Private(step, step, "option", (network,)) for step, network in PRIVATE.items())),
        Seen(frozenset()), Seen(()), Seen((Quota("port", 500, 3), Quota("network", -1, 3))), frozenset({"service"}),
    ),
    contrail=contrail_faults.SOUND,
    placement=Placement(FAR, Seen(frozenset({"n1"})), Seen((Provider("n1", {"CUSTOM_BM": 1}),))),
    nova=Nova(FAR, Seen((Flavor("bm", {"CUSTOM_BM": "1", "VCPU": "0", "MEMORY_MB": "0", "DISK_GB": "0"}),)),
              Seen((Compute("nova-compute", "h", ahead=-1.0),))),
    glance=Glance(FAR, Seen(("web-download",)), Seen(("fast",)), "fast", Seen("sha512"), Seen(())),
    rabbitmq=Rabbitmq(replace(FAR, url="mq:5671"), Seen(True), Seen(True), Seen("baremetal.node.update.start")),
)  # fmt: skip


def judged(facts: Facts) -> list[Finding]:
    """All findings."""
    return list(findings(CHECKS, facts))


def with_(section: str, **other: Any) -> Facts:
    """A sound site, but for *other* in one section."""
    return replace(SOUND, **{section: replace(getattr(SOUND, section), **other)})


def node(**other: Any) -> Facts:
    """A sound site whose one node is not."""
    return with_("ironic", nodes=Seen((replace(NODE, **other),)))


def private(step: str, **other: Any) -> Facts:
    """A sound site, but for one private network."""
    found = {**PRIVATE, step: replace(PRIVATE[step], **other)}
    return with_("neutron", private=Seen(tuple(Private(each, each, "option", (net,)) for each, net in found.items())))


def port(**other: Any) -> Facts:
    """A sound site with one port of bare metal."""
    return with_("neutron", ports=Seen((Port("p9", **{"vnic": "baremetal", "linked": True, **other}),)))


def one(**other: Any) -> Facts:
    """A sound site, but for inventory and telemetry."""
    return replace(SOUND, services=(ours("inventory", **other), ours("telemetry", **other)))


def test_a_sound_site_passes() -> None:
    """
    Everything is PASS, every check says something, and nothing is to be done.
    """
    found = judged(SOUND)

    assert {each.verdict for each in found} == {Verdict.PASS}
    assert {each.code for each in found} == {each.code for each in CHECKS}
    assert not [each for each in found if each.remedy or each.lines or each.commands]


F, W, U = Verdict.FAIL, Verdict.WARN, Verdict.UNKNOWN
AWAY = replace(HERE, why="nobody listens there", kind="silent")
CLEAR = Endpoint("http://cloud.example.org", most="9.9")
FAULTS: list[tuple[str, Verdict, str, Facts]] = [
    ("SERVICES_ANSWER", F, "nobody", one(endpoint=AWAY, health="")),
    ("SERVICES_ANSWER", F, "not serving", one(health="not serving")),
    ("SERVICES_TLS", F, "in clear", one(endpoint=replace(CLEAR))),
    ("SERVICES_TLS", F, "ended 3 days ago", one(endpoint=replace(FAR, days=-3.0))),
    ("SERVICES_TLS", W, "in 5 days", one(endpoint=replace(FAR, days=5.0))),
    ("SERVICES_TLS", U, "could not see", one(endpoint=replace(FAR, days=None))),
    ("SERVICES_CONTRACT", F, "lacks X.Y", one(lacks=Seen(("X.Y",)))),
    ("SERVICES_CONTRACT", U, "reflection", one(lacks=Seen(None, "reflection: no"))),
    ("SERVICES_LOGIN", F, "refused", one(login=Seen(None, "refused"))),
    ("SERVICES_CLOCK", F, "40.0 s ahead", one(newest=Seen(-40.0))),
    ("SERVICES_CLOCK", W, "6.0 s ahead", one(newest=Seen(-6.0))),
    ("SERVICES_CLOCK", U, "nothing happened", one(newest=Seen(9000.0))),
    ("SERVICES_FOLLOWED", F, "ipam", one(reads=Seen({"ipam": False, "network": True}))),
    ("SERVICES_FOLLOWED", U, "may not", one(reads=Seen(None, "our login may not"))),
    ("KEYSTONE_ANSWERS", F, "nobody", with_("keystone", endpoint=AWAY)),
    ("KEYSTONE_LOGIN", F, "refuses", with_("keystone", endpoint=replace(FAR, why="Keystone refuses", kind="refused"))),
    ("KEYSTONE_ROLES", F, "neither", with_("keystone", roles=("member",))),
    ("KEYSTONE_ROLES", W, "not admin", with_("keystone", roles=("service",))),
    ("KEYSTONE_ROLES", W, "not service", with_("keystone", roles=("admin",))),
    ("KEYSTONE_CATALOGUE", F, "no Ironic", with_("keystone", catalogue={})),
    ("KEYSTONE_CATALOGUE", W, "no Glance", with_("keystone", catalogue={"baremetal": "x"})),
    ("KEYSTONE_CATALOGUE", F, "asks for Glance",
     with_("keystone", catalogue={}, wanted={"image": "BMS_INVENTORY_GLANCE_CLOUD"})),
    ("KEYSTONE_SETTINGS", W, "'other'", with_("keystone", settings={"BMS_KEYSTONE_CLOUD": "other"})),
    ("KEYSTONE_SETTINGS", U, "not in this environment", with_("keystone", settings={})),
    ("IRONIC_ANSWERS", F, "nobody", with_("ironic", endpoint=AWAY)),
    ("IRONIC_ANSWERS", U, "no token", with_("ironic", endpoint=replace(AWAY, why="no token", kind="unasked"))),
    ("IRONIC_TLS", F, "in clear", with_("ironic", endpoint=CLEAR)),
    ("IRONIC_TLS", F, "not verified", with_("ironic", endpoint=replace(FAR, verified=False))),
    ("IRONIC_TLS", F, "self-signed", with_("ironic", endpoint=replace(FAR, why="self-signed", kind="distrusted"))),
    ("IRONIC_TLS", W, "in 2 days", with_("ironic", endpoint=replace(FAR, days=2.0))),
    ("IRONIC_CLOCK", F, "100.0 s behind", with_("ironic", endpoint=replace(FAR, skew=-100.0))),
    ("IRONIC_CLOCK", W, "5.0 s ahead", with_("ironic", endpoint=replace(FAR, skew=5.0))),
    ("IRONIC_CLOCK", U, "no date", with_("ironic", endpoint=replace(FAR, skew=None))),
    ("IRONIC_VERSION", F, "1.69 is needed", with_("ironic", endpoint=replace(FAR, most="1.68"))),
    ("IRONIC_VERSION", W, "not for all", with_("ironic", endpoint=replace(FAR, most="1.80"))),
    ("IRONIC_VERSION", F, "no more 1.81", with_("ironic", endpoint=replace(FAR, least="1.82", most="1.200"))),
    ("IRONIC_VERSION", U, "versions", with_("ironic", endpoint=replace(FAR, most=""))),
    ("IRONIC_NODES", F, "(403)", with_("ironic", nodes=Seen(None, "our login may not (403)"))),
    ("IRONIC_NODES", F, "Placement has 1", with_("ironic", nodes=Seen(()))),
    ("IRONIC_NODES", W, "either there is none", replace(with_("ironic", nodes=Seen(())), placement=None)),
    ("IRONIC_NODES", U, "its own project", node(owner="service")),
    ("IRONIC_CONDUCTORS", F, "none is alive", with_("ironic", conductors=Seen((Conductor("c1", False),)))),
    ("IRONIC_CONDUCTORS", W, "c2", with_("ironic", conductors=Seen((Conductor("c1"), Conductor("c2", False))))),
    ("IRONIC_CONDUCTORS", U, "may not", with_("ironic", conductors=Seen(None, "our login may not (403)"))),
    ("IRONIC_CONDUCTOR_CLOCK", F, "90.0 s ahead", with_("ironic", conductors=Seen((Conductor("c1", ahead=90.0),)))),
    ("IRONIC_DRIVERS", F, "only snmp", with_("ironic", drivers=Seen((Driver("snmp"),)))),
    ("IRONIC_DRIVERS", F, "there is none", with_("ironic", drivers=Seen(()))),
    ("IRONIC_DRIVERS", U, "system", with_("ironic", drivers=Seen(None, "system"), conductors=Seen(None, "no"))),
    ("IRONIC_INTERFACES", U, "system", with_("ironic", drivers=Seen(None, "only a login for the system may"))),
    ("IRONIC_INTERFACES", F, "fake", with_("ironic", drivers=Seen((replace(FABRIC, default={"deploy": "fake"}),)))),
    ("IRONIC_INTERFACES", W, "not neutron",
     with_("ironic", drivers=Seen((replace(FABRIC, enabled={**FABRIC.enabled, "network": ("noop",)}),)))),
    ("IRONIC_INTERFACES", W, "cannot rescue",
     with_("ironic", drivers=Seen((replace(FABRIC, enabled={**FABRIC.enabled, "rescue": ("no-rescue",)}),)))),
    ("IRONIC_NODE_NETWORK", F, "cannot isolate", node(network="flat")),
    ("IRONIC_NODE_NETWORK", W, "moves no ports", node(network="noop")),
    ("IRONIC_NODE_NETWORK", W, "do not know", node(network="other")),
    ("IRONIC_NODE_CLEANING", W, "off on r1", node(automated_clean=False)),
    ("IRONIC_NODE_CLEANING", U, "no API tells", node(automated_clean=None)),
    ("IRONIC_NODE_PORTS", F, "cannot be bound", with_("ironic", ports=Seen((NodePort("p1", "n1", False),)))),
    (
        "IRONIC_DEPLOY_TEMPLATE", F, "none of the 1 that our login is shown",
        with_("ironic", templates=Seen((Template("CUSTOM_RAID", ("write_image",)),))),
    ),
    ("IRONIC_DEPLOY_TEMPLATE", U, "HTTP 403", with_("ironic", templates=Seen(None, "HTTP 403"))),
    ("IRONIC_NODE_PORTS", W, "has no port", with_("ironic", ports=Seen(()))),
    ("IRONIC_NODE_CLASS", W, "r1 has none", node(resource_class="")),
    ("IRONIC_NODE_STATE", W, "r1: clean failed", node(state="clean failed")),
    ("IRONIC_NODE_STATE", W, "r1: power failure", node(fault="power failure", maintenance=True, power="")),
    ("IRONIC_NODE_STATE", W, "not known", node(power="")),
    ("IRONIC_ALLOCATIONS", W, "failed: a1", with_("ironic", allocations=Seen((Allocation("a1", "error"),)))),
    ("IRONIC_ALLOCATIONS", W, "of no node: a1", with_("ironic", allocations=Seen((Allocation("a1"),)))),
    ("NEUTRON_EXTENSIONS", F, "no binding", with_("neutron", extensions=Seen(frozenset({"trunk"})))),
    ("NEUTRON_EXTENSIONS", W, "no trunk",
     with_("neutron", extensions=Seen(frozenset({"binding", "port-security", "provider"})))),
    ("NEUTRON_BINDING", U, "no agent", with_("neutron", agents=Seen(()))),
    ("NEUTRON_BINDING", W, "no sign of life", with_("neutron", agents=Seen((Agent("Baremetal Node", "h", False),)))),
    ("NEUTRON_BINDING", F, "binds no p9", port(host="n1", vif="binding_failed")),
    ("NEUTRON_PRIVATE_NETWORKS", F, "no network 'x'",
     with_("neutron", private=Seen((Private("cleaning", "x", "option"),)))),
    ("NEUTRON_PRIVATE_NETWORKS", U, "common name", with_("neutron", private=Seen((Private("cleaning", "", "guess"),)))),
    ("NEUTRON_PRIVATE_NETWORKS", F, "2 networks",
     with_("neutron", private=Seen((Private("cleaning", "x", "option", (PRIVATE["cleaning"], PRIVATE["rescuing"])),)))),
    ("NEUTRON_PRIVATE_NETWORKS", F, "is down", private("cleaning", up=False)),
    ("NEUTRON_PRIVATE_NETWORKS", F, "no subnet", private("rescuing", subnets=0)),
    ("NEUTRON_PRIVATE", F, "shared", private("cleaning", shared=True)),
    ("NEUTRON_PRIVATE", F, "external", private("provisioning", external=True)),
    ("NEUTRON_PRIVATE", F, "not the administrator's", private("cleaning", owner="t1", owner_name="tenant-a")),
    ("NEUTRON_PRIVATE", F, "rbac", with_("neutron", shares=Seen(frozenset({"id-cleaning"})))),
    ("NEUTRON_PRIVATE", F, "ports of others", port(network="id-cleaning", device_owner="compute:nova", host="n1")),
    ("NEUTRON_PRIVATE", F, "network:router",
     port(network="id-rescuing", device_owner="network:router_interface", vnic="normal")),
    ("NEUTRON_PRIVATE", U, "policy", with_("neutron", shares=Seen(None, "our login may not (403)"))),
    ("NEUTRON_DISTINCT", F, "one network", private("cleaning", id="id-provisioning")),
    ("NEUTRON_DISTINCT", F, "one network", private("cleaning", segment="vlan/p/1")),
    ("NEUTRON_QUOTA", F, "all 5 are used", with_("neutron", quotas=Seen((Quota("port", 5, 5),)))),
    ("NEUTRON_QUOTA", W, "1 of 5", replace(
        with_("neutron", quotas=Seen((Quota("port", 5, 4),))),
        ironic=replace(SOUND.ironic or Ironic(FAR), ports=Seen((NodePort("a", "n1"), NodePort("b", "n1")))))),
    ("NEUTRON_QUOTA", U, "no project", with_("neutron", quotas=Seen(None, "the login is for no project"))),
    ("NEUTRON_ORPHANS", W, "of no known node: p9", port(device_owner="baremetal:none", device="gone", vif="other")),
    ("NEUTRON_ORPHANS", W, "left over: p9",
     port(device_owner="baremetal:none", host="n1", network="id-cleaning", vif="other")),
    ("PLACEMENT_NODES", F, "does not know r1", with_("placement", known=Seen(frozenset()))),
    ("PLACEMENT_NODES", U, "may not", with_("placement", known=Seen(None, "our login may not (403)"))),
    ("PLACEMENT_CLASSES", F, "r1 offers VCPU", with_("placement", looked=Seen((Provider("n1", {"VCPU": 1}),)))),
    ("PLACEMENT_CLASSES", W, "held for no server",
     with_("placement", looked=Seen((Provider("n1", {"CUSTOM_BM": 1}, consumers=("x",)),)))),
    ("PLACEMENT_CLASSES", W, "still reserved",
     with_("placement", looked=Seen((Provider("n1", {"CUSTOM_BM": 0}, reserved=True),)))),
    ("NOVA_COMPUTE", F, "none is up", with_("nova", services=Seen((Compute("nova-compute", "h", up=False),)))),
    ("NOVA_COMPUTE", W, "nova-conductor on h",
     with_("nova", services=Seen((Compute("nova-compute", "h"), Compute("nova-conductor", "h", up=False))))),
    ("NOVA_COMPUTE_CLOCK", W, "ahead", with_("nova", services=Seen((Compute("nova-compute", "h", ahead=9.0),)))),
    ("NOVA_FLAVORS", W, "no flavor", with_("nova", flavors=Seen((Flavor("m1"),)))),
    ("NOVA_FLAVORS", W, "no node is of CUSTOM_X",
     with_("nova", flavors=Seen((Flavor("x", {"CUSTOM_X": "1", "VCPU": "0", "MEMORY_MB": "0", "DISK_GB": "0"}),)))),
    ("NOVA_FLAVORS", W, "VCPU", with_("nova", flavors=Seen((Flavor("x", {"CUSTOM_BM": "1"}),)))),
    ("GLANCE_IMPORT", W, "glance-direct", with_("glance", methods=Seen(("glance-direct",)))),
    ("GLANCE_STORES", W, "default", with_("glance", default="")),
    ("GLANCE_HASH", F, "md5", with_("glance", algorithm=Seen("md5"))),
    ("GLANCE_HASH", U, "no image yet", with_("glance", algorithm=Seen(""))),
    ("GLANCE_QUOTA", F, "image_count 5 of 5", with_("glance", usage=Seen((Quota("image_count", 5, 5),)))),
    ("RABBITMQ_ANSWERS", F, "nobody", with_("rabbitmq", endpoint=AWAY)),
    ("RABBITMQ_TLS", F, "in clear", with_("rabbitmq", endpoint=CLEAR)),
    ("RABBITMQ_TLS", W, "in 1 days", with_("rabbitmq", endpoint=replace(FAR, days=1.0))),
    ("RABBITMQ_LOGIN", F, "refuses", with_("rabbitmq", login=Seen(None, "it refuses the login"))),
    ("RABBITMQ_EXCHANGE", F, "not there", with_("rabbitmq", exchange=Seen(False))),
    ("RABBITMQ_MESSAGE", F, "nobody told", with_("rabbitmq", heard=Seen(""))),
    ("RABBITMQ_MESSAGE", U, "--probe", with_("rabbitmq", heard=Seen(None, "not tried without --probe"))),
]  # fmt: skip


FAULTS += [(code, verdict, word, replace(SOUND, contrail=seen)) for code, verdict, word, seen in contrail_faults.FAULTS]
IDS = [f"{number} {fault[0]} {fault[2]}" for number, fault in enumerate(FAULTS)]


@pytest.mark.parametrize(("code", "verdict", "word", "facts"), FAULTS, ids=IDS)
def test_each_fault_is_found(code: str, verdict: Verdict, word: str, facts: Facts) -> None:
    """
    A fault is found by the check whose it is, with its verdict, what was seen, and what to do.
    """
    found = [each for each in judged(facts) if each.code == code and each.verdict is verdict]

    assert [each for each in found if word in each.text], [each.text for each in judged(facts) if each.code == code]
    assert all(each.remedy for each in found)


def test_every_check_has_a_fault_that_it_finds() -> None:
    """
    No check is without a site that it does not pass; of an API's own checks one section stands for all.
    """
    shared = ("_ANSWERS", "_TLS", "_CLOCK", "_VERSION")
    own = {each.code for each in CHECKS if not each.code.endswith(shared)}

    assert own <= {code for code, *_ in FAULTS}


@pytest.mark.parametrize(
    "facts",
    [Facts(), replace(SOUND, ironic=None), replace(SOUND, keystone=None), replace(SOUND, neutron=None)],
    ids=["nothing", "no ironic", "no keystone", "no neutron"],
)
def test_what_was_not_looked_at_is_not_judged(facts: Facts) -> None:
    """
    A section that was left out says nothing, and no other fails for its sake.
    """
    sections = {name for name in Facts.__dataclass_fields__ if getattr(facts, name) is not None}

    assert {each.section for each in judged(facts)} == sections
    assert not [each for each in judged(facts) if each.verdict > Verdict.UNKNOWN]


def test_a_silent_endpoint_costs_only_its_own_section() -> None:
    """
    Where Neutron is away its section has one FAIL and no guesses; the others are judged as ever.
    """
    found = judged(replace(SOUND, neutron=Neutron(replace(FAR, why="no answer within 10 s", kind="slow"))))

    assert [(each.code, each.verdict) for each in found if each.verdict is not Verdict.PASS] == [("NEUTRON_ANSWERS", F)]


def test_what_moves_is_no_orphan() -> None:
    """
    A cleaning port of a node that is being cleaned belongs there.
    """
    cleaning = port(device_owner="baremetal:none", host="n1", network="id-cleaning", vif="other")
    facts = replace(cleaning, ironic=node(state="clean wait").ironic)

    assert {each.verdict for each in judged(facts) if each.code == "NEUTRON_ORPHANS"} == {Verdict.PASS}


def test_an_early_bind_is_no_fault() -> None:
    """
    A port that Ironic bound before it knew the switch port failed to bind on purpose.
    """
    facts = port(host="n1", vif="binding_failed", linked=False)

    assert not [each for each in judged(facts) if each.code == "NEUTRON_BINDING" and each.verdict is F]


@pytest.mark.parametrize("code", sorted({each.code for each in CHECKS}))
def test_every_check_says_what_repairs_it(code: str) -> None:
    """
    A check has a sentence, a remedy, and a line of configuration or a command, unless upgrading is all there is.
    """
    (each,) = [each for each in CHECKS if each.code == code]

    assert each.asks.endswith(".")
    assert each.remedy.endswith(".")
    assert each.lines or each.commands or "Upgrade" in each.remedy or "bms doctor" in each.remedy
