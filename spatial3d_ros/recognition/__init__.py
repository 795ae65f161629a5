"""Recognisers: models that label what a colour image shows."""
