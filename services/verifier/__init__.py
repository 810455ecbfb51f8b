# SPDX-License-Identifier: Apache-2.0
"""Judges a log of events: was any server ever on a tenant's network unclean, had any address ever two owners?

It reads bms.event.v1 alone and shares no code with the services that write the log, so that it cannot share their
mistakes. It needs no database, no network and no clock.
"""
