# SPDX-License-Identifier: Apache-2.0
"""`bms up`: five services on one machine, started, watched and stopped as one."""
