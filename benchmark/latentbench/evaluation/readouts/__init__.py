"""Readouts: what the harness reads from the codes of a model that cannot give it itself."""
