"""Public benchmark files as typed, validated records.

Nothing here ships or downloads data; users bring the files under the terms of their authors.
"""
