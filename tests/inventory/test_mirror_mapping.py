# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import string
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inventory.backends.glance_image import GlanceImage, from_glance, to_glance
from services.inventory.backends.nova_flavor import NovaFlavor, class_in_placement, from_nova, to_nova
from services.inventory.domain.flavor import FlavorSpec
from services.inventory.domain.image import ImageSpec, ImageType, Visibility
from services.inventory.domain.mirror import MIRRORED, Unfit, id_for
from services.kernel.names import new_id

_WORD = st.text(string.ascii_letters + string.digits, min_size=1, max_size=12)
_KEY = st.from_regex(r"[a-z][a-z0-9_.-]{0,10}[a-z0-9]", fullmatch=True)
_TRAIT = st.from_regex(r"CUSTOM_[A-Z0-9_]{0,8}[A-Z0-9]", fullmatch=True)
_SPECS = st.builds(
    FlavorSpec,
    description=st.text(string.printable.replace("\x0b", "").replace("\x0c", "").replace("\r", ""), max_size=40),
    resource_class=st.from_regex(r"[a-zA-Z][a-zA-Z0-9_.-]{0,20}[a-z0-9]", fullmatch=True),
    manufacturer=_WORD | st.just(""),
    cpu_arch=_WORD | st.just(""),
    min_cpus=st.integers(0, 1_000_000),
    min_memory_mb=st.integers(0, 2**31 - 1),
    min_local_gb=st.integers(0, 2**31 - 1),
    min_disks=st.integers(0, 1000),
    capabilities=st.dictionaries(_KEY, _WORD, max_size=4).flatmap(
        lambda plain: st.sets(_TRAIT, max_size=3).map(lambda traits: plain | dict.fromkeys(sorted(traits), "true"))
    ),
    labels=st.dictionaries(_KEY, _WORD, max_size=4),
)
ID = "11111111-2222-3333-4444-555555555555"
DIGEST = "ab" * 64
GOOD = GlanceImage(
    "debian", ref=ID, status="active", hash_algo="sha512", hash_value=DIGEST, container_format="bare", disk_format="raw"
)


@given(_SPECS)
def test_a_flavor_comes_back_from_nova_as_it_went(spec: FlavorSpec) -> None:
    """
    Whatever can be said in Nova is understood from Nova, and asks it for one server of the class and nothing else.
    """
    there = to_nova("bm", spec)

    read = from_nova(replace(there, ref=ID), ())
    assert read is not None
    back, standing = read
    assert standing == MIRRORED
    assert back == replace(
        spec, capabilities=dict(sorted(spec.capabilities.items())), labels=dict(sorted(spec.labels.items()))
    )
    asked = {key: value for key, value in there.extra.items() if key.startswith("resources:")}
    assert asked == {
        f"resources:{class_in_placement(spec.resource_class)}": "1",
        "resources:VCPU": "0", "resources:MEMORY_MB": "0", "resources:DISK_GB": "0",
    }  # fmt: skip
    assert there.vcpus >= 1
    assert there.ram >= 1


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (FlavorSpec(), "NO_RESOURCE_CLASS"),
        (FlavorSpec(resource_class="x", capabilities={"a/b": "c"}), "KEY"),
        (FlavorSpec(resource_class="x", capabilities={"CUSTOM_GPU": "two"}), "TRAIT_VALUE"),
        (FlavorSpec(resource_class="x", capabilities={"cores": ">= 4"}), "VALUE"),
        (FlavorSpec(resource_class="x", min_memory_mb=2**31), "TOO_LARGE"),
    ],
)
def test_what_nova_has_no_words_for_is_refused(spec: FlavorSpec, reason: str) -> None:
    """
    Nothing is left out on the way: a flavor that means more than Nova can say is not made there.
    """
    with pytest.raises(Unfit) as refused:
        to_nova("bm", spec)
    assert refused.value.standing.reason == reason


def test_resource_classes_are_called_as_ironic_calls_them() -> None:
    """
    Upper case, whatever is neither letter nor digit an underscore, CUSTOM_ before.
    """
    assert class_in_placement("baremetal-x.1 gpu") == "CUSTOM_BAREMETAL_X_1_GPU"


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"resources:VCPU": "0"},
        {"resources:CUSTOM_A": "2"},
        {"resources:CUSTOM_A": "1", "resources:CUSTOM_B": "1"},
        {"resources1:CUSTOM_A": "1"},
    ],
)
def test_flavors_of_virtual_machines_are_none_of_ours(extra: dict[str, str]) -> None:
    """
    Only who asks for exactly one custom resource asks for a server.
    """
    assert from_nova(NovaFlavor("m1", 1, 512, 1, extra=extra), ()) is None


