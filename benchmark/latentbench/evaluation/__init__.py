"""From a fitted model to values: its capabilities are run, read out where need be, and measured."""
