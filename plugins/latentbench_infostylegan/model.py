"""InfoStyleGAN: a style-based generator with mutual-information maximisation (Paul, Wang, Alajaji & Burlina, 2021).

    Neural Computation 33(3), 802-826 (arXiv 2002.11169)

A generator makes an image x = G(z, c) of noise z and codes c from a known prior (``codes``), in layers of several
scales that are steered by styles (``network``). A discriminator D tells it from real images, and a head q(c | x) reads
the codes back. With H(c) of the prior, E log q(c | x) + H(c) is a lower bound L on the information I(c; x), and

    min over G, Q, max over D    V(D, G) - lambda L,

so that each code controls something that shows. V is the non-saturating logistic loss with a gradient penalty R1:

    D:  softplus(D(G(z, c))) + softplus(-D(x)) + gamma / 2 |grad_x D(x)|^2
    G:  softplus(-D(G(z, c))) - lambda L
    Q:  -L

Only the abstract was at hand. Everything else is an option, with a default of ours; README.md says which.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from pydantic import Field, NonNegativeInt, model_validator
from torch import Tensor, nn
from torch.nn.functional import pad, softplus
from torch.nn.utils import clip_grad_norm_

from latentbench import Batch, DataInfo, LatentbenchError, Losses, Model, Split, TrainingOptions
from latentbench_infostylegan.codes import Codes
from latentbench_infostylegan.network import Discriminator, Generator, Injection, QHead, Trunk
from latentbench_infostylegan.presets import PRESETS

if TYPE_CHECKING:
    from latentbench import Trainer

__all__ = ["InfoStyleGAN"]

#: Sides of images that are padded inside of the model, and what they become: as MNIST's option ``image_size`` does it.
PADDED = {28: 32}
#: Sides that the networks are made for.
SIDES = (16, 32, 64, 128)
#: Adam's beta 1 and beta 2.
BETAS = (0.0, 0.99)
#: Largest norm of the gradient of an update of Q.
Q_GRADIENT = 1.0
#: The average follows at most this share of the images so far, so that it leaves the first ones behind.
EMA_RAMP = 0.05
#: Of a limited number of steps, what the adversarial training may use; the rest is for what is fitted post hoc.
MAIN_SHARE = 0.8
POST_HOC = "post-hoc"

Values = Annotated[int, Field(ge=2)]


class InfoStyleGAN(Model):
    """A style-based generator whose codes are made to control attributes, and detectors on what it learned."""

    class Config(TrainingOptions):
        batch_size: int = Field(64, ge=2, description="images per step")
        continuous: NonNegativeInt = Field(5, description="codes from U(-1, 1)")
        categorical: tuple[Values, ...] = Field((), description="numbers of values of categorical codes")
        z_dim: int = Field(32, ge=1, description="size of the noise z")
        mi: float = Field(0.1, ge=0, description="lambda: weight of the information; 0: codes are read post hoc")
        code_injection: Injection = Field(
            "mapping", description="mapping: codes enter beside z; per_scale: each enters one resolution"
        )
        q_head: Literal["shared", "separate"] = Field(
            "shared", description="of the codes: on the trunk of the discriminator, or on one of its own"
        )
        style_dim: int = Field(64, ge=1, description="size of w")
        width: int = Field(16, ge=1, description="channels at full size; with each halving they double")
        widest: int = Field(128, ge=1, description="but at most so many")
        r1_gamma: float = Field(1.0, ge=0, description="gamma: weight of the gradient penalty R1")
        r1_every: int = Field(
            16, ge=1, description="steps from one penalty, with so many times the weight, to the next"
        )
        ema_half_life: float = Field(10_000, gt=0, description="of the generator's average, in images")
        generator_learning_rate: float = Field(2e-3, gt=0, description="of Adam")
        discriminator_learning_rate: float = Field(2e-3, gt=0, description="of Adam")
        q_learning_rate: float = Field(1e-3, gt=0, description="of Adam, for Q and what is fitted post hoc")
        post_hoc_epochs: int = Field(5, ge=1, description="passes in which Q and the encoder are fitted to samples")

        @model_validator(mode="after")
        def _there_is_a_code(self) -> "InfoStyleGAN.Config":
            if self.continuous == 0 and not self.categorical:
                raise ValueError("there is no code: set continuous or categorical")
            return self

        def unused(self) -> Mapping[str, str]:
            """How often there is a penalty that weighs nothing."""
            own = {} if self.r1_gamma else {"r1_every": "r1_gamma is 0"}
            return {**super().unused(), **own}

    config: Config
    name = "infostylegan"
    presets = PRESETS

    @classmethod
    def suits(cls, info: DataInfo) -> str | None:
        """Whether images are squares of 16, 32, 64 or 128 pixels, or of 28, with one channel or three."""
        if info.channels not in (1, 3):
            return f"its images have 1 or 3 channels, not {info.channels}"
        if info.height != info.width or PADDED.get(info.height, info.height) not in SIDES:
            return (
                f"its networks are for squares of 16, 28, 32, 64 or 128 pixels, not {info.width}x{info.height}: where "
                "the dataset has an option image_size, set it"
            )
        return None

    def build(self, info: DataInfo) -> None:
        """Make the networks.

        Raises:
            LatentbenchError: the images do not suit it, or are fewer than a batch.
        """
        config = self.config
        if reason := self.suits(info):
            raise LatentbenchError(f"model '{self.name}': {reason}")
        if info.train_size < config.batch_size:
            raise LatentbenchError(
                f"model '{self.name}': {info.train_size} training images are fewer than a batch of {config.batch_size}",
                "set a smaller batch_size",
            )
        self.codes = Codes(config.continuous, config.categorical)
        size, channels = PADDED.get(info.height, info.height), info.channels
        self.margin = (size - info.height) // 2
        self.generator = Generator(
            size,
            channels,
            self.codes,
            z=config.z_dim,
            style=config.style_dim,
            width=config.width,
            widest=config.widest,
            injection=config.code_injection,
        )
        self.discriminator = Discriminator(size, channels, config.width, config.widest)
        features = self.discriminator.trunk.features
        self.q_trunk = Trunk(size, channels, config.width, config.widest) if config.q_head == "separate" else None
        self.q = QHead(features, self.codes.outputs)
        self.average = deepcopy(self.generator).requires_grad_(False)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam for each network; for Q also of the trunk that it reads, with clipped gradients.

        Q has an Adam of its own: through that of the discriminator, with beta 1 = 0, the likelihood of a Gaussian of
        learned variance ended trainings. As Adam's steps do not depend on the scale of a loss, lambda acts on the
        generator alone.
        """
        config = self.config
        if self.progress.phase == POST_HOC:
            return {"q": self._adam(config.q_learning_rate, self.q, *filter(None, [self.q_trunk]))}
        found = {
            "discriminator": self._adam(config.discriminator_learning_rate, self.discriminator),
            "generator": self._adam(config.generator_learning_rate, self.generator),
        }
        if config.mi:
            found["q"] = self._adam(config.q_learning_rate, self.q, self.q_trunk or self.discriminator.trunk)
            found["q"].register_step_pre_hook(_clip)
        return found

    def fit(self, train: Split, validation: Split | None, trainer: "Trainer") -> None:
        """Train in the harness's loop; then fit Q to samples of the averaged generator."""
        trainer.fit(self, train, validation, budget_share=MAIN_SHARE)
        trainer.fit(self, train, None, phase=POST_HOC, epochs=self.config.post_hoc_epochs)

    def training_step(self, batch: Batch) -> Iterator[tuple[str, Losses]]:
        """One update of each network: of the discriminator, of the generator, and of Q if lambda > 0."""
        config, count = self.config, len(batch.images)
        if self.progress.phase == POST_HOC:
            yield from self.post_hoc_step(count)
            return
        z, c = self.draw(count)
        fake = self.generator(z, c)
        yield "discriminator", self.discrimination(self.inside(batch.images), fake.detach())

        maps = self.discriminator.trunk(fake)
        adversarial = softplus(-self.discriminator.judge(maps)).mean()
        if not config.mi:
            yield "generator", adversarial
            return
        outputs = self.q(maps if self.q_trunk is None else self.q_trunk(fake))
        loss = adversarial - config.mi * self.codes.log_q(outputs, c).sum(1).mean()
        yield "generator", {"loss": loss, "adversarial": adversarial}

        outputs = self.read(fake.detach())
        log_q = self.codes.log_q(outputs, c).sum(1).mean()
        yield "q", {"loss": -log_q, "information": log_q + self.codes.entropy}

    def discrimination(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """The logistic loss of real and generated images, each (B, C, size, size), and in some steps the penalty R1."""
        config = self.config
        maps = self.discriminator.trunk(torch.cat([real, fake]))
        of_real, of_fake = (self.discriminator.judge(part) for part in maps.chunk(2))
        loss = softplus(of_fake).mean() + softplus(-of_real).mean()
        if config.r1_gamma == 0 or self.progress.step % config.r1_every:
            return {"loss": loss}
        r1 = self.penalty(real)
        return {"loss": loss + config.r1_every * config.r1_gamma / 2 * r1, "r1": r1}

    def penalty(self, real: Tensor) -> Tensor:
        """R1, (): the mean of |grad_x D(x)|^2 over real images (Mescheder et al., ICML 2018, eq. 9), in float32."""
        with torch.enable_grad(), torch.autocast(real.device.type, enabled=False):
            x = real.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.discriminator(x).sum(), x, create_graph=True)
            return gradient.square().sum((1, 2, 3)).mean()

    def post_hoc_step(self, count: int) -> Iterator[tuple[str, Losses]]:
        """Q is fitted to samples of the averaged generator, and the trunk that it shares with D is left as it is."""
        z, c = self.draw(count)
        with torch.no_grad():
            fake = self.average(z, c)
            maps = self.discriminator.trunk(fake) if self.q_trunk is None else None
        outputs = self.q(maps if self.q_trunk is None else self.q_trunk(fake))
        log_q = self.codes.log_q(outputs, c).sum(1).mean()
        yield "q", {"loss": -log_q, "information": log_q + self.codes.entropy}

    def after_update(self, optimizer: str) -> None:
        """The average follows the generator, buffers included, with the half-life in images of ``ema_half_life``."""
        if optimizer != "generator":
            return
        batch = self.config.batch_size
        half_life = min(self.config.ema_half_life, EMA_RAMP * batch * (self.progress.step + 1))
        follow = 1 - 0.5 ** (batch / half_life)
        torch._foreach_lerp_([*self.average.parameters()], [*self.generator.parameters()], follow)
        for average, current in zip(self.average.buffers(), self.generator.buffers(), strict=True):
            average.copy_(current)

    def validate(self, split: Split, trainer: "Trainer") -> None:
        """Nothing: the losses of a GAN do not tell how good it is."""

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        """Noise z ~ N(0, I), (count, z_dim), and codes c of the prior, (count, D)."""
        device = self.generator.constant.device
        return torch.randn(count, self.config.z_dim, device=device), self.codes.draw(count, device)

    def inside(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] -> (B, C, size, size) in [-1, 1], padded with black."""
        return pad(2 * images - 1, [self.margin] * 4, value=-1.0)

    def outside(self, images: Tensor) -> Tensor:
        """(B, C, size, size), about [-1, 1] -> (B, C, H, W) in [0, 1], in float32."""
        height, width = self.info.height, self.info.width
        cropped = images[:, :, self.margin : self.margin + height, self.margin : self.margin + width]
        return (cropped.float() / 2 + 0.5).clamp(0, 1)

    def read(self, x: Tensor) -> Tensor:
        """(B, outputs): what Q says of the codes of images x, (B, C, size, size)."""
        trunk = self.discriminator.trunk if self.q_trunk is None else self.q_trunk
        outputs: Tensor = self.q(trunk(x))
        return outputs

    def encode(self, images: Tensor) -> Tensor:
        """(B, D): the means of q(c | x), for a categorical code the probabilities of its values."""
        return self.codes.mean(self.read(self.inside(images)))

    def sample(self, count: int, codes: Tensor | None = None) -> Tensor:
        """(count, C, H, W) in [0, 1]: images of the averaged generator.

        Args:
            count: images to draw.
            codes: (count, D) as ``encode`` gives them. The nearest possible codes are taken: continuous ones in
                [-1, 1], and of categorical ones the most probable value.
        """
        z, c = self.draw(count)
        return self.outside(self.average(z, c if codes is None else self.codes.nearest(codes)))

    def _adam(self, rate: float, *networks: nn.Module) -> torch.optim.Optimizer:
        parameters = [parameter for network in networks for parameter in network.parameters()]
        return torch.optim.Adam(parameters, rate, betas=BETAS, fused=True)


def _clip(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Scale the gradients of an update of Q down to the largest norm, before it is made."""
    clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], Q_GRADIENT)
