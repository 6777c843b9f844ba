"""What a second look at doubtful pairs needs: their queue, and frames of videos.

An index made by the calibrated decision was made without a second look, and says so from now on:
whoever switches it on is told to rebuild.

Revision ID: 0005
Revises: 0004
"""

import json

from alembic import op
from sqlalchemy import text

revision = "0005"
down_revision = "0004"

STATEMENTS = (
    """
    CREATE TABLE sampled_frames (
        file_id INTEGER NOT NULL,
        views BLOB,
        content_shapes BLOB,
        unreadable_reason TEXT,
        CONSTRAINT pk_sampled_frames PRIMARY KEY (file_id),
        CONSTRAINT ck_sampled_frames_readable CHECK (
            (views IS NULL) = (unreadable_reason IS NOT NULL)
            AND (views IS NULL) = (content_shapes IS NULL)
        ),
        CONSTRAINT fk_sampled_frames_file_id FOREIGN KEY(file_id) REFERENCES file (id)
    )
    """,
    """
    CREATE TABLE doubtful_pair (
        low_id INTEGER NOT NULL,
        high_id INTEGER NOT NULL,
        score FLOAT NOT NULL,
        evidence JSON NOT NULL,
        CONSTRAINT pk_doubtful_pair PRIMARY KEY (low_id, high_id),
        CONSTRAINT ck_doubtful_pair_order CHECK (low_id < high_id),
        CONSTRAINT fk_doubtful_pair_low_id FOREIGN KEY(low_id) REFERENCES file (id),
        CONSTRAINT fk_doubtful_pair_high_id FOREIGN KEY(high_id) REFERENCES file (id)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX ix_doubtful_pair_high_id ON doubtful_pair (high_id)",
    "CREATE INDEX ix_doubtful_pair_score ON doubtful_pair (score)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
    connection = op.get_bind()
    stored = connection.execute(text("SELECT recipe FROM index_state")).scalar()
    recipe = {} if stored is None else json.loads(stored)
    if recipe.get("decision.method") == "calibrated":
        connection.execute(
            text("UPDATE index_state SET recipe = :recipe"),
            {"recipe": json.dumps({**recipe, "frames.enabled": False})},
        )
