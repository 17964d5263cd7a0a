"""Rows that refer to rows that are not there: files edited with foreign keys switched off hold some."""

import sqlite3

from migration.legacy_tables import Reference
from migration.source import Source, quoted


def references_to_nothing(source: Source) -> set[tuple[str, str]]:
    """Tables and columns that refer to rows that are not there: mostly none, which two readers find out quickly."""
    asked = [
        (table.name, reference)
        for table in source.in_order
        for reference in table.legacy.references
        if reference.column in table.columns and reference.table in source.tables
    ]
    found = source.at_once(_has_orphans, asked)
    return {(name, one.column) for (name, one), has in zip(asked, found, strict=True) if has.result()}


def _has_orphans(reader: sqlite3.Connection, asked: tuple[str, Reference]) -> bool:
    name, reference = asked
    query = f"SELECT EXISTS (SELECT 1 FROM {quoted(name)} t WHERE {is_orphan(reference)})"
    return bool(reader.execute(query).fetchone()[0])


def is_orphan(reference: Reference) -> str:
    """The condition that a row `t` refers to one that is not there."""
    column = f"t.{quoted(reference.column)}"
    return f"{column} IS NOT NULL AND NOT EXISTS ({parent_of(reference)})"


def parent_of(reference: Reference) -> str:
    """SQL of the row that a row `t` refers to: to the letter, whatever the column's own rule is."""
    same = f"p.{quoted(reference.parent_key)} = t.{quoted(reference.column)}"
    # the first finds rows by the file's index, the second holds them to it
    return f"SELECT 1 FROM {quoted(reference.table)} p WHERE {same} AND {same} COLLATE BINARY"
