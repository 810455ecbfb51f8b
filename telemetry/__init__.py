# SPDX-License-Identifier: Apache-2.0
"""Telemetry: reads the services' events and tells Contrail's analytics, and whoever else asks."""
