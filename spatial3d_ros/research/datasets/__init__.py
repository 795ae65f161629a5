"""Public benchmark files as typed records: what they hold, checked, and nothing guessed.

Nothing here ships or downloads data; users bring the files under the terms of their authors.
"""
