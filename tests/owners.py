"""Weights of others as their owners publish them, from networks written here in plain torch or taken from transformers.

Nothing of ``mien`` is used, so that what it makes of a file can be held against what the file's own network gives.
``tests/models/test_layouts_of_others.py`` does so at small sizes, ``benchmarks/layouts.py`` at published ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import VideoMAEConfig, VideoMAEForVideoClassification, VideoMAEModel, VJEPA2Config, VJEPA2Model


@dataclass(frozen=True)
class Size:
    """What of a network no layout decides."""

    dim: int
    heads: int
    depth: int
    hidden: int
    patch: int = 16
    frames: int = 4
    side: int = 64
    classes: int = 3


@dataclass(frozen=True)
class Published:
    """A file or folder of weights, and what its own network makes of a clip."""

    path: Path
    video: Tensor
    """Normalised (B, 3, T, H, W)."""
    outputs: Tensor
    read: str
    """What ``outputs`` are: tokens, features (tokens for a head), pooled (one vector per clip) or probabilities."""
    flags: tuple[str, ...] = ()
    """Options that mien convert needs for it, besides those of its size."""


@dataclass(frozen=True)
class Layout:
    """A way in which weights are published."""

    checked_against: str
    """Whose network gives the outputs: transformers, or plain torch written here."""
    write: Callable[[Path, Size], Published]
    small: Size
    published: Size
    """A size of its owners; of the largest with fewer blocks, so that it fits into memory."""
    name: str
    """Of the published size."""


class Block(nn.Module):
    """Pre-norm block of a vision transformer, under the names that VideoMAE, MARLIN and V-JEPA have in common."""

    def __init__(self, size: Size, eps: float, key_bias: bool) -> None:
        super().__init__()
        dim, self.heads = size.dim, size.heads
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps), nn.LayerNorm(dim, eps)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(dim, 3 * dim, bias=key_bias), "proj": nn.Linear(dim, dim)})
        for name in () if key_bias else ("q_bias", "v_bias"):
            self.attn.register_parameter(name, nn.Parameter(torch.zeros(dim)))
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(dim, size.hidden), "fc2": nn.Linear(size.hidden, dim)})

    def forward(self, x: Tensor, turns: Tensor | None = None) -> Tensor:
        """Tokens (B, N, dim); turns (N, pairs of a head) are complex numbers that pairs of channels are multiplied with."""
        qkv, own = self.attn["qkv"](self.norm1(x)), dict(self.attn.named_parameters())
        if "q_bias" in own:
            qkv = qkv + torch.cat([own["q_bias"], 0 * own["q_bias"], own["v_bias"]])
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in qkv.chunk(3, dim=2))  # B h N d
        if turns is not None:
            q, k = turned(q, turns), turned(k, turns)
        mixed = torch.softmax(q @ k.transpose(2, 3) / q.shape[-1] ** 0.5, dim=-1) @ v
        x = x + self.attn["proj"](mixed.transpose(1, 2).flatten(2))
        return x + self.mlp["fc2"](nn.functional.gelu(self.mlp["fc1"](self.norm2(x))))


def turned(x: Tensor, turns: Tensor) -> Tensor:
    """Neighbouring channels of (B, heads, N, d) as complex numbers, times ``turns``; the channels beyond stay."""
    width = 2 * turns.shape[1]
    pairs = torch.view_as_complex(x[..., :width].unflatten(-1, (-1, 2)).contiguous())
    return torch.cat([torch.view_as_real(pairs * turns).flatten(-2), x[..., width:]], dim=-1)


class Network(nn.Module):
    """Patches, and blocks."""

    def __init__(self, size: Size, eps: float = 1e-6, key_bias: bool = False) -> None:
        super().__init__()
        corner = (2, size.patch, size.patch)
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv3d(3, size.dim, corner, stride=corner)})
        self.blocks = nn.ModuleList(Block(size, eps, key_bias) for _ in range(size.depth))

    def embed(self, video: Tensor) -> Tensor:
        """Video (B, 3, T, H, W) -> one token per patch (B, N, dim), without positions."""
        return self.patch_embed["proj"](video).flatten(2).transpose(1, 2)

    def tokens(self, video: Tensor) -> Tensor:
        """What VideoMAE and MARLIN make of it before any last norm."""
        x = self.embed(video)
        x = x + sinusoid(x.shape[1], x.shape[2])
        for block in self.blocks:
            x = block(x)
        return x


def sinusoid(places: int, dim: int) -> Tensor:
    """Sine on even and cosine on odd channels of place / 10000^(2 floor(channel / 2) / dim)."""
    channel = np.arange(dim)
    angles = np.arange(places)[:, None] / 10000 ** (2 * (channel // 2) / dim)
    return torch.from_numpy(np.where(channel % 2 == 0, np.sin(angles), np.cos(angles))).float()


@torch.no_grad()
def stirred(network: nn.Module) -> nn.Module:
    """The same with weights of which every one matters, and with outputs of moderate size."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in network.named_parameters():
        if parameter.dim() < 2:
            centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            parameter.copy_(centre + 0.1 * torch.randn(parameter.shape, generator=generator))
        else:
            scale = parameter[0].numel() ** -0.5
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    return network.eval()


