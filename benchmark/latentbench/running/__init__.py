"""From a board to finished runs: what to run, the training loop, and what a record says of where it ran."""
