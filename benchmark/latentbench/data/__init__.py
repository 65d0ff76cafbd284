"""Datasets: splits of images and targets; sources decoded once into a cache; archives from elsewhere."""
