"""Frozen features, computed once and kept on disk: one file per clip, named by everything that decides its content.

The name is a SHA-256 over the video's bytes, the encoder's weights, the views, the augmentation and the precision. A
changed byte, weight or setting has another name, so a stale feature is never met; interrupted work goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from pydantic import NonNegativeFloat, PositiveInt
from pydantic.dataclasses import dataclass
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from mien import __version__
from mien.config import STRICT, to_tree
from mien.files import write_whole
from mien.interfaces import Clip, Encoder
from mien.models.batching import forward_views
from mien.progress import progress_bar
from mien.video.clips import ClipConfig
from mien.video.leaks import hash_files
from mien.video.transforms import AugmentConfig
from mien.video.views import View, ViewConfig, ViewDataset, ViewPlaces, clip_key, load_views

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, config=STRICT)
class FeatureConfig:
    """How the frozen encoder is run and where its features are kept."""

    folder: Path = Path("runs/features")
    """Folder of the features; share it between runs, nothing in it goes stale."""
    dtype: Literal["fp32", "bf16", "fp16"] = "fp16"
    """Numbers on disk: fp16 halves the space at a relative error of 5e-4 (bf16: 4e-3)."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Matrix products of the encoder; bf16 is faster on GPUs and new CPUs."""
    pool: PositiveInt = 1
    """Average the tokens over squares of pool x pool sites before they are kept, where disk is short."""


@dataclass(frozen=True, config=STRICT)
class ProbeFeatureConfig(FeatureConfig):
    """The same for probes, which read features many times."""

    variants: PositiveInt = 1
    """Views of each training clip: 1 is the clip as it is; more are augmented, epoch e using number e mod variants."""
    memory: NonNegativeFloat = 4.0
    """GiB of features to hold in memory; the rest is read from disk each time."""
    live: bool = False
    """Keep nothing and run the encoder anew for every clip in every epoch, as the published code does."""


