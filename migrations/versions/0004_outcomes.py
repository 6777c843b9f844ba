"""What users decided about posted pairs.

Revision ID: 0004
Revises: 0003
"""

from alembic import op

revision = "0004"
down_revision = "0003"

STATEMENTS = (
    """
    ALTER TABLE pair ADD COLUMN outcome TEXT
        CONSTRAINT ck_pair_outcome CHECK (outcome IN ('duplicate', 'alternate', 'false_positive'))
    """,
    "ALTER TABLE pair ADD COLUMN asked_at TEXT",
    """
    CREATE INDEX ix_pair_open
        ON pair (asked_at)
        WHERE state IN ('posted', 'known') AND outcome IS NULL
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
