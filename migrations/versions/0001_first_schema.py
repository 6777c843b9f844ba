"""The first schema: files, their pictures, the compared set, pairs, runs.

Revision ID: 0001
Revises:
"""

from alembic import op

revision = "0001"
down_revision = None

# Written out as SQL, and not taken from hydindex.store.schema: a migration must go on doing what
# it did when it was released, whatever the schema becomes later.
STATEMENTS = (
    """
    CREATE TABLE file (
        id INTEGER NOT NULL,
        sha256 BLOB NOT NULL,
        size_bytes INTEGER,
        mime TEXT,
        width_px INTEGER,
        height_px INTEGER,
        duration_ms FLOAT,
        num_frames INTEGER,
        state TEXT NOT NULL,
        unusable_reason TEXT,
        checked_at TEXT NOT NULL,
        gone_at TEXT,
        average_hash INTEGER,
        compared_since INTEGER,
        CONSTRAINT pk_file PRIMARY KEY (id),
        CONSTRAINT ck_file_sha256 CHECK (length(sha256) = 32),
        CONSTRAINT ck_file_state CHECK (state IN ('unusable', 'fetched', 'prepared')),
        CONSTRAINT ck_file_reason CHECK ((state = 'unusable') = (unusable_reason IS NOT NULL)),
        CONSTRAINT ck_file_prepared CHECK ((state = 'prepared') = (average_hash IS NOT NULL)),
        CONSTRAINT ck_file_compared CHECK (
            compared_since IS NULL OR (state = 'prepared' AND gone_at IS NULL)
        ),
        UNIQUE (sha256)
    )
    """,
    """
    CREATE INDEX ix_file_compared
        ON file (duration_ms)
        WHERE compared_since IS NOT NULL
    """,
    """
    CREATE INDEX ix_file_uncompared
        ON file (duration_ms)
        WHERE state = 'prepared' AND gone_at IS NULL AND compared_since IS NULL
    """,
    """
    CREATE INDEX ix_file_unprepared
        ON file (id)
        WHERE state = 'fetched'
    """,
    """
    CREATE TABLE index_state (
        id INTEGER NOT NULL,
        recipe JSON NOT NULL,
        next_step INTEGER NOT NULL,
        CONSTRAINT pk_index_state PRIMARY KEY (id),
        CONSTRAINT ck_index_state_single CHECK (id = 1)
    )
    """,
    """
    CREATE TABLE run (
        id INTEGER NOT NULL,
        command TEXT NOT NULL,
        version TEXT NOT NULL,
        process_id INTEGER NOT NULL,
        dry_run BOOLEAN NOT NULL,
        config JSON NOT NULL,
        started_at TEXT NOT NULL,
        finished_at TEXT,
        exit_code INTEGER,
        report JSON,
        error TEXT,
        CONSTRAINT pk_run PRIMARY KEY (id)
    )
    """,
    """
    CREATE TABLE compared_stay (
        file_id INTEGER NOT NULL,
        first_step INTEGER NOT NULL,
        end_step INTEGER NOT NULL,
        CONSTRAINT pk_compared_stay PRIMARY KEY (file_id, first_step),
        CONSTRAINT ck_compared_stay_order CHECK (first_step < end_step),
        CONSTRAINT fk_compared_stay_file_id FOREIGN KEY(file_id) REFERENCES file (id)
    )
    """,
    """
    CREATE TABLE pair (
        low_id INTEGER NOT NULL,
        high_id INTEGER NOT NULL,
        score FLOAT NOT NULL,
        matches BOOLEAN NOT NULL,
        state TEXT NOT NULL,
        reason TEXT,
        state_at TEXT NOT NULL,
        CONSTRAINT pk_pair PRIMARY KEY (low_id, high_id),
        CONSTRAINT ck_pair_order CHECK (low_id < high_id),
        CONSTRAINT ck_pair_matches CHECK (matches IN (0, 1)),
        CONSTRAINT ck_pair_state CHECK (
            state IN ('queued', 'sending', 'posted', 'known', 'refused')
        ),
        CONSTRAINT ck_pair_reason CHECK ((state = 'refused') = (reason IS NOT NULL)),
        CONSTRAINT fk_pair_low_id FOREIGN KEY(low_id) REFERENCES file (id),
        CONSTRAINT fk_pair_high_id FOREIGN KEY(high_id) REFERENCES file (id)
    ) WITHOUT ROWID
    """,
    """
    CREATE INDEX ix_pair_high_id
        ON pair (high_id)
    """,
    """
    CREATE INDEX ix_pair_state
        ON pair (state)
    """,
    """
    CREATE TABLE prepared_array (
        file_id INTEGER NOT NULL,
        pixels BLOB NOT NULL,
        CONSTRAINT pk_prepared_array PRIMARY KEY (file_id),
        CONSTRAINT fk_prepared_array_file_id FOREIGN KEY(file_id) REFERENCES file (id)
    )
    """,
    """
    CREATE TABLE thumbnail (
        file_id INTEGER NOT NULL,
        picture BLOB NOT NULL,
        CONSTRAINT pk_thumbnail PRIMARY KEY (file_id),
        CONSTRAINT fk_thumbnail_file_id FOREIGN KEY(file_id) REFERENCES file (id)
    )
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