def clip(size: Size) -> Tensor:
    """A normalised clip of noise."""
    return torch.randn(1, 3, size.frames, size.side, size.side, generator=torch.Generator().manual_seed(1))


def names_of(network: nn.Module, *renamed: tuple[str, str]) -> dict[str, Tensor]:
    """A network's weights, with parts of their names replaced."""
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    for ours, theirs in renamed:
        weights = {name.replace(ours, theirs): value for name, value in weights.items()}
    return weights


@torch.no_grad()
def marlin_tensors(size: Size) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """MARLIN's encoder in its names; a clip; the norm of the mean token."""
    network = stirred(Network(size, eps=1e-5))
    network.norm = nn.LayerNorm(size.dim, 1e-5)
    stirred(network.norm)
    assert isinstance(network, Network)
    video = clip(size)
    weights = names_of(
        network,
        ("patch_embed.proj", "patch_embedding.projection"),
        ("mlp.fc1", "mlp.layers.0.linear"),
        ("mlp.fc2", "mlp.layers.1.linear"),
    )
    weights["pos_embedding.emb"] = sinusoid((size.frames // 2) * (size.side // size.patch) ** 2, size.dim)[None]
    return weights, video, network.norm(network.tokens(video).mean(dim=1))


def marlin_encoder(folder: Path, size: Size) -> Published:
    """``.encoder.pt``: the encoder alone."""
    weights, video, pooled = marlin_tensors(size)
    torch.save({f"encoder.{name}": value for name, value in weights.items()}, folder / "marlin.encoder.pt")
    return Published(folder / "marlin.encoder.pt", video, pooled, "pooled")


def marlin_full(folder: Path, size: Size) -> Published:
    """``.full.pt``: encoder and decoder."""
    weights, video, pooled = marlin_tensors(size)
    rest = {"enc_dec_proj.weight": torch.zeros(8, size.dim), "decoder.norm.weight": torch.ones(8)}
    torch.save({f"encoder.{name}": value for name, value in weights.items()} | rest, folder / "marlin.full.pt")
    return Published(folder / "marlin.full.pt", video, pooled, "pooled")


def marlin_hub(folder: Path, size: Size) -> Published:
    """The hub's folder."""
    weights, video, pooled = marlin_tensors(size)
    save_file({f"marlin.encoder.{name}": value for name, value in weights.items()}, folder / "model.safetensors")
    return Published(folder, video, pooled, "pooled")


@torch.no_grad()
def videomae_2(folder: Path, size: Size) -> Published:
    """A fine-tuned VideoMAE V2 in half precision."""
    network = Network(size)
    network.fc_norm, network.head = nn.LayerNorm(size.dim, 1e-6), nn.Linear(size.dim, size.classes)
    stirred(network).half().float()
    video = clip(size)
    torch.save({"module": {name: value.half() for name, value in names_of(network).items()}}, folder / "vit.pth")
    assert isinstance(network.fc_norm, nn.Module)
    assert isinstance(network.head, nn.Module)
    outputs = network.head(network.fc_norm(network.tokens(video).mean(dim=1))).softmax(1)
    flags = ("--names", *(f"class {number}" for number in range(size.classes)))
    return Published(folder / "vit.pth", video, outputs, "probabilities", flags)


class SecondPointOne(Network):
    """V-JEPA 2.1: interleaved rotary positions on a grid of 16 x 16, a norm after each of four levels."""

    def __init__(self, size: Size, levels: tuple[int, ...]) -> None:
        super().__init__(size, key_bias=True)
        self.size, self.levels = size, levels
        self.norms_block = nn.ModuleList(nn.LayerNorm(size.dim, 1e-6) for _ in levels)
        self.patch_embed_img = nn.ModuleDict({"proj": nn.Conv3d(3, size.dim, (1, size.patch, size.patch))})
        self.video_mod_embed, self.img_mod_embed = (nn.Parameter(torch.zeros(1, 1, size.dim)) for _ in range(2))

    def turns(self, times: int, rows: int, columns: int) -> Tensor:
        """Complex numbers of modulus 1 per patch and pair of channels: a third each for time, row and column."""
        pairs = self.size.dim // self.size.heads // 3 // 2
        omega = 10000.0 ** -(np.arange(pairs) / pairs)
        table = []
        for t in range(times):
            for row in range(rows):
                for column in range(columns):
                    places = (t, row * 15 / (rows - 1), column * 15 / (columns - 1))
                    table.append(np.concatenate([np.exp(1j * place * omega) for place in places]))
        return torch.from_numpy(np.stack(table)).to(torch.complex64)

    def forward(self, video: Tensor) -> list[Tensor]:
        """The normed tokens of every level."""
        grid = (video.shape[2] // 2, video.shape[3] // self.size.patch, video.shape[4] // self.size.patch)
        x, kept = self.embed(video) + self.video_mod_embed, []
        for number, block in enumerate(self.blocks):
            x = block(x, self.turns(*grid))
            if number in self.levels:
                kept.append(self.norms_block[self.levels.index(number)](x))
        return kept


PLACES = {4: (0, 1, 2, 3), 12: (2, 5, 8, 11), 24: (5, 11, 17, 23), 40: (9, 19, 29, 39), 48: (11, 23, 37, 47)}
"""Blocks after which V-JEPA 2.1 has a norm, by depth; of 4 blocks none is published."""


@torch.no_grad()
def vjepa_2_1(folder: Path, size: Size, every: bool = False) -> Published:
    """A distilled V-JEPA 2.1, whose teacher lies in the same file."""
    network = SecondPointOne(size, PLACES[size.depth])
    stirred(network)
    for embedding in (network.video_mod_embed, network.img_mod_embed):
        nn.init.normal_(embedding)
    weights = {f"module.backbone.{name}": value for name, value in names_of(network).items()}
    others = {name: value * 0 for name, value in list(weights.items())[:4]}  # what must not be taken
    tree = {"encoder": others, "ema_encoder": weights, "target_encoder": {"module.x": torch.zeros(1)}, "epoch": 3}
    torch.save(tree | {"predictor": {}}, folder / "vjepa2_1.pt")
    video = clip(size)
    levels = network(video)
    flags = ("--levels", "all") if every else ()
    return Published(folder / "vjepa2_1.pt", video, torch.cat(levels, 2) if every else levels[-1], "features", flags)


def vjepa_2_1_levels(folder: Path, size: Size) -> Published:
    """The same, all four levels side by side."""
    return vjepa_2_1(folder, size, every=True)


def videomae_settings(size: Size) -> VideoMAEConfig:
    """What transformers' VideoMAE is built from, with the eps that its weights were trained with."""
    settings = VideoMAEConfig(
        image_size=size.side, patch_size=size.patch, num_frames=size.frames, hidden_size=size.dim,
        num_attention_heads=size.heads, num_hidden_layers=size.depth, intermediate_size=size.hidden, layer_norm_eps=1e-6,
    )  # fmt: skip
    settings.num_labels = size.classes
    return settings


@torch.no_grad()
def videomae_folder(folder: Path, size: Size) -> Published:
    """transformers' VideoMAE."""
    network, video = VideoMAEModel(videomae_settings(size)), clip(size)
    stirred(network)
    network.save_pretrained(folder)
    return Published(folder, video, network(video.transpose(1, 2)).last_hidden_state, "tokens")


@torch.no_grad()
def videomae_classifier(folder: Path, size: Size) -> Published:
    """transformers' VideoMAE, fine-tuned."""
    network, video = VideoMAEForVideoClassification(videomae_settings(size)), clip(size)
    stirred(network)
    network.save_pretrained(folder)
    flags = ("--names", *(f"class {number}" for number in range(size.classes)))
    return Published(folder, video, network(video.transpose(1, 2)).logits.softmax(1), "probabilities", flags)


def vjepa_2_network(size: Size) -> VJEPA2Model:
    """transformers' V-JEPA 2."""
    settings = VJEPA2Config(
        patch_size=size.patch, crop_size=size.side, frames_per_clip=size.frames, hidden_size=size.dim,
        num_attention_heads=size.heads, num_hidden_layers=size.depth, mlp_ratio=size.hidden / size.dim,
        pred_hidden_size=24, pred_num_attention_heads=2, pred_num_hidden_layers=1,
    )  # fmt: skip
    network = VJEPA2Model(settings)
    stirred(network)
    return network


@torch.no_grad()
def vjepa_2_folder(folder: Path, size: Size) -> Published:
    """transformers' folder."""
    network, video = vjepa_2_network(size), clip(size)
    network.save_pretrained(folder)
    outputs = network(video.transpose(1, 2), skip_predictor=True).last_hidden_state
    return Published(folder, video, outputs, "tokens")


@torch.no_grad()
def vjepa_2_checkpoint(folder: Path, size: Size) -> Published:
    """The owners' ``.pt``, from transformers' network."""
    network, video = vjepa_2_network(size), clip(size)
    weights = {f"module.backbone.{name}": value for name, value in original(network).items()}
    others = {name: value * 0 for name, value in list(weights.items())[:4]}  # what must not be taken
    tree = {"encoder": others, "target_encoder": weights, "predictor": {"module.backbone.x": torch.zeros(1)}}
    torch.save(tree | {"epoch": 3, "opt": None}, folder / "vjepa2.pt")
    outputs = network(video.transpose(1, 2), skip_predictor=True).last_hidden_state
    return Published(folder / "vjepa2.pt", video, outputs, "tokens")


def original(network: VJEPA2Model) -> dict[str, Tensor]:
    """transformers' V-JEPA 2 encoder in the names of the released checkpoints."""
    shorter = (("embeddings.patch_embeddings", "patch_embed"), ("layernorm", "norm"), ("layer.", "blocks."))
    weights = {name: value for name, value in network.encoder.state_dict().items() if ".key." not in name}
    names = {}
    for name, value in weights.items():
        if ".value." in name:
            continue
        if ".query." in name:
            others = [network.encoder.state_dict()[name.replace("query", part)] for part in ("key", "value")]
            value = torch.cat([value, *others])
        for theirs, short in (*shorter, (".attention.", ".attn."), (".query.", ".qkv.")):
            name = name.replace(theirs, short)
        names[name] = value
    return names


TINY = Size(48, 4, 2, 192)
SMALL, BASE, LARGE = Size(384, 6, 12, 1536), Size(768, 12, 12, 3072), Size(1024, 16, 24, 4096)
GIANT = Size(1408, 16, 4, 6144, patch=14, side=70, classes=710)
TWELVE = Size(36, 2, 12, 72)
LAYOUTS = {
    "VideoMAE, folder": Layout("transformers", videomae_folder, TINY, BASE, "ViT-B"),
    "VideoMAE, fine-tuned, folder": Layout("transformers", videomae_classifier, TINY, SMALL, "ViT-S"),
    "V-JEPA 2, folder": Layout("transformers", vjepa_2_folder, Size(48, 3, 2, 192), LARGE, "ViT-L"),
    "V-JEPA 2, .pt": Layout("transformers", vjepa_2_checkpoint, Size(48, 3, 2, 192), LARGE, "ViT-L"),
    "MARLIN, .encoder.pt": Layout("plain torch", marlin_encoder, TINY, BASE, "ViT-B"),
    "MARLIN, .full.pt": Layout("plain torch", marlin_full, TINY, SMALL, "ViT-S"),
    "MARLIN, hub": Layout("plain torch", marlin_hub, TINY, SMALL, "ViT-S"),
    "VideoMAE V2, fine-tuned, half precision": Layout(
        "plain torch", videomae_2, Size(44, 4, 2, 192, patch=14, side=56), GIANT, "ViT-g/14, 4 of its 40 blocks"
    ),
    "V-JEPA 2.1, .pt": Layout("plain torch", vjepa_2_1, TWELVE, BASE, "ViT-B"),
    "V-JEPA 2.1, .pt, all levels": Layout("plain torch", vjepa_2_1_levels, TWELVE, BASE, "ViT-B"),
}
