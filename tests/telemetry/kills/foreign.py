# SPDX-License-Identifier: Apache-2.0
"""A generator of somebody else's, to be killed: ``python -m tests.telemetry.kills.foreign PORT``.

It says of twenty nodes how often it has spoken of each, for ever.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

from telemetry.sandesh.generator import Generator
from telemetry.sandesh.header import Identity
from telemetry.sandesh.messages import IRONIC_NODE_INFO
from telemetry.sandesh.settings import Address, GeneratorSettings

NAME = Identity("elsewhere", "ironic-notification-manager", "Config", "0")
NODES = 20


async def run(port: int) -> None:
    """Talks until it is killed."""
    settings = GeneratorSettings(NAME, (Address("127.0.0.1", port),), pid=os.getpid())
    generator = Generator(settings, lambda: time.time_ns() // 1000, (IRONIC_NODE_INFO,))
    talking = asyncio.create_task(generator.run())
    count = 0
    while not talking.done():
        count += 1
        for number in range(NODES):
            generator.update(IRONIC_NODE_INFO, {"name": f"node-{number}", "host_name": str(count)})
        await asyncio.sleep(0.2)


if __name__ == "__main__":
    asyncio.run(run(int(sys.argv[1])))
