# SPDX-License-Identifier: Apache-2.0
"""Where brokers are: every host of the URL, and no password in what is said about it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from services.kernel.errors import InvalidField
from services.runtime.rabbitmq import Host, backoff, parse


@pytest.mark.parametrize(
    ("url", "hosts", "vhost", "tls"),
    [
        ("rabbit://u:p@a", (Host("a", 5672, "u", "p"),), "/", False),
        ("amqp://u:p%40%2F@a:1/", (Host("a", 1, "u", "p@/"),), "/", False),
        ("amqps://u:p@a/cloud%2Fone", (Host("a", 5671, "u", "p"),), "cloud/one", True),
        ("rabbit://a/?ssl=0", (Host("a", 5672, "guest", "guest"),), "/", False),
        (
            "rabbit://u:p@a:1,v:q@[fd00::1]:2,w@[fd00::2]//",
            (Host("a", 1, "u", "p"), Host("fd00::1", 2, "v", "q"), Host("fd00::2", 5672, "w", "guest")),
            "/",
            False,
        ),
    ],
)
def test_a_url_names_every_host(url: str, hosts: tuple[Host, ...], vhost: str, tls: bool) -> None:
    """
    In the form that OpenStack's services take, so that it can be copied from theirs.
    """
    assert parse(url, "URL") == (hosts, vhost, tls)


@pytest.mark.parametrize("url", ["hunter2", "kafka://u:hunter2@a", "rabbit://u:hunter2@a:0", "amqp://u:hunter2@"])
def test_what_is_no_url_is_refused_without_its_password(url: str) -> None:
    """
    The field is named and the form is shown; nothing of what was given is.
    """
    with pytest.raises(InvalidField) as caught:
        parse(url, "URL")
    assert caught.value.facts["field"] == "URL"
    assert "hunter2" not in str(caught.value) + caught.value.remedy


def test_it_comes_back_soon_and_then_seldom() -> None:
    """
    After the first failure within a second, and never later than within a minute; two replicas not at once.
    """
    pauses = [backoff(failures, 1.0) for failures in range(1, 100)]

    assert pauses[0] == timedelta(seconds=1)
    assert pauses == sorted(pauses)
    assert pauses[-1] == timedelta(seconds=60)
    assert backoff(3, 0.0) < backoff(3, 1.0)
