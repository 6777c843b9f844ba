"""Alembic migrations of the index; hydindex.index.migrate runs them."""
