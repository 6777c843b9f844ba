"""Create the tables of `hydindex.store.schema`.

Until the first release the schema changes in place: there is this one revision, and no index to
upgrade. At the release, replace the call below by the DDL of that day; from then on every change
of the schema is a new revision.
"""

from alembic import op

from hydindex.store.schema import metadata

revision = "0001"
down_revision = None


def upgrade() -> None:
    metadata.create_all(op.get_bind())
