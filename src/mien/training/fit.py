"""What ``pretrain`` and ``finetune`` share: clips in, a run folder out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from torch import Tensor
from torch.utils.data import default_collate

from mien.config import to_yaml
from mien.engine.checkpoint import checkpoints, model_folder
from mien.engine.distributed import Session, barrier
from mien.engine.loop import (
    DrawPictures,
    MicroBatch,
    Validate,
    require_company,
    require_whole_batches,
    train,
)
from mien.engine.runlog import finished, open_run, refuse_other_run
from mien.interfaces import Clip, Objective
from mien.models.card import ModelCard
from mien.reports.plots import reconstruction_grid, save_png
from mien.training.data import face_crop, load_clips
from mien.training.initial_weights import card_in
from mien.training.run_config import RunConfig, identity
from mien.training.skipped_clips import (
    broke,
    keep_skips,
    micro_batches,
    naming_crashes,
    read_skips,
    under_way,
    unread_paths,
    with_skips,
)
from mien.video.clips import ClipConfig, ClipDataset
from mien.video.decode import VideoError
from mien.video.rates import count_rates, rate_warnings
from mien.video.transforms import AugmentConfig


def load_training_clips(config: RunConfig, session: Session) -> list[Clip]:
    """The clips of a command that trains; those that its run leaves out (--train.skip) need not be readable."""
    clips = load_clips(
        config.data, config.train.workers, session.print,
        lambda clips: unread_paths(config.output, clips, config.train.skip),
    )  # fmt: skip
    for warning in rate_warnings(count_rates(clips), config.clip.fps, config.clip.stride, trained=None):
        session.print(f"warning: {warning}")
    return clips


def card_of(config: RunConfig, clips: Sequence[Clip]) -> ModelCard:
    """The card of weights that learn from ``clips``; what they learn, the command adds."""
    first = card_in(model_folder(config.init)) if config.init else None
    return ModelCard(
        config.encoder, config.clip, config.pixels, rates=dict(count_rates(clips)),
        face_crop=face_crop(Path(config.data.manifest)), sources=first.sources if first else (),
    )  # fmt: skip


def open_folder(config: RunConfig, clips: Sequence[Clip], session: Session, others: Sequence[Clip] = ()) -> bool:
    """Look at the run's folder, and leave it as it is; False if the run there is done already.

    Resuming with another config, other clips, or ``others`` (validation and test) is refused with the difference shown.
    """
    refuse_other_run(config.output, identity(config, clips, others))
    barrier()  # before any rank makes the folder
    steps = config.train.total(len(clips))
    if finished(config.output, steps):
        session.print(f"{config.output} holds this run, finished at step {steps}: nothing to do")
        return False
    if saved := checkpoints(config.output):
        session.print(f"{config.output}: going on from {saved[-1].name}")
    return True


def claim_folder(
    objective: Objective, config: RunConfig, clips: Sequence[Clip], session: Session, others: Sequence[Clip] = ()
) -> None:
    """Make the folder of a run that is about to train, now that its model stands; every rank must call."""
    require_whole_batches(objective, config.train, session)
    if not checkpoints(config.output):
        require_company(objective, config.train, session)
    if session.first:
        open_run(config.output, to_yaml(config), identity(config, clips, others))
    barrier()


def fit(
    objective: Objective,
    clips: Sequence[Clip],
    config: RunConfig,
    card: ModelCard,
    session: Session,
    targets: Tensor | None = None,
    draw: DrawPictures | None = None,
    validate: Validate | None = None,
) -> None:
    """Train ``objective`` on ``clips`` in ``config.output`` and export its weights with ``card``."""
    folder, options = config.output, config.train
    steps, latest = options.total(len(clips)), under_way(options)

    def batches(step: int) -> Iterator[MicroBatch]:
        skipped = keep_skips(folder, clips, options.skip, step, session.first)
        if skipped:
            session.print("left out: " + "; ".join(map(str, read_skips(folder))))
        try:
            dataset = ClipDataset(clips, config.clip, config.augment, options.seed, targets, config.data.cache, skipped)
        except VideoError as error:
            raise broke(str(error), step + 1, folder) from error
        return micro_batches(dataset, options, session, step, skipped, folder, latest)

    def name_clip(index: int) -> str:
        return f"{clips[index].path.name} (line {clips[index].row})"

    with naming_crashes(latest, clips, options, folder):
        train(objective, batches, steps, options, config.optim, folder, session, name_clip, draw, validate)
    with_skips(card, folder).save(folder, objective, write=session.first)
    session.print(f"{steps} steps done; weights in {folder}")


def reconstruction_pictures(
    objective: Objective,
    clips: Sequence[Clip],
    clip: ClipConfig,
    seed: int,
    run: Path,
    session: Session,
    count: int = 4,
) -> Callable[[int], None]:
    """What draws the first clips that a run reads after so many steps: original, what the encoder sees, what comes of it.

    Every rank takes part, for weights may be spread over them; the first one saves. A clip that cannot be read costs the
    picture and not the run.
    """

    def draw(step: int) -> None:
        skipped = {skip.index for skip in read_skips(run)}
        shown = [one for i, one in enumerate(clips) if i not in skipped][:count]
        dataset = ClipDataset(shown, clip, AugmentConfig.none(), seed)
        try:
            batch = session.to_device(default_collate([dataset[0, i] for i in range(len(dataset))]))
        except VideoError as error:
            session.print(f"no picture at step {step}: {error}")
            return
        objective.eval()
        rows = objective.picture(batch)
        objective.train()
        if rows and session.first:
            image = reconstruction_grid({name: value.float().cpu().numpy() for name, value in rows.items()})
            save_png(image, run / "pictures" / f"reconstruction-{step:07d}.png")

    return draw
