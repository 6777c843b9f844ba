"""Signatures for the calibrated decision, and the evidence that pairs rest on.

Nothing is computed here: an index made by the threshold rule goes on as it was, and the rebuild
that follows a change to the calibrated decision makes the signatures.

Revision ID: 0003
Revises: 0002
"""

import json

from alembic import op
from sqlalchemy import text

revision = "0003"
down_revision = "0002"

STATEMENTS = (
    "ALTER TABLE file ADD COLUMN content_shape FLOAT",
    "ALTER TABLE file ADD COLUMN content_hash INTEGER",
    "ALTER TABLE pair ADD COLUMN evidence JSON",
    """
    CREATE TABLE signature (
        file_id INTEGER NOT NULL,
        picture BLOB NOT NULL,
        CONSTRAINT pk_signature PRIMARY KEY (file_id),
        CONSTRAINT fk_signature_file_id FOREIGN KEY(file_id) REFERENCES file (id)
    )
    """,
    "DROP INDEX ix_file_compared",
    """
    CREATE INDEX ix_file_compared
        ON file (
            duration_ms, average_hash, width_px, height_px, content_shape, content_hash,
            compared_since
        )
        WHERE compared_since IS NOT NULL
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
    connection = op.get_bind()
    recipe = connection.execute(text("SELECT recipe FROM index_state")).scalar()
    if recipe is not None:
        by_threshold = json.dumps({**json.loads(recipe), "decision.method": "threshold"})
        connection.execute(
            text("UPDATE index_state SET recipe = :recipe"), {"recipe": by_threshold}
        )
