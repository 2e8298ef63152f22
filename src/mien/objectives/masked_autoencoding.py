"""Masked facial video autoencoding (SVFAP, Sun et al. 2024; VideoMAE, Tong et al. 2022).

Hide 90 % of a clip in tubes, encode the rest, let a small decoder guess the hidden patches' pixels from it.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from mien.config import STRICT, Depth, Ratio, Width
from mien.interfaces import Batch, Encoder, Objective
from mien.modules.layers import Block, LayerNorm, divide_exactly, patchify, take, unpatchify, xavier
from mien.modules.masks import MASKS, Mask
from mien.modules.pixels import Pixels, PixelsConfig
from mien.modules.positions import sinusoid


@dataclass(frozen=True, config=STRICT)
class MaskedAutoencodingConfig:
    """Predict the pixels of hidden patches (SVFAP, VideoMAE); the defaults are SVFAP's."""

    name: Literal["masked_autoencoding"] = "masked_autoencoding"
    mask: Literal["tube", "random"] = "tube"
    """tube hides the same sites in all frames; random hides patches anywhere (ViT only)."""
    mask_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """Share of the patches that is hidden."""
    decoder_dim: Width = 384
    """Width of the decoder."""
    decoder_heads: Width = 6
    """Attention heads of the decoder."""
    decoder_depth: Depth = 4
    """Blocks of the decoder."""
    decoder_mlp_ratio: Ratio = 4.0
    """Hidden width of the decoder's feed-forward layers over its width."""
    normalize_target: bool = True
    """Predict pixels normalised by the mean and deviation of their own patch."""

    def build(self, encoder: Encoder, pixels: PixelsConfig) -> MaskedAutoencoding:
        """The objective around an encoder."""
        return MaskedAutoencoding(encoder, self, pixels)


class Decoder(nn.Module):
    """Transformer over visible and mask tokens that ends in the pixels of the hidden ones."""

    def __init__(self, config: MaskedAutoencodingConfig, out: int) -> None:
        super().__init__()
        dim, self.heads = config.decoder_dim, config.decoder_heads
        divide_exactly("objective.decoder_dim / decoder_heads", dim, self.heads)
        self.blocks = nn.ModuleList(
            Block(dim, self.heads, config.decoder_mlp_ratio) for _ in range(config.decoder_depth)
        )
        self.norm = LayerNorm(dim)
        self.head = nn.Linear(dim, out)

    def forward(self, x: Tensor, last: int) -> Tensor:
        """Tokens (B, N, dim) -> pixels (B, last, out) of the last ``last`` tokens."""
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x[:, -last:]))


