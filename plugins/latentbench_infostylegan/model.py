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

L has its weight in the generator's loss alone: Q and the trunk that it reads are fitted to -L by an Adam of their own,
whose steps do not depend on the scale of a loss. With lambda = 0 the head of Q is fitted after the training.

Only the abstract was at hand. Everything else is an option, with a default of ours; README.md says which.
"""

import logging
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from pydantic import Field, NonNegativeInt, model_validator
from torch import Tensor, nn
from torch.nn.functional import pad, softplus
from torch.nn.utils import clip_grad_norm_, get_total_norm

from latentbench import Batch, DataInfo, LatentbenchError, Losses, Model, Split, TrainingOptions
from latentbench_infostylegan.codes import Codes
from latentbench_infostylegan.measures import deviation, recovered, recovered_names
from latentbench_infostylegan.network import Discriminator, Generator, Injection, QHead, Trunk, pixel_norm
from latentbench_infostylegan.pictures import ACROSS, walks
from latentbench_infostylegan.presets import PRESETS
from latentbench_infostylegan.scores import Readings, Scores

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
#: Images that are passed through the networks at a time after training.
AT_ONCE = 64
#: Images that variation is measured on: so many codes, with so many z each.
CODES, EACH = 32, 8
#: Below this share of the variation of real images, there is a warning: of all samples, and of those of one code, whose
#: variation is held against that of real images of one class.
COLLAPSED = 0.25
#: From this accuracy of the discriminator on, there is a warning.
WON = 0.99
#: Samples from which the best are shown.
SHOWN_OF = 256

log = logging.getLogger("latentbench")

#: How much pixels vary: over training images, over samples, and over those of one code.
VARIATION = ("variation_of_images", "variation_of_samples", "variation_of_one_code")

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
        reader_steps: int = Field(
            400, ge=1, description="steps of the networks that measure, at the end, what images show of the codes"
        )
        references: int = Field(5000, ge=20, description="training images that the detectors are fitted to, at most")
        compiled: bool = Field(False, description="compile generator and trunk for the training, which suits a GPU")

        @model_validator(mode="after")
        def _there_are_codes_and_channels(self) -> "InfoStyleGAN.Config":
            if self.continuous == 0 and not self.categorical:
                raise ValueError("there is no code: set continuous or categorical")
            if self.width > self.widest:
                raise ValueError(
                    f"width is {self.width}, and no resolution has more channels than widest, {self.widest}: raise "
                    "widest or lower width"
                )
            return self

        def unused(self) -> Mapping[str, str]:
            """How often there is a penalty that weighs nothing."""
            own = {} if self.r1_gamma else {"r1_every": "r1_gamma is 0"}
            return {**super().unused(), **own}

    config: Config
    measured: Tensor
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
        self.latents = Codes(config.z_dim + config.continuous, config.categorical)
        self.encoder = nn.Sequential(
            Trunk(size, channels, config.width, config.widest), QHead(features, self.latents.outputs)
        )
        self.scores = Scores(self.codes, features, min(config.references, info.train_size))
        #: The attribute within whose values the variation of real images is measured, if there is one.
        self.label = next(iter(info.attributes), None)
        self.names = ["information", *recovered_names(self.codes), *VARIATION, "discriminator_accuracy"]
        if self.label is not None:
            self.names.append(f"variation_of_one_{self.label}")
        self.register_buffer("measured", torch.zeros(len(self.names)))
        #: The losses of the update that is being made, to which the norm of its gradient is added.
        self._update: dict[str, Tensor] = {}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam for each network; for Q also of the trunk that it reads, with clipped gradients.

        Q has an Adam of its own: through that of the discriminator, with beta 1 = 0, the likelihood of a Gaussian of
        learned variance ended trainings. As Adam's steps do not depend on the scale of a loss, lambda acts on the
        generator alone.
        """
        config = self.config
        if self.progress.phase == POST_HOC:
            return {
                "q": self._adam(config.q_learning_rate, self.q, *filter(None, [self.q_trunk])),
                "encoder": self._adam(config.q_learning_rate, self.encoder),
            }
        found = {
            "discriminator": self._adam(config.discriminator_learning_rate, self.discriminator),
            "generator": self._adam(config.generator_learning_rate, self.generator),
        }
        if config.mi:
            found["q"] = self._adam(config.q_learning_rate, self.q, self.q_trunk or self.discriminator.trunk)
        for name, optimizer in found.items():
            optimizer.register_step_pre_hook(self._clip if name == "q" else self._watch)
        return found

    def fit(self, train: Split, validation: Split | None, trainer: "Trainer") -> None:
        """Train in the harness's loop; fit Q and the encoder to samples of the average; fit the detectors, and measure.

        Q was trained beside a generator that moved, and the encoder was not. The detectors see training images alone.
        """
        if self.config.compiled:
            self.generator.compile()
            self.discriminator.trunk.compile()
        trainer.fit(self, train, validation, budget_share=MAIN_SHARE)
        trained = self.progress.step > 0
        trainer.fit(self, train, None, phase=POST_HOC, epochs=self.config.post_hoc_epochs)
        self.eval()
        with torch.no_grad():
            self._fit_detectors(train, trainer)
            self._measure(train, trainer)
            if trained:
                self._warn()

    def training_step(self, batch: Batch) -> Iterator[tuple[str, Losses]]:
        """One update of each network: of the discriminator, of the generator, and of Q if lambda > 0.

        Beside its losses, the norm of its gradient is reported, that of Q as it is before it is clipped.
        """
        config, count = self.config, len(batch.images)
        if self.progress.phase == POST_HOC:
            yield from self.post_hoc_step(count)
            return
        z, c = self.draw(count)
        fake = self.generator(z, c)
        self._update = self.discrimination(self.inside(batch.images), fake.detach())
        yield "discriminator", self._update

        maps = self.discriminator.trunk(fake)
        adversarial = softplus(-self.discriminator.judge(maps)).mean()
        if not config.mi:
            self._update = {"loss": adversarial}
            yield "generator", self._update
            self._update = {}
            return
        outputs = self.q(maps if self.q_trunk is None else self.q_trunk(fake))
        loss = adversarial - config.mi * self.codes.mean_log_q(outputs, c)
        self._update = {"loss": loss, "adversarial": adversarial}
        yield "generator", self._update

        outputs = self.read(fake.detach())
        mean_log_q = self.codes.mean_log_q(outputs, c)
        self._update = {"loss": -mean_log_q, "information": mean_log_q + self.codes.entropy}
        yield "q", self._update
        self._update = {}

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
            maps = self.discriminator.trunk.forward(x)  # not what was compiled, which has no second derivative
            (gradient,) = torch.autograd.grad(self.discriminator.judge(maps).sum(), x, create_graph=True)
            return gradient.square().sum((1, 2, 3)).mean()

    def post_hoc_step(self, count: int) -> Iterator[tuple[str, Losses]]:
        """Q and the encoder are fitted to samples of the averaged generator; all else is left as it is.

        The encoder learns z, normalised as the generator sees it, and c, by the likelihood by which Q learns c.
        """
        z, c = self.draw(count)
        with torch.no_grad():
            fake = self.average(z, c)
            maps = self.discriminator.trunk(fake) if self.q_trunk is None else None
        outputs = self.q(maps) if self.q_trunk is None else self.q(self.q_trunk(fake))
        mean_log_q = self.codes.mean_log_q(outputs, c)
        yield "q", {"loss": -mean_log_q, "information": mean_log_q + self.codes.entropy}
        latents = torch.cat([pixel_norm(z), c], 1)
        yield "encoder", -self.latents.mean_log_q(self.encoder(fake), latents)

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

    def reconstruct(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1]: what the averaged generator makes, without noise, of the encoder's z and c."""
        latents = self.latents.mean(self.encoder(self.inside(images)))
        z, c = latents[:, : self.config.z_dim], latents[:, self.config.z_dim :]
        return self.outside(self.average(z, self.codes.nearest(c), noisy=False))

    def score(self, images: Tensor) -> dict[str, Tensor]:
        """Anomaly scores by name, each (B,); which they are is said in ``scores``."""
        rebuilt = self.reconstruct(images)
        scores: dict[str, Tensor] = self.scores(images, rebuilt, self.readings(images), self.readings(rebuilt))
        return scores

    def readings(self, images: Tensor) -> Readings:
        """What trunk, Q and D say of images, (B, C, H, W) in [0, 1], in eval mode of each by itself."""
        x = self.inside(images)
        maps = self.discriminator.trunk(x)
        outputs = self.q(maps if self.q_trunk is None else self.q_trunk(x))
        return Readings(maps.mean((2, 3)), outputs, self.discriminator.judge(maps))

    def facts(self) -> dict[str, float]:
        """What was measured after training, on new samples of the averaged generator and on training images.

        - ``information``: the bound E log q(c | x) + H(c) of Q, in nats.
        - ``recovered_...``: what networks of another architecture read, from sharp and from blurred samples; see
          ``measures``.
        - ``variation_...``: the standard deviation of a pixel over training images, over those of one value of the
          first attribute if there is one, over samples, and over samples of one code, of which z alone differs. Samples
          are without noise here.
        - ``discriminator_accuracy``: the share of training images and samples that D judges rightly. At .5 it
          guesses; at 1 it has won, and the generator learns nothing more from it.
        """
        return dict(zip(self.names, self.measured.tolist(), strict=True))

    def generated_pictures(self) -> dict[str, Tensor]:
        """``traversals``: a walk along each code in a row; ``one-code``: a row of different z for each of some codes.

        And ``best-samples``: those of 256 that D takes for real the most. All (rows, ACROSS, C, H, W).
        """
        z, c = self.draw(1)
        along = walks(self.codes, c[0])
        walked = self._without_noise(z.expand(len(along), -1), along)
        z, c = self.draw(ACROSS**2)
        one_code = self._without_noise(z, c[:ACROSS].repeat_interleave(ACROSS, 0))
        samples = torch.cat([self.sample(AT_ONCE) for _ in range(SHOWN_OF // AT_ONCE)])
        logits = torch.cat([self.readings(part).logit for part in torch.split(samples, AT_ONCE)])
        best = samples[logits.argsort(descending=True, stable=True)[: ACROSS**2]]
        sheets = {"traversals": walked, "one-code": one_code, "best-samples": best}
        return {name: sheet.reshape(-1, ACROSS, *sheet.shape[1:]) for name, sheet in sheets.items()}

    def _fit_detectors(self, train: Split, trainer: "Trainer") -> None:
        """Fit the detectors to a random choice of training images; before, set the typical minibatch deviation."""
        order = torch.randperm(len(train), generator=trainer.generator, device=trainer.device)
        batches = self._batches(train, order[: self.config.references], trainer)
        trunk, among = self.discriminator.trunk, self.discriminator.deviation
        groups = [among.of_groups(trunk(self.inside(batch.images))) for batch in batches if len(batch.images) > 1]
        among.typical.copy_(torch.cat(groups).mean())
        self.scores.fit(Readings.joined([self.readings(batch.images) for batch in batches]))

    def _measure(self, train: Split, trainer: "Trainer") -> None:
        """Fill ``measured``, in the order of ``names``."""
        order = torch.randperm(len(train), generator=trainer.generator, device=trainer.device)
        batches = self._batches(train, order[: CODES * EACH], trainer)
        images = torch.cat([batch.images for batch in batches])
        z, c = self.draw(CODES * EACH)
        code = torch.arange(CODES * EACH, device=trainer.device) // EACH
        samples = self._without_noise(z, c)
        of_codes = self._without_noise(z, c[:CODES].repeat_interleave(EACH, 0))
        outputs = torch.cat([self.readings(part).outputs for part in torch.split(samples, AT_ONCE)])
        right = [
            sign * self.readings(part).logit > 0
            for sign, of in ((1, images), (-1, samples))
            for part in torch.split(of, AT_ONCE)
        ]
        values = [
            self.codes.mean_log_q(outputs, c) + self.codes.entropy,
            *recovered(self.codes, self._sample_with_codes, self.config.reader_steps),
            *(deviation(images), deviation(samples), deviation(of_codes, code)),
            torch.cat(right).float().mean(),
        ]
        if self.label is not None:
            values.append(deviation(images, torch.cat([batch.attributes[self.label] for batch in batches])))
        self.measured.copy_(torch.stack(values))

    def _warn(self) -> None:
        """Say so if samples are nearly alike, or those of one code are, or if the discriminator has won."""
        config, facts = self.config, self.facts()
        if (accuracy := facts["discriminator_accuracy"]) >= WON:
            log.warning(
                "model '%s': the discriminator has won: it judges %.1f %% of training images and samples rightly, and "
                "the generator learns nothing more from it: raise r1_gamma%s",
                *(self.name, 100 * accuracy, " or lower mi" if config.mi else ""),
            )
        real, samples, one_code = (facts[name] for name in VARIATION)
        if samples < COLLAPSED * real:
            log.warning(
                "model '%s' has collapsed: pixels vary by %.3f over samples, and by %.3f over training images: raise "
                "r1_gamma or lower the learning rates",
                *(self.name, samples, real),
            )
        elif one_code < COLLAPSED * (of_one := facts.get(f"variation_of_one_{self.label}", real)):
            log.warning(
                "model '%s': samples of one code are nearly alike: pixels vary by %.3f with z, and by %.3f over "
                "training images%s: the codes leave little to z: %sgive fewer codes",
                *(self.name, one_code, of_one, "" if self.label is None else f" of one {self.label}"),
                "lower mi or " if config.mi else "",
            )

    def _sample_with_codes(self, count: int) -> tuple[Tensor, Tensor]:
        """Images (count, C, H, W) in [0, 1] of the averaged generator, and their codes (count, D)."""
        z, c = self.draw(count)
        with torch.no_grad():
            return self.outside(self.average(z, c)), c

    def _without_noise(self, z: Tensor, c: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] of the averaged generator for z (N, z_dim) and c (N, D)."""
        parts = zip(torch.split(z, AT_ONCE), torch.split(c, AT_ONCE), strict=True)
        return torch.cat([self.outside(self.average(*part, noisy=False)) for part in parts])

    def _batches(self, split: Split, index: Tensor, trainer: "Trainer") -> list[Batch]:
        """The images of a split at these places, in batches."""
        return [split.batch(part, trainer.generator) for part in torch.split(index, AT_ONCE)]

    def _adam(self, rate: float, *networks: nn.Module) -> torch.optim.Optimizer:
        parameters = [parameter for network in networks for parameter in network.parameters()]
        return torch.optim.Adam(parameters, rate, betas=BETAS, fused=True)

    def _watch(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        """Report the norm of the gradient with the losses of the update that is about to be made."""
        self._update["gradient_norm"] = get_total_norm([p.grad for p in _parameters(optimizer) if p.grad is not None])

    def _clip(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        """As ``_watch``, and scale the gradient down to the largest norm of an update of Q."""
        self._update["gradient_norm"] = clip_grad_norm_(_parameters(optimizer), Q_GRADIENT)


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
