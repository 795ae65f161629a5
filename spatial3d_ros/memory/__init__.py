"""A memory that lasts: objects across sessions, changes, regions and edits in one SQLite file."""
