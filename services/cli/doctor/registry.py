# SPDX-License-Identifier: Apache-2.0
"""Every check, in the order in which they are shown."""

from __future__ import annotations

from services.cli.doctor.checks import (
    contrail,
    contrail_ground,
    glance,
    ironic,
    keystone,
    neutron,
    nova,
    placement,
    rabbitmq,
    services,
)
from services.cli.doctor.verdicts import Check

CHECKS: tuple[Check, ...] = (
    *services.CHECKS, *keystone.CHECKS, *ironic.CHECKS, *neutron.CHECKS, *contrail.CHECKS, *contrail_ground.CHECKS,
    *placement.CHECKS, *nova.CHECKS, *glance.CHECKS, *rabbitmq.CHECKS,
)  # fmt: skip
