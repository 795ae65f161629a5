"""Sentences with their typed queries, and the training of the reader that ships."""
