"""The tables of bellwether as SQLAlchemy models. Map what you use; the database fills in the rest."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import FetchedValue, ForeignKey
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    type_annotation_map = {dict[str, int]: JSONB}
    # What the database derives comes back with the INSERT or UPDATE itself (RETURNING).
    __mapper_args__ = {"eager_defaults": True}


def derived():
    """A column that the database derives, on INSERT and on UPDATE."""
    return mapped_column(server_default=FetchedValue(), server_onupdate=FetchedValue())


def defaulted():
    """A column that has a default in the database."""
    return mapped_column(server_default=FetchedValue())


class SyncOperation(Base):
    __tablename__ = "sync_operations"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=FetchedValue())
    operation_type: Mapped[str]
    status: Mapped[str] = defaulted()
    owner: Mapped[str | None]
    source: Mapped[str | None]
    current_item: Mapped[str | None]
    total_items: Mapped[int | None]
    processed_items: Mapped[int] = defaulted()
    failed_items: Mapped[int] = defaulted()
    inserted_items: Mapped[int] = defaulted()
    updated_items: Mapped[int] = defaulted()
    deleted_items: Mapped[int] = defaulted()
    kept_items: Mapped[int] = defaulted()
    counters: Mapped[dict[str, int]] = defaulted()
    error: Mapped[str | None]

    progress: Mapped[Decimal] = derived()
    started_at: Mapped[datetime | None] = derived()
    completed_at: Mapped[datetime | None] = derived()
    duration_seconds: Mapped[Decimal | None] = derived()
    estimated_completion_at: Mapped[datetime | None] = derived()

    errors: Mapped[list["SyncOperationError"]] = relationship(passive_deletes=True)


class SyncOperationError(Base):
    __tablename__ = "sync_operation_errors"

    id: Mapped[int] = mapped_column(primary_key=True, server_default=FetchedValue())
    operation_id: Mapped[UUID] = mapped_column(ForeignKey("sync_operations.id"))
    item: Mapped[str | None]
    message: Mapped[str]
