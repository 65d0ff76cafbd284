"""CelebA: faces under correlation shift, and novelty under that shift."""
