"""What ``--init`` gives a new model: all of another one's weights that fit, and one line on what starts afresh and why.

The encoder must fit whole. Other parts (decoder, predictor, mask tokens, teacher) are taken whole or not at all. What no
shape tells, such as the number of attention heads, is compared with what stands in model.json; so is what the encoder was
fed, which a run may change, but not without a word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from mien.config import to_tree
from mien.encoders import EncoderConfig
from mien.engine import checkpoint
from mien.interfaces import Encoder, Objective
from mien.models.card import ModelCard, has_card
from mien.training.run_config import RunConfig

PARTS = (
    "encoder",
    "teacher",
    "encoder_norm",
    "encoder_to_decoder",
    "mask_token",
    "decoder",
    "predictor.mask_tokens",
    "predictor",
)
"""Parts of the objectives by the names of their weights; of two that begin alike the longer one counts."""
UNSEEN = {
    "encoder": ("encoder.heads", "encoder.positions", "encoder.uniform_power", "encoder.eps"),
    "decoder": ("objective.decoder_heads",),
    "predictor": ("objective.predictor_heads", "objective.uniform_power"),
}
"""Settings that decide what a part computes and that no shape tells."""

COPY = "teacher (a copy of the encoder)"

Show = Callable[[str], object]
Settings = Mapping[str, object]


def initial_encoder(encoder: EncoderConfig, init: str, show: Show) -> EncoderConfig:
    """The encoder of the weights in ``init`` where a command's own one has the sizes that it has by default.

    How it is trained (``drop_path``) stays.
    """
    card = card_in(checkpoint.model_folder(init)) if init else None
    if card is None or replace(encoder, drop_path=0.0) != replace(RunConfig.encoder, drop_path=0.0):
        return encoder
    taken = replace(card.trainable_encoder(), drop_path=encoder.drop_path)
    if taken != encoder:
        show(f"{init}: its encoder is taken, {taken.name} of width {taken.dim}")
    return taken


def start_encoder(encoder: Encoder, init: str, own: ModelCard, show: Show) -> None:
    """Fill an encoder from an exported run or import, strictly; of a joint embedding the teacher is taken.

    ``own`` is the card of the run that begins. Weights that were made for other settings raise ``ValueError`` that names
    them; inputs that differ are shown.
    """
    if init:
        folder = checkpoint.model_folder(init)
        require_same(settings_of(card_in(folder)), settings_of(own), init)
        checkpoint.load_strictly(encoder, checkpoint.encoder_weights(checkpoint.read_weights(folder)), init)
        compare_inputs(folder, init, own, show)


def start_objective(objective: Objective, init: str, own: ModelCard, show: Show) -> None:
    """Fill an objective with all that fits of an exported run or import, and show what was loaded and what was not."""
    if not init:
        return
    folder = checkpoint.model_folder(init)
    before, now = settings_of(card_in(folder)), settings_of(own)
    require_same(before, now, init)
    weights = checkpoint.read_weights(folder)
    mine = parts_of(objective.state_dict())
    theirs, copied = sources(parts_of(weights), "teacher" in mine), not any(n.startswith("teacher.") for n in weights)
    checkpoint.load_strictly(objective.encoder, theirs.get("encoder", {}), init)
    loaded, afresh, values = ["encoder"], [], objective.state_dict()
    for part in mine.keys() - {"encoder"}:
        reason = misfit(mine[part], theirs.get(part)) or different(part, before, now)
        if reason:
            afresh.append(f"{part} ({reason})")
        else:
            loaded.append(part)
            values |= {f"{part}.{name}".rstrip("."): value for name, value in theirs[part].items()}
    objective.load_state_dict(values)
    rest = "".join(f", {one}" for one in sorted(afresh))
    names = [COPY if p == "teacher" and copied else p for p in PARTS if p in loaded]
    show(f"{init}: loaded {', '.join(names)}; afresh: optimizer, schedules{rest}")
    compare_inputs(folder, init, own, show)


def parts_of(weights: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """A model's weights by part, without its name; ``mask_token`` itself stands under an empty name."""
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in weights.items():
        part = max((p for p in PARTS if name == p or name.startswith(f"{p}.")), key=len, default=name.split(".")[0])
        parts.setdefault(part, {})[name.removeprefix(part).removeprefix(".")] = value
    return parts


