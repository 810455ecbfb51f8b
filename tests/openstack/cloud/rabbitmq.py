# SPDX-License-Identifier: Apache-2.0
"""RabbitMQ, from Debian: a node of its own with its own port mapper, so that both end by their ids."""

from __future__ import annotations

from collections.abc import Sequence

from tests.openstack.cloud.parts import write_private
from tests.openstack.cloud.place import Place, Unit

DEBIAN = {"/usr/lib/rabbitmq/bin/rabbitmq-server": "rabbitmq-server"}


def configure(place: Place) -> None:
    """Writes its configuration."""
    etc = place.etc("rabbitmq")
    write_private(
        etc / "rabbitmq.conf",
        f"default_user = cloud\ndefault_pass = {place.secrets['rabbitmq']}\n"
        f"listeners.tcp.1 = 127.0.0.1:{place.ports['rabbitmq']}\nloopback_users = none\n",
    )
    (etc / "plugins").write_text("[].\n")


def units(place: Place) -> Sequence[Unit]:
    """The port mapper and the broker."""
    etc, state = place.etc("rabbitmq"), place.state("rabbitmq")
    mapper = str(place.ports["epmd"])
    environ = {
        "HOME": str(state), "RABBITMQ_NODENAME": "cloud@localhost", "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(place.ports["rabbitmq"]), "RABBITMQ_DIST_PORT": str(place.ports["erlang"]),
        "ERL_EPMD_PORT": mapper, "ERL_EPMD_ADDRESS": "127.0.0.1", "RABBITMQ_MNESIA_BASE": str(state / "mnesia"),
        "RABBITMQ_LOG_BASE": str(state / "log"), "RABBITMQ_CONFIG_FILE": str(etc / "rabbitmq.conf"),
        "RABBITMQ_CONF_ENV_FILE": "/dev/null", "RABBITMQ_ENABLED_PLUGINS_FILE": str(etc / "plugins"),
        # One scheduler: there is little to do, and idle ones spin.
        "RABBITMQ_SERVER_ERL_ARGS": "+S 1:1 -kernel inet_dist_use_interface {127,0,0,1}",
    }  # fmt: skip
    return [
        Unit("epmd", ["epmd", "-address", "127.0.0.1", "-port", mapper], port=place.ports["epmd"]),
        Unit("rabbitmq", [next(iter(DEBIAN))], environ, port=place.ports["rabbitmq"]),
    ]
