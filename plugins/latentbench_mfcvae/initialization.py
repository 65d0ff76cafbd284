"""What is set from training images before the first step: the clusters' means, and the scale of a ladder's layers."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["FIRST_STD", "cluster_means", "rescale_by_data"]

#: Standard deviation that each output of a layer has after ``rescale_by_data``, over a batch.
FIRST_STD = 0.1


def cluster_means(codes: Tensor, clusters: int, seed: int) -> Tensor:
    """Means of a mixture of ``clusters`` Gaussians with diagonal covariances, fitted to codes by EM.

    The fit is scikit-learn's, with its defaults: it begins with k-means and ends after 100 iterations at the latest. It
    runs on one thread, so that the result depends on the arguments only.

    Args:
        codes: (N, D), at least as many as clusters.
        clusters: K.
        seed: of k-means.

    Returns:
        (K, D), in the dtype and on the device of ``codes``.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    mixture = GaussianMixture(clusters, covariance_type="diag", random_state=seed % 2**32)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different codes than clusters, or 100 iterations
        mixture.fit(codes.double().cpu().numpy())
    return torch.from_numpy(mixture.means_).to(codes)


def rescale_by_data(network: nn.Module, run: Callable[[], object]) -> None:
    """Draw linear and transposed convolutional layers anew, so that each of their outputs has mean 0 and a small std.

    Weights are Kaiming-normal (He et al., 2015), then scaled by what the layer gives for the images that ``run`` passes
    through the network; each layer sees what the layers before it give after they were scaled.

    Convolutions are left as they are: the initialization in the authors' code has no effect on their normalized
    weights, beyond the bias.

    Args:
        network: what holds the layers.
        run: a forward pass of a batch.
    """

    def rescale(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        assert isinstance(layer, nn.Linear | nn.ConvTranspose2d)
        nn.init.kaiming_normal_(layer.weight)
        assert layer.bias is not None
        layer.bias.zero_()
        (x,) = inputs
        plain: Tensor = layer.forward(x)
        others = [axis for axis in range(plain.ndim) if axis != 1]
        mean, std = plain.mean(others), plain.std(others).clamp_min(1e-6)
        axis = 0 if isinstance(layer, nn.Linear) else 1
        layer.weight.mul_((FIRST_STD / std).reshape([-1 if a == axis else 1 for a in range(layer.weight.ndim)]))
        layer.bias.copy_(-mean * FIRST_STD / std)
        rescaled: Tensor = layer.forward(x)
        return rescaled

    layers = [layer for layer in network.modules() if isinstance(layer, nn.Linear | nn.ConvTranspose2d)]
    hooks = [layer.register_forward_hook(rescale) for layer in layers]
    try:
        with torch.no_grad():
            run()
    finally:
        for hook in hooks:
            hook.remove()
