"""Rooms like people's, made by rule, and what people would say about the things in them."""
