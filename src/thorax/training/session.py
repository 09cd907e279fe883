"""One training from the parameters: its network, loss, optimizer and data, in batches that fit."""

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras

from thorax.common.errors import InputError
from thorax.common.params import Params
from thorax.datasets.folds import Split
from thorax.imaging.intensity import Window
from thorax.models.networks import build, is_encoder
from thorax.models.networks.supervision import supervise
from thorax.preprocessing.index import Index, verify
from thorax.training.augmentation import Augmentation
from thorax.training.batch_size import BatchTooLargeError, largest_batch
from thorax.training.checkpoint import run_key, saved_batch
from thorax.training.data import StackSource
from thorax.training.devices import share_batches
from thorax.training.initial_weights import start
from thorax.training.losses import SegmentationLoss
from thorax.training.precision import Chosen
from thorax.training.progress import Places, TrainingWatch
from thorax.training.trainer import Job, Row, Trainee, compile_trainee, fit


@dataclass(frozen=True)
class Folders:
    """Folders that a training reads and writes.

    Args:
        records: TFRecords and their index.
        initial: Segmenter whose weights a training can start from.
        checkpoints: State of trainings in progress, kept when DVC clears the outputs of a stage.
        reports: Live plots and pictures.
    """

    records: Path
    initial: Path
    checkpoints: Path
    reports: Path


@dataclass(frozen=True)
class Session:
    """Everything that one training depends on, and the steps that build it.

    Args:
        params: All parameters of the run.
        index: Index of the records.
        precision: Numeric precision of the training.
        folders: Folders to read and write.
        tell: Prints one line for the user.
    """

    params: Params
    index: Index
    precision: Chosen
    folders: Folders
    tell: Callable[[str], None]

    def train(self, job: Job) -> tuple[Any, list[Row], Job]:
        """Train; with ``batch: auto`` retry with half the batch when memory runs out.

        Returns:
            The float32 network, its history, and the job with its final batch size.

        Raises:
            InputError: Memory ran out after epochs were finished, or with a fixed batch size.
        """
        while True:
            trainee, begun = self.ready(job), written(job.checkpoint)
            try:
                history = fit(trainee, job, watcher=self._watcher(job))
                break
            except BatchTooLargeError:
                if self.params.train.batch != "auto" or job.batch == 1:
                    raise
                if written(job.checkpoint) != begun:
                    raise InputError(
                        f"memory ran out, though epochs with batch {job.batch} went through; the "
                        "same command goes on after them"
                    ) from None
                self.forget(job)
                job = replace(job, batch=job.batch // 2)
                self.tell(f"memory ran out; beginning again with batch {job.batch}")
        network = self._build("float32")
        network.set_weights(trainee.network.get_weights())
        return network, history, job

    def plan(self, split: Split, provenance: dict[str, Any], code: Iterable[Path]) -> Job:
        """Data, settings and checkpoint of the training; checks the digests of the records.

        Args:
            split: Cases of the training and of the validation.
            provenance: Settings that the model records.
            code: Source files whose change invalidates a checkpoint.
        """
        params, index = self.params, self.index
        source = self._source(split)
        batch = source.stacks if params.train.batch == "auto" else params.train.batch
        key = run_key(
            settings=provenance,
            records=index.digest(split.train + split.validation),
            code=code,
        )
        job = Job(
            source=source,
            watched=verify(self.folders.records, [index.entry(case) for case in split.validation]),
            regions=list(index.regions),
            params=params.train,
            batch=min(batch, source.stacks),
            seed=params.seed,
            checkpoint=self.folders.checkpoints / f"{key}.npz",
            supervision=params.losses.deep_supervision,
        )
        return self._sized(job)

    def ready(self, job: Job) -> Trainee:
        """The network with its initial weights, loss and optimizer, compiled."""
        unshared = [f"`train.accumulate: {job.params.accumulate}`"] * (job.params.accumulate > 1)
        unshared += ["`train.precision: float16`"] * self.precision.scales_loss
        sharing = share_batches(self.params.train.devices, batch=job.batch, unshared=unshared)
        regions = list(self.index.regions)
        with sharing.scope():
            network = self._build(self.precision.policy)
            origin = self.params.network.start
            poured = start(network, origin, regions, folder=self.folders.initial)
            model = network
            if job.supervision:
                model = supervise(network, regions=len(regions), seed=self.params.seed)
            trainee = Trainee(network, model, sharing)
            loss = SegmentationLoss(self.params.loss, self.params.losses, regions=job.regions)
            scaled = self.precision.scales_loss
            compile_trainee(trainee, loss, job, scale_loss=scaled, encoder=is_encoder)
        if poured:
            self.tell(str(poured))
        return trainee

    def forget(self, job: Job) -> None:
        """Delete the checkpoint and the kept pictures of a training that ended."""
        job.checkpoint.unlink(missing_ok=True)
        shutil.rmtree(self._places(job).kept, ignore_errors=True)

    def _source(self, split: Split) -> StackSource:
        entries = [self.index.entry(case) for case in split.train]
        train = self.params.train
        return StackSource(
            paths=verify(self.folders.records, entries),
            planes=[entry.planes for entry in entries],
            canvas=self.index.canvas,
            regions=len(self.index.regions),
            context=train.context,
            window=Window(*train.window),
            augmentation=Augmentation(self.params.augmentation),
            fraction=train.fraction,
            rare_share=train.rare_share,
            rare=rarest(self.index, split.train),
        )

    def _sized(self, job: Job) -> Job:
        """With ``batch: auto``: the batch size of the checkpoint, or the largest that fits."""
        if self.params.train.batch != "auto":
            return job
        batch = saved_batch(job.checkpoint)
        if batch is None:
            untrained = self._build(self.precision.policy)
            batch = largest_batch(untrained, stacks=job.source.stacks)
        self.tell(f"batch {batch}")
        return replace(job, batch=batch)

    def _build(self, dtype: str) -> keras.Model:
        return build(
            self.params.network,
            canvas=self.index.canvas,
            channels=2 * self.params.train.context + 1,
            regions=len(self.index.regions),
            seed=self.params.seed,
            dtype=dtype,
        )

    def _watcher(self, job: Job) -> TrainingWatch:
        return TrainingWatch(
            epochs=self.params.train.epochs,
            every=self.params.train.pictures,
            regions=job.regions,
            window=job.source.window,
            places=self._places(job),
            tell=self.tell,
        )

    def _places(self, job: Job) -> Places:
        reports = self.folders.reports
        kept = job.checkpoint.with_suffix(".pictures")
        return Places(reports / "live", reports / "watched", kept)


def written(path: Path) -> int:
    """Modification time of a file, in nanoseconds; 0 if there is none."""
    return path.stat().st_mtime_ns if path.exists() else 0


def rarest(index: Index, cases: Sequence[str]) -> int:
    """Channel of the region with the fewest voxels in these cases together."""
    ceilings = [index.entry(case).ceiling for case in cases]
    voxels = [sum(ceiling[region].truth for ceiling in ceilings) for region in index.regions]
    return voxels.index(min(voxels))
