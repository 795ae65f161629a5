"""Procedurally generated rooms: objects, rendered images, camera paths and sensor noise."""
