# SPDX-License-Identifier: Apache-2.0
"""What Alembic needs to run any service's migrations."""
