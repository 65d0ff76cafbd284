"""Plugins: found, loaded each on its own, and checked against the contract of what they offer."""
