"""Coarse pictures; prepared pictures cut to what is scored; indexes for a million files.

Revision ID: 0002
Revises: 0001
"""

import json
import math

import numpy as np
import zstandard
from alembic import op
from sqlalchemy import Connection, text

revision = "0002"
down_revision = "0001"

TABLES = (
    """
    CREATE TABLE coarse_picture (
        file_id INTEGER NOT NULL,
        picture BLOB NOT NULL,
        CONSTRAINT pk_coarse_picture PRIMARY KEY (file_id),
        CONSTRAINT fk_coarse_picture_file_id FOREIGN KEY(file_id) REFERENCES file (id)
    )
    """,
    """
    CREATE TABLE prepared_picture (
        file_id INTEGER NOT NULL,
        picture BLOB NOT NULL,
        CONSTRAINT pk_prepared_picture PRIMARY KEY (file_id),
        CONSTRAINT fk_prepared_picture_file_id FOREIGN KEY(file_id) REFERENCES file (id)
    )
    """,
)
INDEXES = (
    "DROP INDEX ix_file_compared",
    """
    CREATE INDEX ix_file_compared
        ON file (duration_ms, average_hash, width_px, height_px, compared_since)
        WHERE compared_since IS NOT NULL
    """,
    """
    CREATE INDEX ix_file_unusable
        ON file (checked_at, gone_at)
        WHERE state = 'unusable'
    """,
    """
    CREATE INDEX ix_file_gone
        ON file (id)
        WHERE gone_at IS NOT NULL
    """,
)


def upgrade() -> None:
    for statement in TABLES:
        op.execute(statement)
    connection = op.get_bind()
    recipe = connection.execute(text("SELECT recipe FROM index_state")).scalar()
    if recipe is not None:
        _convert_pictures(connection, json.loads(recipe))
    op.execute("DROP TABLE prepared_array")
    for statement in INDEXES:
        op.execute(statement)


def _convert_pictures(connection: Connection, recipe: dict) -> None:
    """Cut every prepared picture to its central part, and sum it up by 8x8 pixels."""
    width, height = recipe["preprocessing.fixedResize"]
    channels = 1 if recipe["preprocessing.toGray"] else 3
    fraction = recipe["preprocessing.centerFrac"]
    cut_width, cut_height = round(width * fraction), round(height * fraction)
    top, left = (height - cut_height) // 2, (width - cut_width) // 2

    rows = text(
        "SELECT file.id, pixels FROM file LEFT JOIN prepared_array ON file_id = file.id "
        "WHERE state = 'prepared'"
    )
    put_picture = text("INSERT INTO prepared_picture VALUES (:file_id, :pixels)")
    put_coarse = text("INSERT INTO coarse_picture VALUES (:file_id, :sums)")
    drop_array = text("DELETE FROM prepared_array WHERE file_id = :file_id")
    compressor = zstandard.ZstdCompressor(level=3, write_checksum=True)
    for file_id, packed in connection.execute(rows):
        # The next ones take up its space, so that the index itself hardly grows.
        connection.execute(drop_array, {"file_id": file_id})
        try:
            picture = _unpacked(packed or b"", (height, width, channels))
        except (zstandard.ZstdError, ValueError):  # it is missing or damaged: make it again
            _prepare_again(connection, file_id)
            continue
        part = picture[top : top + cut_height, left : left + cut_width]
        cut = compressor.compress(part.tobytes())
        sums = _coarse(part).astype("<u2").tobytes()
        connection.execute(put_picture, {"file_id": file_id, "pixels": cut})
        connection.execute(put_coarse, {"file_id": file_id, "sums": sums})


def _unpacked(packed: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    # A damaged frame may claim to hold more than fits into memory.
    if zstandard.frame_content_size(packed) != math.prod(shape):
        raise ValueError
    return np.frombuffer(zstandard.decompress(packed), np.uint8).reshape(shape)


def _coarse(picture: np.ndarray) -> np.ndarray:
    sums = np.moveaxis(picture, 2, 0).astype(np.uint16)
    for _ in range(3):
        _, height, width = sums.shape
        sums = np.pad(sums, [(0, 0), (height % 2, 0), (width % 2, 0)])
        sums = sums[:, 0::2] + sums[:, 1::2]
        sums = sums[:, :, 0::2] + sums[:, :, 1::2]
    return sums


def _prepare_again(connection: Connection, file_id: int) -> None:
    statement = (
        "UPDATE file SET state = 'fetched', average_hash = NULL, compared_since = NULL "
        "WHERE id = :file_id"
    )
    connection.execute(text(statement), {"file_id": file_id})
    statement = "DELETE FROM compared_stay WHERE file_id = :file_id"
    connection.execute(text(statement), {"file_id": file_id})