def test_private_flavors_are_none_of_ours() -> None:
    """
    Our flavors are everybody's: one that is some projects' alone would be shown to all.
    """
    assert from_nova(NovaFlavor("bm", 1, 1, 1, public=False, extra={"resources:CUSTOM_A": "1"}), ()) is None


@pytest.mark.parametrize(
    ("extra", "classes", "resource_class", "reason"),
    [
        ({}, ["Gold-X", "other"], "Gold-X", ""),
        ({}, [], "gold_x", ""),
        ({}, ["Gold-X", "gold.x"], "Gold-X", "CLASS_AMBIGUOUS"),
        ({"trait:CUSTOM_T": "forbidden"}, [], "gold_x", "TRAIT_FORBIDDEN"),
        ({"capabilities:cpus": ">= 4"}, [], "gold_x", "COMPARISON"),
        ({"bms:min_cpus": "many"}, [], "gold_x", "MALFORMED"),
    ],
)
def test_what_we_have_no_words_for_is_not_usable(
    extra: dict[str, str], classes: list[str], resource_class: str, reason: str
) -> None:
    """
    A flavor of theirs that means more than we can hold is shown, and why it cannot be used.
    """
    read = from_nova(NovaFlavor("bm", 64, 512, 1, extra={"resources:CUSTOM_GOLD_X": "1", **extra}), classes)

    assert read is not None
    assert (read[0].resource_class, read[1].reason) == (resource_class, reason)
    assert (read[0].min_memory_mb, read[0].min_local_gb) == (0, 0)


@given(
    st.builds(
        ImageSpec,
        project=st.sampled_from(["", "0123456789abcdef0123456789abcdef"]),
        description=_WORD,
        visibility=st.sampled_from([Visibility.PUBLIC, Visibility.PRIVATE]),
        source_uri=st.sampled_from(["http://images/a.qcow2", "https://images/b", "https://images/c.img?x=1"]),
        checksum=st.just(f"sha512:{DIGEST}"),
        min_local_gb=st.integers(0, 1000),
        cpu_arch=_WORD,
    )
)
def test_an_image_comes_back_from_glance_as_it_went(spec: ImageSpec) -> None:
    """
    Once Glance has its bytes, the same image is read from there, but for where its bytes are.
    """
    there = replace(to_glance("debian", spec), ref=ID, status="active", hash_algo="sha512", hash_value=DIGEST)

    read = from_glance(there, {})
    assert read is not None
    assert read == (replace(spec, source_uri=f"glance://{ID}"), MIRRORED)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"status": "queued", "hash_algo": "", "hash_value": ""}, "NOT_ACTIVE"),
        ({"status": "deactivated"}, "DEACTIVATED"),
        ({"hash_algo": "", "hash_value": ""}, "NO_HASH"),
        ({"hash_algo": "md5", "hash_value": "ab" * 16}, "NO_HASH"),
        ({"hash_value": "ab"}, "NO_HASH"),
        ({"properties": {"kernel_id": "k", "ramdisk_id": "r"}}, "NO_KERNEL"),
        ({"properties": {"hw_architecture": "no\nword"}}, "MALFORMED"),
    ],
)
def test_images_that_cannot_be_held_to_are_not_usable(changes: dict[str, Any], reason: str) -> None:
    """
    No bytes, no usable hash, no kernel: shown, and why it cannot be used.
    """
    read = from_glance(replace(GOOD, **changes), {})

    assert read is not None
    assert read[1].reason == reason


def test_partition_images_have_their_kernel_with_its_hash() -> None:
    """
    Kernel and ramdisk are images of their own there, and none here.
    """
    kernel = replace(GOOD, ref="k", disk_format="aki", container_format="aki")
    ramdisk = replace(GOOD, ref="r", disk_format="ari", container_format="ari", hash_value="cd" * 64)
    image = replace(GOOD, properties={"kernel_id": "k", "ramdisk_id": "r"})

    read = from_glance(image, {"k": kernel, "r": ramdisk})
    assert read is not None
    spec, standing = read
    assert standing == MIRRORED
    assert (spec.type, spec.kernel_uri, spec.ramdisk_checksum) == (
        ImageType.PARTITION,
        "glance://k",
        "sha512:" + "cd" * 64,
    )
    assert from_glance(kernel, {}) is None


@given(st.text(max_size=80), st.sets(st.text("ab-", max_size=3)))
def test_every_name_becomes_an_id(name: str, taken: set[str]) -> None:
    """
    Whatever it is called there, it has an id with us that nobody else has.
    """
    found = id_for(name, ID, taken)

    assert new_id(found, "id") == found
    assert found not in taken
