"""Runs inside hydindex, on the connection that hydindex.store.migration hands over."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
