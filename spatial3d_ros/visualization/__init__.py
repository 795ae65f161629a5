"""Plots, figures, annotated images and Rerun recordings of a scene and its answers."""
