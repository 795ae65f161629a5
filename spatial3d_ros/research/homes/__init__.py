"""Rooms like those of scanned homes, with referring expressions for their objects."""