class MaskedAutoencoding(Objective):
    """Batch with ``video`` and ``key`` -> mean squared error of the hidden patches' pixels (paper eq. 11)."""

    position: Tensor

    def __init__(self, encoder: Encoder, config: MaskedAutoencodingConfig, pixels: PixelsConfig) -> None:
        super().__init__()
        c = config
        if c.mask == "random" and not encoder.any_visible:
            raise ValueError(f"objective.mask random: {type(encoder).__name__} needs tubes; use --objective.mask tube")
        self.config, self.encoder, self.pixels = c, encoder, Pixels(pixels)
        t, h, w = encoder.patch
        self.encoder_norm = LayerNorm(encoder.dim)
        self.encoder_to_decoder = nn.Linear(encoder.dim, c.decoder_dim, bias=False)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, c.decoder_dim))
        self.decoder = Decoder(c, t * h * w * 3)
        positions = encoder.grid[0] * encoder.grid[1] * encoder.grid[2]
        self.register_buffer("position", sinusoid(positions, c.decoder_dim), persistent=False)
        for part in (self.encoder_to_decoder, self.decoder):
            part.apply(xavier)
        nn.init.trunc_normal_(self.mask_token, std=0.02, a=-0.02, b=0.02)

    @property
    def blocks(self) -> list[nn.Module]:
        return [*self.encoder.blocks, *self.decoder.blocks]

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        batch = batch if "visible" in batch else self.draw(batch)
        video, visible, hidden = self.pixels(batch["video"]), batch["visible"], batch["hidden"]
        prediction = self.reconstruct(video, visible, hidden)
        return {"loss": F.mse_loss(prediction.float(), self.target(video, hidden))}

    def draw(self, batch: Batch) -> Batch:
        """The batch with the patches that each clip shows and hides, ``visible`` (B, N) and ``hidden`` (B, M)."""
        visible, hidden = self.mask(batch["key"])
        return {**batch, "visible": visible, "hidden": hidden}

    def mask(self, keys: Tensor) -> Mask:
        """The masks that follow from keys (B,)."""
        return MASKS[self.config.mask](keys, self.encoder.grid, self.config.mask_ratio)

    def reconstruct(self, video: Tensor, visible: Tensor, hidden: Tensor) -> Tensor:
        """Normalised video (B, 3, T, H, W), mask -> predicted pixels (B, M, t*h*w*3) of the hidden patches.

        Tokens need no order in the decoder, attention has none; positions tell it where they are.
        """
        tokens = self.encoder_to_decoder(self.encoder_norm(self.encoder(video, visible)))  # B N D
        seen = tokens + self.position[visible]
        guessed = (self.mask_token + self.position[hidden]).to(seen.dtype)  # B M D
        return self.decoder(torch.cat([seen, guessed], dim=1), last=hidden.shape[1])

    def target(self, video: Tensor, hidden: Tensor) -> Tensor:
        """Pixels in [0, 1] of the hidden patches (B, M, t*h*w*3), normalised per patch and channel."""
        patches = take(patchify(video, self.encoder.patch, channels_first=False), hidden)
        values = self.pixels.to_unit(patches.unflatten(-1, (-1, 3)), channels=-1)  # B M t*h*w 3
        if not self.config.normalize_target:
            return values.flatten(2)
        std, mean = torch.std_mean(values, dim=2, keepdim=True)
        return ((values - mean) / (std + 1e-6)).flatten(2)

    @torch.no_grad()
    def picture(self, batch: Batch) -> dict[str, Tensor]:
        """Clips (B, 3, T, H, W) in [0, 1] to look at: original, what the encoder saw, and the reconstruction.

        Where targets are normalised the reconstruction borrows each hidden patch's own mean and deviation.
        """
        video = self.pixels(batch["video"])
        visible, hidden = self.mask(batch["key"])
        original = self.pixels.to_unit(video)
        patches = patchify(original, self.encoder.patch, channels_first=False)
        guess = self.reconstruct(video, visible, hidden).float().unflatten(-1, (-1, 3))
        if self.config.normalize_target:
            std, mean = torch.std_mean(take(patches, hidden).unflatten(-1, (-1, 3)), dim=2, keepdim=True)
            guess = guess * (std + 1e-6) + mean
        where = hidden.unsqueeze(-1).expand(-1, -1, patches.shape[-1])
        masked = patches.scatter(1, where, 0.5)
        filled = patches.scatter(1, where, guess.flatten(2))
        show = {"masked": masked, "reconstructed": filled}
        return {"original": original} | {
            name: unpatchify(value, self.encoder.patch, self.encoder.grid).clamp(0, 1) for name, value in show.items()
        }


HEADS = {192: 3, 384: 6, 512: 8, 640: 8}
"""Attention heads of the decoders of VideoMAE (S, B, L and V2, H) and SVFAP (384) by width."""


def convert(official: dict[str, Tensor]) -> dict[str, Tensor]:
    """What an official SVFAP or VideoMAE pre-training checkpoint holds besides the encoder -> the names here."""
    renamed = {key.replace("encoder.norm.", "encoder_norm."): value for key, value in official.items()}
    return {key: value for key, value in renamed.items() if not key.startswith("encoder.")}
