# SPDX-License-Identifier: Apache-2.0
"""In PostgreSQL messages lie in a table for each day, which is dropped as a whole.

No message is written anew: the table there was becomes the first of the days, and goes like any other.
"""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_DAY = 86_400_000_000
_FIRST, _LAST = -(2**63), 2**63 - 1
_HOUR = _DAY // 24
_KEYS = {"messages": "id, seen_time", "message_objects": "object_table, object_key, message, seen_time"}
_INDEXES = {
    "messages": {"messages_by_time": "time, id", "messages_of_type": "message_type, id"},
    "message_objects": {"objects_of_message": "message"},
}


def upgrade() -> None:
    op.add_column("message_objects", sa.Column("seen_time", sa.BigInteger, nullable=False, server_default="0"))
    op.execute(
        "UPDATE message_objects SET seen_time ="
        " coalesce((SELECT m.seen_time FROM messages m WHERE m.id = message_objects.message), 0)"
    )
    if op.get_bind().dialect.name == "postgresql":
        _part()


def _part() -> None:
    op.create_table(
        "message_days",
        sa.Column("lower", sa.BigInteger, primary_key=True, autoincrement=False),  # telemetry.store.days.Day
        sa.Column("upper", sa.BigInteger, nullable=False),
        sa.Column("first_time", sa.BigInteger, nullable=False),
        sa.Column("last_time", sa.BigInteger, nullable=False),
    )
    found = op.get_bind().execute(
        sa.text(
            "SELECT (extract(epoch FROM now()) * 1000000)::bigint, max(seen_time), min(time), max(time),"
            " nextval(pg_get_serial_sequence('messages', 'id')) FROM messages"
        )
    )
    now, seen, first, last, number = found.one()
    # Of a clock that was ahead there may be messages that came in tomorrow.
    tomorrow = (max(now, seen or now) // _DAY + 1) * _DAY
    op.execute("ALTER TABLE messages ALTER COLUMN id DROP IDENTITY")
    op.execute(f"CREATE SEQUENCE message_numbers START {number + 1}")
    op.execute("ALTER TABLE messages ALTER COLUMN id SET DEFAULT nextval('message_numbers')")
    op.drop_index("messages_by_age", "messages")
    for table, key in _KEYS.items():
        before = f"{table}_before"
        op.drop_constraint(f"{table}_pkey", table)
        op.execute(f"ALTER TABLE {table} RENAME TO {before}")
        op.execute(f"ALTER TABLE {before} ADD PRIMARY KEY ({key})")
        for index in _INDEXES[table]:
            op.execute(f"ALTER INDEX {index} RENAME TO {index}_before")
        op.execute(f"CREATE TABLE {table} (LIKE {before} INCLUDING DEFAULTS) PARTITION BY RANGE (seen_time)")
        op.execute(f"ALTER TABLE {table} ADD PRIMARY KEY ({key})")
        for index, columns in _INDEXES[table].items():
            op.execute(f"CREATE INDEX {index} ON {table} ({columns})")
        # With its indexes, which are like those of the whole.
        op.execute(f"ALTER TABLE {table} ATTACH PARTITION {before} FOR VALUES FROM (MINVALUE) TO ({tomorrow})")
    op.execute("ALTER SEQUENCE message_numbers OWNED BY messages.id")
    hours = (_LAST, _FIRST) if first is None else (max(first // _HOUR * _HOUR, _FIRST), min(last + _HOUR, _LAST))
    op.execute(f"INSERT INTO message_days VALUES ({_FIRST}, {tomorrow}, {hours[0]}, {hours[1]})")
    for lower in (tomorrow, tomorrow + _DAY):
        for table in _KEYS:
            name = f"{table}_{datetime.fromtimestamp(lower // 1_000_000, UTC):d%Y%m%d}"
            op.execute(f"CREATE TABLE {name} PARTITION OF {table} FOR VALUES FROM ({lower}) TO ({lower + _DAY})")
        op.execute(f"INSERT INTO message_days VALUES ({lower}, {lower + _DAY}, {_LAST}, {_FIRST})")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for table, key in _KEYS.items():
            op.execute(f"ALTER TABLE {table} RENAME TO {table}_days")
            op.execute(f"CREATE TABLE {table} (LIKE {table}_days INCLUDING DEFAULTS)")
            op.execute(f"INSERT INTO {table} SELECT * FROM {table}_days")
            if table == "messages":
                op.execute("ALTER SEQUENCE message_numbers OWNED BY NONE")
                op.execute("ALTER TABLE messages ALTER COLUMN id DROP DEFAULT")
                op.execute("ALTER TABLE messages ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY")
                op.execute("SELECT setval(pg_get_serial_sequence('messages', 'id'), nextval('message_numbers'))")
            op.execute(f"DROP TABLE {table}_days")
            op.execute(f"ALTER TABLE {table} ADD PRIMARY KEY ({key.removesuffix(', seen_time')})")
            for index, columns in _INDEXES[table].items():
                op.execute(f"CREATE INDEX {index} ON {table} ({columns})")
        op.execute("DROP SEQUENCE message_numbers")
        op.create_index("messages_by_age", "messages", ["expire_time"])
        op.drop_table("message_days")
    op.drop_column("message_objects", "seen_time")
