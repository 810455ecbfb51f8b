# SPDX-License-Identifier: Apache-2.0
"""The mirror over HTTP, as the SDK speaks it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from services.inventory.backends.glance import Glance
from services.inventory.backends.nova import MICROVERSION, Nova
from services.inventory.settings import MirrorSettings
from services.kernel.clock import SystemClock
from services.kernel.errors import InvalidField, PeerUnavailable
from services.runtime.loop import Loop
from services.runtime.openstack import ask
from services.runtime.openstack_sdk import Cloud
from tests.inventory.fake_openstack import FakeGlance, FakeNova, served
from tests.inventory.rig import Rig

# Of the SDK's own parts.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")


@pytest.fixture
def clouds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[FakeNova, FakeGlance]]:
    """Both served, and named ``fake`` in clouds.yaml; ``dead`` is where nobody listens."""
    nova, glance = FakeNova(), FakeGlance()
    with served(nova) as compute, served(glance) as image:

        def cloud(compute: str, image: str) -> dict[str, object]:
            own = {"compute_endpoint_override": compute, "image_endpoint_override": image}
            return {"auth_type": "none", "auth": {"endpoint": compute}, **own}

        dead = "http://127.0.0.1:1"
        file = tmp_path / "clouds.yaml"
        file.write_text(json.dumps({"clouds": {"fake": cloud(compute, image), "dead": cloud(dead, dead)}}))
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield nova, glance


def test_flavors_go_and_come_over_http(clouds: tuple[FakeNova, FakeGlance]) -> None:
    """
    Pages, extra specs with odd keys, removal: as the state machine behind it says.
    """
    fake, _ = clouds
    for number in range(5):
        fake.add(f"m{number}")
    nova = Nova(Cloud("fake", "BMS_X").service("Nova", "compute", seconds=20, microversion=MICROVERSION))

    there = nova.everything()
    assert sorted(each.name for each in there.values()) == ["m0", "m1", "m2", "m3", "m4"]
    one = next(iter(there.values()))
    fake.flavors[one.ref]["extra_specs"] = {"capabilities:a b": "1", "hw:x": "y"}
    found = nova.everything()[one.ref]
    nova.put(found, one)
    assert fake.flavors[one.ref]["extra_specs"] == {"hw:x": "y"}
    nova.remove(one.ref)
    nova.remove(one.ref)
    assert len(nova.everything()) == 4


def test_images_go_and_come_over_http(clouds: tuple[FakeNova, FakeGlance]) -> None:
    """
    As with flavors; a patch has a type of its own.
    """
    _, fake = clouds
    refs = [fake.add(f"image {number}", visibility="public") for number in range(3)]
    glance = Glance(Cloud("fake", "BMS_X").service("Glance", "image", seconds=20))

    assert glance.everything().keys() == set(refs)
    assert glance.fetches()
    found = glance.get(refs[0])
    assert found is not None
    assert found.checksum.startswith("sha512:")
    glance.remove(refs[0])
    assert glance.get(refs[0]) is None


@pytest.mark.parametrize(("cloud", "said"), [("dead", "cannot be reached"), ("nowhere", "clouds.yaml has no cloud")])
def test_who_does_not_answer_is_told_apart(clouds: tuple[FakeNova, FakeGlance], cloud: str, said: str) -> None:
    """
    A cloud that nobody described is a setting to mend, one that is silent is waited for.
    """
    with pytest.raises(PeerUnavailable, match=said):
        ask("Nova", Cloud(cloud, "BMS_X").service("Nova", "compute", seconds=20), "GET", "/flavors/detail")


def test_the_loop_goes_on_after_a_defect_and_ends_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A round that fails is followed by another.
    """
    monkeypatch.setattr("services.runtime.loop._POLL", timedelta(0))
    rounds: list[datetime] = []
    third = threading.Event()

    def tick(now: datetime) -> datetime:
        rounds.append(now)
        if len(rounds) == 1:
            raise PeerUnavailable("the database is away")
        if len(rounds) == 2:
            raise ZeroDivisionError
        third.set()
        return now + timedelta(hours=1)

    loop = Loop("test", tick, SystemClock(), most=timedelta.max)
    loop.start()
    assert third.wait(10)
    loop.stop()
    assert len(rounds) == 3


def test_settings_name_the_clouds() -> None:
    """
    Unset mirrors with nobody; what cannot be understood is refused by its name.
    """
    assert MirrorSettings.read({}) == MirrorSettings()
    read = MirrorSettings.read({"BMS_INVENTORY_NOVA_CLOUD": " a ", "BMS_INVENTORY_MIRROR_SECONDS": "0.5"})
    assert (read.nova, read.glance, read.period) == ("a", "", timedelta(seconds=0.5))
    for text in ("0", "often", "1e9", "nan"):
        with pytest.raises(InvalidField) as refused:
            MirrorSettings.read({"BMS_INVENTORY_MIRROR_SECONDS": text})
        assert refused.value.violations[0].field == "BMS_INVENTORY_MIRROR_SECONDS"


def test_without_settings_nothing_changes(rig: Rig) -> None:
    """
    Flavors show no mirror, and nobody is asked.
    """
    assert not rig.flavor("bm").HasField("mirror")
