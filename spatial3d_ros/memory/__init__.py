"""A memory that lasts: objects across sessions, what changed, regions, edits, in one SQLite file."""
