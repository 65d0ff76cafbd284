"""Leaderboards as text: Markdown and CSV, from records alone and without torch."""
