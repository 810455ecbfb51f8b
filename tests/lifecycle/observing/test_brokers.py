# SPDX-License-Identifier: Apache-2.0
"""Where to listen: every host of the URL, and no password in what is said about it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from services.kernel.errors import InvalidField
from services.lifecycle.observing.brokers import Brokers, Observing, read_observing
from services.lifecycle.settings import LifecycleSettings
from services.runtime.rabbitmq import Cluster, Host, Tls

URL = "BMS_LIFECYCLE_IRONIC_NOTIFICATIONS"
BASE = {"BMS_LIFECYCLE_BACKEND": "ironic", "BMS_LIFECYCLE_IRONIC_CLOUD": "bed"}


@pytest.mark.parametrize(
    "url", ["hunter2", "kafka://u:hunter2@a", "rabbit://", "rabbit://u:hunter2@a:0", "amqp://u:hunter2@"]
)
def test_what_is_no_url_is_refused_without_its_password(url: str) -> None:
    """
    The field is named and the form is shown; nothing of what was given is.
    """
    with pytest.raises(InvalidField) as caught:
        read_observing({URL: url})
    assert caught.value.facts["field"] == URL
    assert "hunter2" not in str(caught.value) + caught.value.remedy


def test_a_file_keeps_it_from_the_environment(tmp_path: Path) -> None:
    """
    As other secrets; one of the two is given, and a file that cannot be read is told by its name alone.
    """
    file = tmp_path / "url"
    file.write_text("rabbit://u:hunter2@a\n")
    found = read_observing({URL + "_FILE": str(file)}).brokers

    assert found == Brokers(Cluster((Host("a", 5672, "u", "hunter2"),)))
    assert "hunter2" not in repr(found)
    with pytest.raises(InvalidField, match="beside"):
        read_observing({URL: "rabbit://a", URL + "_FILE": str(file)})
    with pytest.raises(InvalidField, match="cannot be read"):
        read_observing({URL + "_FILE": str(tmp_path / "none")})


def test_settings_have_their_defaults_and_bounds() -> None:
    """
    Without a broker there are listings alone; without Ironic nothing of this is even read.
    """
    assert LifecycleSettings.read(BASE).observing == Observing(timedelta(seconds=30), None)
    assert LifecycleSettings.read({URL: "nonsense"}).observing.brokers is None
    own = LifecycleSettings.read(
        {
            **BASE,
            URL: "amqps://a",
            URL + "_CA": "/ca.pem",
            URL + "_DURABLE": "1",
            "BMS_LIFECYCLE_IRONIC_LIST_SECONDS": "5",
        }
    ).observing
    assert own.every == timedelta(seconds=5)
    assert own.brokers == Brokers(
        Cluster((Host("a", 5671, "guest", "guest"),), "/", Tls(ca=Path("/ca.pem"))), durable=True
    )
    for name, value in (("BMS_LIFECYCLE_IRONIC_LIST_SECONDS", "0"), (URL + "_DURABLE", "maybe")):
        with pytest.raises(InvalidField):
            LifecycleSettings.read({**BASE, URL: "rabbit://a", name: value})
