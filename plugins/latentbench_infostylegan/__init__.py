"""Style-based GAN with mutual-information maximization."""
