# SPDX-License-Identifier: Apache-2.0
"""What every backend over an OpenStack service needs beside the SDK. The SDK is not imported here: it is heavy."""

from __future__ import annotations

import logging
import re
import warnings

_SHOWN = 300
_SECRET = re.compile(r"(?i)(password|passwd|token|secret|sig|signature|configdrive)(['\"]?\s*[:=]\s*)\S+")


class Refused(Exception):
    """The service answered that it will not, or cannot.

    Attributes:
        status: of HTTP.
        text: why, short and without secrets; empty where the request held some.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}" if text else str(status))
        self.status = status
        self.text = text


def shown(text: str) -> str:
    """*text* for people: one line, short, with what looks like a secret left out."""
    return _SECRET.sub(r"\1\2***", " ".join(text.split()))[:_SHOWN]


def quieten() -> None:
    """Keeps the libraries' own lines away: at debug they hold whole requests; what they warn of we say ourselves."""
    for name in ("keystoneauth", "openstack", "urllib3"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # The SDK warns of a feature that nobody asked for whenever there is a clouds.yaml.
    warnings.filterwarnings("ignore", message="Support for InfluxDB")