def sources(parts: Mapping[str, dict[str, Tensor]], teacher: bool) -> dict[str, dict[str, Tensor]]:
    """Where each part comes from: a teacher from the encoder, an encoder alone from the teacher, which is the better one."""
    if teacher:
        return {**parts, "teacher": parts.get("teacher", parts.get("encoder", {}))}
    return {**parts, "encoder": parts.get("teacher", parts.get("encoder", {}))}


def misfit(own: Mapping[str, Tensor], theirs: Mapping[str, Tensor] | None) -> str:
    """Why a part cannot be loaded; nothing if it can."""
    if not theirs:
        return "not in the weights"
    for name in sorted(own.keys() ^ theirs.keys()):
        return f"{name} is only {'there' if name in theirs else 'here'}"
    for name, value in own.items():
        if value.shape != theirs[name].shape:
            return f"{name or 'it'} is {tuple(theirs[name].shape)} there, {tuple(value.shape)} here"
    return ""


def card_in(folder: Path) -> ModelCard | None:
    """The card beside weights that training can begin from; None where there is none."""
    if not has_card(folder):
        return None
    card = ModelCard.load(folder)
    card.trainable_encoder()
    return card


def compare_inputs(folder: Path, init: str, own: ModelCard, show: Show) -> None:
    """Show where a run feeds an encoder otherwise than its weights were fed: pixels, clips, the cut of faces.

    Without model.json nothing is compared.
    """
    card = card_in(folder)
    if card is None:
        return
    if there := flags_of("pixels", card.pixels, own.pixels):
        here = flags_of("pixels", own.pixels, card.pixels)
        show(
            f"warning: {init} was trained on pixels normalised otherwise: {there} there, {here} here. The encoder is fed what "
            f"it has not learnt from; {there} takes the model's"
        )
    if there := flags_of("clip", card.clip, own.clip):
        here = flags_of("clip", own.clip, card.clip)
        show(f"note: {init} was trained on other clips: {there} there, {here} here")
    cut, ours = card.face_crop, own.face_crop
    if cut and cut != ours:
        crops = [to_tree(crop) for crop in (cut, ours) if crop]
        cuts = [", ".join(f"{k} {v}" for k, v in crop.items() if v is not None) for crop in crops]
        here = f"here: {cuts[1]}" if ours else "how those of this run are cut is not known"
        show(f"note: {init} was trained on faces that mien extract-faces cut ({cuts[0]}); {here}")


def flags_of(section: str, config: object, usual: object) -> str:
    """The settings of a section that are not the ``usual`` ones, as flags."""
    tree, other = to_tree(config), to_tree(usual)
    values = {key: value if isinstance(value, list) else [value] for key, value in tree.items() if value != other[key]}
    return " ".join(f"--{section}.{key} {' '.join(map(str, value))}" for key, value in values.items())


def settings_of(card: ModelCard | None) -> Settings:
    """``section.name`` -> value of a model's encoder and objective; a predictor without a number of heads has the
    encoder's. None where there is no card."""
    parts = {"encoder": card.encoder, "objective": card.objective} if card else {}
    settings = {f"{name}.{key}": value for name, part in parts.items() if part for key, value in to_tree(part).items()}
    if settings.get("objective.predictor_heads") == 0:
        settings["objective.predictor_heads"] = settings.get("encoder.heads")
    return settings


def different(part: str, before: Settings, now: Settings) -> str:
    """Which unseen settings of a part differ; nothing if none does, or if nothing is known of the weights."""
    keys = [key for key in UNSEEN.get(part, ()) if key in before and key in now and before[key] != now[key]]
    return ", ".join(f"{key} is {before[key]} there, {now[key]} here" for key in keys)


def require_same(before: Settings, now: Settings, init: str) -> None:
    """Refuse an encoder whose weights fit but would compute something else."""
    differences = different("encoder", before, now)
    if differences:
        raise ValueError(
            f"{init} was made with other settings: {differences}. Use the settings that the weights were made with"
        )
