"""The tables of the index. Constraints make SQLite itself keep the guarantees.

Blobs have their own tables, so that a scan of metadata reads none of them.
"""

from typing import Final

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    func,
    literal_column,
)
from sqlalchemy.schema import SchemaItem

REVISION: Final = "0001"
"""The current Alembic revision."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# One row per file whose thumbnail is stored, or known not to exist.
#   unusable  there is no picture to compare, for a reason
#   fetched   the thumbnail waits to be prepared
#   prepared  what the method computes from it matches the recipe
# `compared_since`: the step (see `index_state`) at which the file joined the compared set; null
# outside it. `hydrus_id`: Hydrus's `file_id`, of present files only: a gone file is found again by
# its SHA-256.
file = Table(
    "file",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sha256", LargeBinary, nullable=False, unique=True),
    Column("size_bytes", Integer),
    Column("mime", Text),
    Column("width_px", Integer),
    Column("height_px", Integer),
    Column("duration_ms", Float),
    Column("state", Text, nullable=False),
    Column("unusable_reason", Text),
    Column("checked_at", Text, nullable=False),
    Column("gone_at", Text),
    Column("average_hash", Integer),
    Column("compared_since", Integer),
    Column("content_aspect_factor", Float),
    Column("hydrus_id", Integer),
    CheckConstraint("length(sha256) = 32", "sha256"),
    CheckConstraint("state IN ('unusable', 'fetched', 'prepared')", "state"),
    CheckConstraint("(state = 'unusable') = (unusable_reason IS NOT NULL)", "reason"),
    CheckConstraint(
        "state = 'prepared' OR (average_hash IS NULL AND content_aspect_factor IS NULL)", "prepared"
    ),
    CheckConstraint(
        "compared_since IS NULL OR (state = 'prepared' AND gone_at IS NULL)", "compared"
    ),
    CheckConstraint("hydrus_id IS NULL OR gone_at IS NULL", "identified"),
)
# The columns that preparing a thumbnail computes, cleared.
CLEARED_PREPARATION: Final = dict.fromkeys(("average_hash", "content_aspect_factor"))


def _in_sql(state: str) -> ColumnElement[str]:
    """Return a state as part of the SQL text.

    SQLite uses a partial index only for a query with literally the same condition.
    """
    return literal_column(f"'{state}'")


IS_COMPARED = file.c.compared_since.is_not(None)
IS_PRESENT = file.c.gone_at.is_(None)
IS_UNCOMPARED = (file.c.state == _in_sql("prepared")) & IS_PRESENT & file.c.compared_since.is_(None)
IS_UNPREPARED = file.c.state == _in_sql("fetched")
IS_UNUSABLE = file.c.state == _in_sql("unusable")
IS_GONE = file.c.gone_at.is_not(None)
IS_IDENTIFIED = file.c.hydrus_id.is_not(None)
IS_UNIDENTIFIED = IS_PRESENT & file.c.hydrus_id.is_(None)
# Width / height of a file, and of its content without bars: the same if bars weren't looked for.
ASPECT_RATIO = func.nullif(file.c.width_px, 0) * 1.0 / func.nullif(file.c.height_px, 0)
CONTENT_ASPECT_RATIO = ASPECT_RATIO * func.coalesce(file.c.content_aspect_factor, 1.0)
# Everything that the candidate rules need: candidates are found without reading rows.
Index(
    "ix_file_compared",
    file.c.duration_ms,
    file.c.average_hash,
    file.c.width_px,
    file.c.height_px,
    file.c.content_aspect_factor,
    file.c.compared_since,
    sqlite_where=IS_COMPARED,
)
Index("ix_file_uncompared", file.c.duration_ms, sqlite_where=IS_UNCOMPARED)
Index("ix_file_unprepared", file.c.id, sqlite_where=IS_UNPREPARED)
Index("ix_file_unusable", file.c.checked_at, file.c.gone_at, sqlite_where=IS_UNUSABLE)
Index("ix_file_gone", file.c.id, sqlite_where=IS_GONE)
Index("ix_file_hydrus_id", file.c.hydrus_id, unique=True, sqlite_where=IS_IDENTIFIED)
Index("ix_file_unidentified", file.c.id, sqlite_where=IS_UNIDENTIFIED)


def _picture_table(name: str) -> Table:
    return Table(
        name,
        metadata,
        Column("file_id", ForeignKey("file.id"), primary_key=True),
        Column("picture", LargeBinary, nullable=False),
    )


# Thumbnails as Hydrus served them, so that a rebuild fetches nothing.
thumbnail = _picture_table("thumbnail")
# What the methods compute from thumbnails, packed; a rebuild computes it again. One table for each
# kind, so that reading one kind touches no other.
PICTURE_TABLES: Final = {
    name: _picture_table(name)
    for name in ("prepared_picture", "coarse_picture", "signature", "descriptor")
}

# The sampled frames of a video (see `hydindex.frames.packing`), or why there are none. A file never
# changes, so they don't depend on the recipe.
sampled_frames = Table(
    "sampled_frames",
    metadata,
    Column("file_id", ForeignKey("file.id"), primary_key=True),
    Column("views", LargeBinary),
    Column("content_aspect_factors", LargeBinary),
    Column("unreadable_reason", Text),
    CheckConstraint(
        "(views IS NULL) = (unreadable_reason IS NOT NULL)"
        " AND (views IS NULL) = (content_aspect_factors IS NULL)",
        "readable",
    ),
)

# Earlier membership intervals of a file in the compared set: `first_step` to before `end_step`.
# Two files have been compared if and only if any of their intervals overlap.
membership = Table(
    "membership",
    metadata,
    Column("file_id", ForeignKey("file.id"), primary_key=True),
    Column("first_step", Integer, primary_key=True),
    Column("end_step", Integer, nullable=False),
    CheckConstraint("first_step < end_step", "order"),
)


def _pair_key() -> list[SchemaItem]:
    return [
        Column("low_id", ForeignKey("file.id"), primary_key=True),
        Column("high_id", ForeignKey("file.id"), primary_key=True),
        CheckConstraint("low_id < high_id", "order"),
    ]


# Matching pairs. `matches` is false for a pair that was posted under an earlier recipe and does not
# match now: the row must stay, or the pair could be posted again. `score` and `features` are those
# of the last match. `decision`: the user's, null while undecided.
pair = Table(
    "pair",
    metadata,
    *_pair_key(),
    Column("score", Float, nullable=False),
    Column("matches", Boolean, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("state_at", Text, nullable=False),
    Column("features", JSON(none_as_null=True)),
    Column("decision", Text),
    Column("decision_checked_at", Text),
    CheckConstraint("matches IN (0, 1)", "matches"),
    CheckConstraint("state IN ('queued', 'sending', 'posted', 'known', 'refused')", "state"),
    CheckConstraint("(state = 'refused') = (reason IS NOT NULL)", "reason"),
    CheckConstraint("decision IN ('duplicate', 'alternate', 'false_positive')", "decision"),
    sqlite_with_rowid=False,
)
Index("ix_pair_high_id", pair.c.high_id)
Index("ix_pair_state", pair.c.state)
IS_UNDECIDED = pair.c.decision.is_(None)
_is_in_hydrus = pair.c.state.in_((_in_sql("posted"), _in_sql("known")))
Index("ix_pair_open", pair.c.decision_checked_at, sqlite_where=_is_in_hydrus & IS_UNDECIDED)
# Without `likely`, SQLite assumes that the state is rare, and sorts instead of using its index.
IS_OPEN = func.likely(_is_in_hydrus) & IS_UNDECIDED

# Pairs that wait for frame verification. A match becomes a `pair`; the row here is deleted.
doubtful_pair = Table(
    "doubtful_pair",
    metadata,
    *_pair_key(),
    Column("score", Float, nullable=False),
    Column("features", JSON, nullable=False),
    sqlite_with_rowid=False,
)
Index("ix_doubtful_pair_high_id", doubtful_pair.c.high_id)
Index("ix_doubtful_pair_score", doubtful_pair.c.score)

# One row: the recipe, the next step of comparing, and when Hydrus last returned all SHA-256.
index_state = Table(
    "index_state",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("recipe", JSON, nullable=False),
    Column("next_step", Integer, nullable=False),
    Column("hashes_listed_at", Text),
    CheckConstraint("id = 1", "single"),
)

# `finished_at` is null while a run is running, and forever if it was killed.
run = Table(
    "run",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("command", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("process_id", Integer, nullable=False),
    Column("dry_run", Boolean, nullable=False),
    Column("config", JSON, nullable=False),
    Column("started_at", Text, nullable=False),
    Column("finished_at", Text),
    Column("exit_code", Integer),
    Column("report", JSON),
    Column("error", Text),
)
