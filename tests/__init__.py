"""The tests. A package, so that helpers are imported by one name, from wherever pytest or Python is started here."""
