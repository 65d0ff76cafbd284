"""Records: what a run leaves, where it is kept, and how it is read."""
