"""Boards and their standings: which runs stand in one table, in which order, and what the data can tell apart."""
