"""Compact VAEs and the hole indicator (Glazunov & Zarras, UAI 2023)."""
