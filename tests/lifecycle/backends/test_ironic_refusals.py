# SPDX-License-Identifier: Apache-2.0
"""Who refuses and who is silent, a BMC or Ironic itself; and that no refusal tells a secret."""

from __future__ import annotations

import json
import logging
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.kernel.errors import BmsError, PeerUnavailable, WrongState
from services.lifecycle.backends import ironic_api
from services.lifecycle.backends.ironic import IronicHardware
from services.lifecycle.backends.ironic_api import IronicApi
from services.lifecycle.ports import JobKind, JobPhase, wait_for
from tests.lifecycle.backends.fake_ironic import Fake, serving
from tests.lifecycle.backends.ironic_rig import (
    ORDERS,
    PASSWORD,
    SERVER,
    TARGET,
    USER_DATA,
    Login,
    StepClock,
    done,
    impatient,
)

# Of the SDK and what it stands on, none of it ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")


def test_a_refused_login_and_silence(fake: Fake, hardware: IronicHardware) -> None:
    """
    Verifying tells them apart by Ironic's words, of new nodes and of old ones, and may be repeated after either.
    """
    fake.bmc = "refuses"
    with pytest.raises(WrongState) as refused:
        hardware.verify(TARGET)
    fake.bmc = "silent"
    with pytest.raises(PeerUnavailable, match="does not answer"):
        hardware.verify(TARGET)
    fake.bmc = "answers"
    hardware.verify(TARGET)

    assert refused.value.facts["reason"] == "BMC_LOGIN_REFUSED"
    assert fake.verbs() == ["manage"] * 3
    fake.bmc = "refuses"
    with pytest.raises(WrongState):
        hardware.verify(TARGET)
    fake.bmc = "silent"
    with pytest.raises(PeerUnavailable):
        hardware.verify(TARGET)


def test_a_slow_verification_is_found_again(fake: Fake, hardware: IronicHardware) -> None:
    """
    While Ironic still asks the BMC the call says so; the next one hears the end of the same asking.
    """
    fake.looks, fake.bmc = 1_000_000, "refuses"
    with pytest.raises(PeerUnavailable, match="still asking"):
        hardware.verify(TARGET)
    fake.finish(SERVER)
    with pytest.raises(WrongState):
        hardware.verify(TARGET)

    assert fake.verbs() == ["manage"]


def test_an_unknown_node(fake: Fake, hardware: IronicHardware) -> None:
    """
    404: there is no job, and power cannot be read or set.
    """
    assert hardware.read_job(TARGET, request_id="j1").phase is JobPhase.ABSENT
    for call in (
        lambda: hardware.read_power(TARGET),
        lambda: hardware.set_power(TARGET, on=True, request_id="p"),
        lambda: hardware.start_job(TARGET, ORDERS[JobKind.CLEAN], request_id="j1"),
    ):
        with pytest.raises(PeerUnavailable, match="has no node"):
            call()


def test_ironic_refuses_us(fake: Fake, hardware: IronicHardware) -> None:
    """
    401 is our login, not the BMC's: unavailable, and never taken for a verdict about the server.
    """
    fake.unknown = True
    with pytest.raises(PeerUnavailable, match="refuses our login"):
        hardware.verify(TARGET)


def test_ironic_is_away() -> None:
    """
    Nobody listening is unavailable, and found again when somebody does.
    """
    with serving() as fake:
        url = fake.url
    hardware = IronicHardware(IronicApi(endpoint=url), Login(), StepClock())

    with pytest.raises(PeerUnavailable, match="cannot be reached"):
        hardware.read_power(TARGET)


def test_ironic_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A call ends in time though something listens and says nothing, also for those who wait behind the first.
    """
    impatient(monkeypatch, call=2.0)
    monkeypatch.setattr(ironic_api, "_ONE_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        api = IronicApi(endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}")
        hardware = IronicHardware(api, Login(), StepClock())
        with ThreadPoolExecutor(4) as pool:
            calls = [pool.submit(hardware.read_power, TARGET) for _ in range(4)]
            told = [call.exception(timeout=30) for call in calls]

    assert [wait_for(each) for each in told if isinstance(each, PeerUnavailable)] == ["CONTROLLER_SILENT"] * 4


def test_a_cloud_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """
    A name that clouds.yaml does not have is told as that.
    """
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
    (tmp_path / "clouds.yaml").write_text("clouds: {}")

    with pytest.raises(PeerUnavailable, match="has no cloud 'elsewhere'"):
        IronicHardware(IronicApi(cloud="elsewhere"), Login(), StepClock()).read_power(TARGET)


def test_secrets_stay_where_they_belong(fake: Fake, hardware: IronicHardware, caplog: pytest.LogCaptureFixture) -> None:
    """
    Password and config drive go to Ironic and to nothing else: no log at any level, no error, no note in ``extra``.
    """
    told = []
    with caplog.at_level(logging.DEBUG):
        fake.bmc = "refuses"
        for _ in range(2):
            with pytest.raises(BmsError) as error:
                hardware.verify(TARGET)
            told.append(f"{error.value!r} {error.value.facts} {error.value.remedy}")
            fake.bmc = "silent"
        fake.bmc = "answers"
        hardware.verify(TARGET)
        fake.nodes[SERVER]["provision_state"] = "available"
        fake.refusing = "active"
        told.append(repr(done(fake, hardware, JobKind.DEPLOY, "j1")))

    assert PASSWORD in json.dumps(fake.asked)
    assert USER_DATA.decode() in json.dumps(fake.asked)
    for text in (caplog.text, *told, json.dumps(fake.nodes[SERVER]["extra"])):
        assert PASSWORD not in text
        assert "tenant-secret" not in text
