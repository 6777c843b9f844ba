"""Alembic migrations of the index; hydindex.store.migration runs them."""