class Features:
    """Tokens of clips by (clip, variant), from disk or, with ``live``, from the encoder itself."""

    def __init__(
        self,
        encoder: Encoder,
        pixels: nn.Module,
        clips: Sequence[Clip],
        clip: ClipConfig,
        views: ViewConfig,
        config: ProbeFeatureConfig,
        device: torch.device,
        augmentation: AugmentConfig | None = None,
        seed: int = 0,
    ) -> None:
        self.encoder, self.pixels, self.views, self.config, self.device = encoder, pixels, views, config, device
        self.variants = config.variants if augmentation is not None else 1
        self.dataset = ViewDataset(clips, clip, views, augmentation, self.variants, seed)
        changes = None if augmentation is None else [to_tree(augmentation), seed]
        self.about = {
            "mien": __version__, "clip": to_tree(clip), "pixels": buffers(pixels), "weights": fingerprint(encoder),
            "views": [views.segments, views.crops, views.sliding], "augmentation": changes, "dtype": config.dtype,
            "precision": config.precision, "pool": config.pool,
        }  # fmt: skip
        self.files: list[Path] = []
        self.held: dict[int, Tensor] = {}
        self.room = int(config.memory * 2**30)

    def __len__(self) -> int:
        return len(self.dataset.clips)

    def prepare(self, workers: int = 0, what: str = "features") -> None:
        """Compute what is not on disk yet."""
        if self.config.live:
            return
        clips = self.dataset.clips
        hashes = hash_files(list(dict.fromkeys(clip.path for clip in clips)))  # the bytes, whatever a manifest says
        self.files = [self.file(hashes[c.path], v, i) for i, c in enumerate(clips) for v in range(self.variants)]
        missing = [n for n, file in enumerate(self.files) if not file.is_file()]
        items = load_views(self.dataset, workers, missing)
        done = progress_bar(self.read(items), what, total=len(missing))
        for count, (item, tokens) in enumerate(done):
            file = self.files[item["index"] * self.variants + item["variant"]]
            if count == 0:
                self.require_room(tokens, len(missing))
            write_features(file, tokens, item, self.about)

    def __getitem__(self, place: tuple[int, int]) -> Tensor:
        """Tokens (crops, segments, N, dim) in fp32 of a clip in a variant."""
        number = place[0] * self.variants + place[1] % self.variants
        if self.config.live:
            _, tokens = next(iter(self.read([self.dataset[number]])))
        else:
            tokens = self.stored(number)
        return tokens.float().transpose(0, 1)

    def stored(self, number: int) -> Tensor:
        """Tokens (segments, crops, N, dim) from disk, or from memory while there is room."""
        if number in self.held:
            return self.held[number]
        with safe_open(self.files[number], "pt") as file:
            tokens = file.get_tensor("tokens")[file.get_tensor("layout")]
        if tokens.nbytes <= self.room:
            self.room -= tokens.nbytes
            self.held[number] = tokens
        return tokens

    def windows(self, index: int) -> Tensor:
        """Tokens (windows, crops, N, dim) in fp32 of each distinct window of a clip."""
        return self.kept(index, "tokens").float()

    def times(self, index: int) -> Tensor:
        """Seconds of the first and last frame of each distinct window of a clip (windows, 2)."""
        return self.kept(index, "times")

    def kept(self, index: int, what: str) -> Tensor:
        """One tensor of a clip's file."""
        with safe_open(self.files[index * self.variants], "pt") as file:
            return file.get_tensor(what)

    def read(self, items: Iterable[View]) -> Iterable[tuple[ViewPlaces, Tensor]]:
        """Run the encoder: items with their tokens (segments, crops, N, dim) as they are kept."""
        for item, tokens in forward_views(self.encode, items, self.views.batch, self.device):
            yield item, tokens.to(DTYPES[self.config.dtype]).cpu()

    @torch.inference_mode()
    def encode(self, video: Tensor) -> Tensor:
        """Views (V, 3, T, H, W) -> tokens (V, N, dim)."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
            tokens = self.encoder.features(self.pixels(video)).float()
        return pool_sites(tokens, self.encoder.grid, self.config.pool)

    def file(self, digest: str, variant: int, index: int) -> Path:
        """Where the features of a clip are kept; an augmented view also depends on the clip's name, which seeds it."""
        clip = self.dataset.clips[index]
        place = None if self.dataset.augmentation is None else [variant, clip_key(clip)]
        key = json.dumps([digest, clip.start, clip.end, place, self.about], sort_keys=True)
        name = hashlib.sha256(key.encode()).hexdigest()
        return self.config.folder / self.about["weights"][:12] / name[:2] / f"{name}.safetensors"

    def require_room(self, tokens: Tensor, count: int) -> None:
        """Refuse before the disk is full, not after."""
        need = tokens.nbytes * count
        self.config.folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.config.folder).free
        if need > free:
            raise ValueError(
                f"{self.config.folder}: the features need about {need / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free. "
                "Take fewer --views.segments, --features.pool 2, another --features.folder, or, for a probe, --features.live"
            )


def write_features(file: Path, tokens: Tensor, item: ViewPlaces, about: Mapping[str, object]) -> None:
    """Keep the tokens (segments, crops, N, dim) of each distinct window once, with what they are."""
    order = torch.arange(len(item["layout"])).flip(0)
    first = torch.zeros(len(item["rows"]), dtype=torch.int64).scatter(0, item["layout"].flip(0), order)
    state = {"tokens": tokens[first].contiguous(), "layout": item["layout"], "times": item["times"]}
    write_whole(file, lambda path: save_file(state, path, metadata={"about": json.dumps(about)}))


def pool_sites(tokens: Tensor, grid: tuple[int, int, int], side: int) -> Tensor:
    """Tokens (V, T*rows*columns, dim) -> averaged over squares of ``side`` x ``side`` sites."""
    if side == 1:
        return tokens
    if grid[1] % side or grid[2] % side:
        raise ValueError(f"--features.pool {side} does not divide the {grid[1]} x {grid[2]} sites of the encoder")
    blocks = tokens.unflatten(1, (-1, grid[1] // side, side, grid[2] // side, side))
    return blocks.mean(dim=(3, 5)).flatten(1, 3)


def fingerprint(module: nn.Module) -> str:
    """SHA-256 of a module's weights: names, shapes and bytes."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def buffers(module: nn.Module) -> dict[str, list[float]]:
    """The constants of a module by name."""
    return {name: value.flatten().tolist() for name, value in module.named_buffers()}
