"""Rooms made by rule, pictures of them, and the readers and writers of recordings."""
