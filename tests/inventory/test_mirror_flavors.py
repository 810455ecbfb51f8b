# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from bms.inventory.v1 import catalogue_pb2, pool_pb2
from services.kernel.errors import PeerUnavailable
from services.runtime.openstack import Answer
from tests.inventory.mirrored import Site, stands
from tests.inventory.rig import HOLDER, LIFECYCLE, Rig
from tests.support.wire import reason, remedy

GOLD = {"resources:CUSTOM_GOLD": "1"}


@pytest.fixture
def site(rig: Rig) -> Site:
    return Site(rig)


def change(site: Site, flavor_id: str, *paths: str, **fields: Any) -> None:
    flavor = catalogue_pb2.Flavor(name=f"flavors/{flavor_id}", **fields)
    site.rig.ok("UpdateFlavor", catalogue_pb2.UpdateFlavorRequest(flavor=flavor, update_mask=FieldMask(paths=paths)))


def test_a_flavor_of_ours_is_made_in_nova(site: Site) -> None:
    """
    One custom resource, the others zeroed, numbers for people, traits; told as an event, and only once.
    """
    site.rig.flavor("bm.gold", resource_class="gold", min_cpus=16, capabilities={"CUSTOM_GPU": "true"})
    site.round()

    there = site.nova.named("bm.gold")
    assert there is not None
    assert there["extra_specs"] == {
        "resources:CUSTOM_GOLD": "1", "resources:VCPU": "0", "resources:MEMORY_MB": "0", "resources:DISK_GB": "0",
        "trait:CUSTOM_GPU": "required", "bms:min_cpus": "16", "bms:resource_class": "gold",
    }  # fmt: skip
    assert there["vcpus"] == 16
    mirror = site.flavor("bm.gold").mirror
    assert (stands(site.flavor("bm.gold")), mirror.remote_id) == (("MIRRORED", ""), there["id"])
    told, written = site.rig.types("flavors/bm.gold"), len(site.nova.writes())
    assert told == ["flavor.created", "flavor.mirror_changed", "flavor.mirror_changed"]
    site.round(3)
    assert (site.rig.types("flavors/bm.gold"), len(site.nova.writes())) == (told, written)


def test_drift_is_put_right_and_an_operators_own_words_stay(site: Site) -> None:
    """
    What Nova places by is ours to keep; what is neither ours nor Nova's placing stays.
    """
    site.rig.flavor("bm", resource_class="gold")
    site.round()
    there = site.nova.named("bm")
    assert there is not None
    there["extra_specs"] |= {"resources:VCPU": "4", "trait:CUSTOM_X": "required", "hw:boot_menu": "true"}
    there["description"] = "somebody was here"

    site.round()
    assert there["extra_specs"]["resources:VCPU"] == "0"
    assert "trait:CUSTOM_X" not in there["extra_specs"]
    assert there["extra_specs"]["hw:boot_menu"] == "true"
    assert there["description"] is None


def test_a_changed_flavor_is_replaced_only_where_nova_cannot_change_it(site: Site) -> None:
    """
    Words change in place. Numbers cannot: the name goes on by another flavorid, so that nobody takes one for the other.
    """
    site.rig.flavor("bm", resource_class="gold", min_cpus=4)
    site.round()
    first = site.flavor("bm").mirror.remote_id

    change(site, "bm", "description", "labels", description="for all", labels={"a": "b"})
    site.round()
    assert site.flavor("bm").mirror.remote_id == first
    assert site.nova.flavors[first]["extra_specs"]["bms:label:a"] == "b"
    change(site, "bm", "min_cpus", min_cpus=8)
    site.round(2)
    there = site.nova.named("bm")
    assert there is not None
    assert (there["vcpus"], first in site.nova.flavors, len(site.nova.flavors)) == (8, False, 1)
    assert site.flavor("bm").mirror.remote_id == there["id"] != first
    assert stands(site.flavor("bm")) == ("MIRRORED", "")


def test_what_is_deleted_here_goes_there_and_what_is_deleted_there_comes_back(site: Site) -> None:
    """
    Ours is made with us and ended with us.
    """
    site.rig.flavor("bm", resource_class="gold")
    site.round()
    site.nova.flavors.clear()
    site.round()
    assert site.nova.named("bm") is not None

    site.remove("flavors/bm")
    site.round()
    assert site.nova.flavors == {}


def test_a_flavor_of_theirs_appears_follows_and_goes(site: Site) -> None:
    """
    All pages are read; virtual machines' flavors are not taken; it can be used, and changed there alone.
    """
    for number in range(5):
        site.nova.add(f"m{number}.small")
    ref = site.nova.add("BM Gold (new)", extra=GOLD)
    site.round()

    assert site.names() == ["flavors/bm-gold-new"]
    found = site.flavor("bm-gold-new")
    assert (stands(found), found.mirror.origin) == (("MIRRORED", ""), catalogue_pb2.Mirror.ORIGIN_THEIRS)
    assert (found.mirror.remote_id, found.mirror.remote_name) == (ref, "BM Gold (new)")
    refused = site.rig.refused("DeleteFlavor", catalogue_pb2.DeleteFlavorRequest(name=found.name)).status
    assert (reason(refused), ref in remedy(refused)) == ("WRONG_STATE", True)
    site.rig.refused("UpdateFlavor", catalogue_pb2.UpdateFlavorRequest(flavor=catalogue_pb2.Flavor(name=found.name)))
    site.nova.flavors[ref]["extra_specs"]["trait:CUSTOM_GPU"] = "required"
    site.round()
    assert dict(site.flavor("bm-gold-new").capabilities) == {"CUSTOM_GPU": "true"}
    del site.nova.flavors[ref]
    site.round()
    assert site.names() == []
    assert site.rig.types(found.name) == ["flavor.created", "flavor.updated", "flavor.deleted"]
    assert not site.nova.writes()


