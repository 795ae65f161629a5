"""Rooms made by rule, pictures of them, recordings, and the public benchmarks' files."""
