"""Datasets that are drawn: scenes of known factors, and textures with defects."""
