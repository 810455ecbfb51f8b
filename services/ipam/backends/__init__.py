# SPDX-License-Identifier: Apache-2.0
"""Controllers that give addresses beside us, each behind `services.ipam.operations.ports.AddressPlane`."""
