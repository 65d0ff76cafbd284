"""Golden records: what every built-in model comes to on embedded data, so that no change goes unnoticed."""
