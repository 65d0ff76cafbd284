"""Autoencoders with a compact latent space: codes on a hypersphere."""