def test_a_flavor_of_theirs_that_is_used_stays_until_it_is_not(site: Site) -> None:
    """
    Marked gone: nobody else gets a server by it.
    """
    ref = site.nova.add("bm", extra=GOLD)
    site.rig.available(1, resource_class="gold")
    site.round()
    site.rig.reserve(flavor="flavors/bm")

    del site.nova.flavors[ref]
    site.round(2)
    assert stands(site.flavor("bm")) == ("GONE", "GONE")
    order = pool_pb2.ReserveServersRequest(holder="projects/demo/instances/other", flavor="flavors/bm")
    assert reason(site.rig.refused("ReserveServers", order, LIFECYCLE).status) == "WRONG_STATE"
    site.rig.release(HOLDER)
    site.round()
    assert site.names() == []


def test_a_name_that_is_taken_there_is_told(site: Site) -> None:
    """
    Neither side loses its own: ours stays ours alone, theirs appears under another id, and nothing is written in vain.
    """
    ref = site.nova.add("bm", extra=GOLD)
    site.rig.flavor("bm", resource_class="gold")
    site.round()

    assert stands(site.flavor("bm")) == ("FAILED", "NAME_TAKEN")
    assert ref in site.flavor("bm").mirror.message
    assert len(site.names()) == 2
    told = len(site.rig.events())
    site.round(2)
    assert (len(site.rig.events()), site.nova.writes()) == (told, [])
    del site.nova.flavors[ref]
    site.round(2)
    assert (stands(site.flavor("bm")), site.names()) == (("MIRRORED", ""), ["flavors/bm"])


def test_what_nova_refuses_is_told_without_secrets_and_tried_again(site: Site) -> None:
    """
    A quota that is full is a reason, not an end.
    """
    site.nova.quota = 0
    site.rig.flavor("bm", resource_class="gold")
    site.round(2)

    assert stands(site.flavor("bm")) == ("FAILED", "REFUSED")
    assert "Quota exceeded" in site.flavor("bm").mirror.message
    assert "s3cret" not in site.flavor("bm").mirror.message
    site.nova.quota = 10
    site.round()
    assert stands(site.flavor("bm")) == ("MIRRORED", "")


def test_a_name_taken_at_the_same_moment_is_no_defect(site: Site) -> None:
    """
    409 between the look and the act: the next rounds find out.
    """
    site.rig.flavor("bm", resource_class="gold")
    site.nova.answers["POST", "/flavors"] = Answer(409, {"conflictingRequest": {"message": "exists"}})
    site.round()
    assert stands(site.flavor("bm")) == ("PENDING", "REPLACED")

    site.round()
    assert stands(site.flavor("bm")) == ("MIRRORED", "")
    assert len(site.nova.flavors) == 1


def test_what_nova_has_no_words_for_stays_ours_alone(site: Site) -> None:
    """
    It can be used with us, and says why it is not there; when it loses its words it goes there.
    """
    site.rig.flavor("any")
    site.rig.flavor("bm", resource_class="gold")
    site.round()
    assert stands(site.flavor("any")) == ("FAILED", "NO_RESOURCE_CLASS")

    change(site, "bm", "resource_class")
    site.round()
    assert (stands(site.flavor("bm")), site.nova.flavors) == (("FAILED", "NO_RESOURCE_CLASS"), {})


def test_while_nova_is_away_rounds_are_rarer_and_nothing_is_taken_for_gone(site: Site) -> None:
    """
    The pause doubles up to five minutes, the reason is shown, and the first answer ends it.
    """
    ref = site.nova.add("theirs", extra=GOLD)
    site.round()
    site.rig.flavor("bm", resource_class="gold")
    site.nova.away = True

    pauses = []
    for _ in range(8):
        now = site.rig.clock.advance(1)
        pauses.append((site.flavors.tick(now) - now).total_seconds())
    assert pauses == [5, 10, 20, 40, 80, 160, 300, 300]
    assert stands(site.flavor("bm")) == ("PENDING", "PEER_UNAVAILABLE")
    assert "flavors/theirs" in site.names()
    site.nova.away = False
    site.round()
    assert stands(site.flavor("bm")) == ("MIRRORED", "")
    assert ref in site.nova.flavors


@pytest.mark.parametrize("status", [401, 429, 500, 503])
def test_half_a_list_is_none(site: Site, status: int) -> None:
    """
    A page that fails ends the round: what was on it is not gone.
    """
    for number in range(4):
        site.nova.add(f"bm{number}", extra=GOLD)
    site.round()
    before = site.names()
    last = max(site.nova.flavors)
    site.nova.answers["GET", f"/flavors/detail?is_public=None&limit=500&marker={last}"] = Answer(status, {})

    site.round()
    assert site.names() == before


def test_a_crash_between_noting_and_making_makes_one_flavor(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The id was noted before it was sent: whoever comes after makes or finds the same.
    """
    site.rig.flavor("bm", resource_class="gold")
    send = site.nova.send

    def die(method: str, path: str, body: object = None, content_type: str = "") -> Answer:
        answer = send(method, path, body, content_type)
        if (method, path) == ("POST", "/flavors"):
            raise PeerUnavailable("the line broke after it was done")
        return answer

    monkeypatch.setattr(site.nova, "send", die)
    site.round()
    monkeypatch.undo()
    site.round()
    assert len(site.nova.flavors) == 1
    assert stands(site.flavor("bm")) == ("MIRRORED", "")
    there = site.nova.named("bm")
    assert there is not None
    assert there["extra_specs"]["resources:CUSTOM_GOLD"] == "1"
