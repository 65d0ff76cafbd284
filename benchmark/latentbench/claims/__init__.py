"""Published numbers as typed data, and what the records say of each."""
