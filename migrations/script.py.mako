"""${message}

Revision ID: ${up_revision}
Revises: ${down_revision | comma,n}
"""

from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}

STATEMENTS = (
    """
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
