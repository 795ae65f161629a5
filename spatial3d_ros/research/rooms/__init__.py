"""Rooms made by rule: their things, pictures, camera paths and noise."""
