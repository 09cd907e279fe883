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
from thorax.preprocessing.index import RecordIndex, verify
from thorax.training.augmentation import Augmentation
from thorax.training.batch_size import BatchTooLargeError, largest_batch
from thorax.training.checkpoint import run_key, saved_batch
from thorax.training.data import StackDataset
from thorax.training.devices import choose_devices
from thorax.training.initial_weights import initialise_weights
from thorax.training.losses import SegmentationLoss
from thorax.training.precision import PrecisionChoice
from thorax.training.progress import ProgressPaths, ProgressReporter
from thorax.training.trainer import Row, TrainingModel, TrainingPlan, compile_training_model, fit


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
        log: Prints one line for the user.
    """

    params: Params
    index: RecordIndex
    precision: PrecisionChoice
    folders: Folders
    log: Callable[[str], None]

    def train(self, job: TrainingPlan) -> tuple[Any, list[Row], TrainingPlan]:
        """Train; with ``batch: auto`` retry with half the batch when memory runs out.

        Returns:
            The float32 network, its history, and the job with its final batch size.

        Raises:
            InputError: Memory ran out after epochs were finished, or with a fixed batch size.
        """
        while True:
            trainee, begun = self.build_training_model(job), modified_ns(job.checkpoint)
            try:
                history = fit(trainee, job, watcher=self._reporter(job))
                break
            except BatchTooLargeError:
                if self.params.train.batch != "auto" or job.batch == 1:
                    raise
                if modified_ns(job.checkpoint) != begun:
                    raise InputError(
                        f"memory ran out, though epochs with batch {job.batch} went through; the "
                        "same command goes on after them"
                    ) from None
                self.delete_checkpoint(job)
                job = replace(job, batch=job.batch // 2)
                self.log(f"memory ran out; beginning again with batch {job.batch}")
        network = self._build("float32")
        network.set_weights(trainee.network.get_weights())
        return network, history, job

    def plan(self, split: Split, provenance: dict[str, Any], code: Iterable[Path]) -> TrainingPlan:
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
        job = TrainingPlan(
            source=source,
            validation_paths=verify(
                self.folders.records, [index.entry(case) for case in split.validation]
            ),
            regions=list(index.regions),
            params=params.train,
            batch=min(batch, source.stacks),
            seed=params.seed,
            checkpoint=self.folders.checkpoints / f"{key}.npz",
            supervision=params.losses.deep_supervision,
        )
        return self._choose_batch_size(job)

    def build_training_model(self, job: TrainingPlan) -> TrainingModel:
        """The network with its initial weights, loss and optimizer, compiled."""
        unshared = [f"`train.accumulate: {job.params.accumulate}`"] * (job.params.accumulate > 1)
        unshared += ["`train.precision: float16`"] * self.precision.scales_loss
        sharing = choose_devices(self.params.train.devices, batch=job.batch, unshared=unshared)
        regions = list(self.index.regions)
        with sharing.scope():
            network = self._build(self.precision.policy)
            origin = self.params.network.initial_weights
            transferred = initialise_weights(network, origin, regions, folder=self.folders.initial)
            model = network
            if job.supervision:
                model = supervise(network, regions=len(regions), seed=self.params.seed)
            trainee = TrainingModel(network, model, sharing)
            loss = SegmentationLoss(self.params.loss, self.params.losses, regions=job.regions)
            scaled = self.precision.scales_loss
            compile_training_model(trainee, loss, job, scale_loss=scaled, encoder=is_encoder)
        if transferred:
            self.log(str(transferred))
        return trainee

    def delete_checkpoint(self, job: TrainingPlan) -> None:
        """Delete the checkpoint and the kept pictures of a training that ended."""
        job.checkpoint.unlink(missing_ok=True)
        shutil.rmtree(self._places(job).kept, ignore_errors=True)

    def _source(self, split: Split) -> StackDataset:
        entries = [self.index.entry(case) for case in split.train]
        train = self.params.train
        return StackDataset(
            paths=verify(self.folders.records, entries),
            planes=[entry.planes for entry in entries],
            canvas=self.index.canvas,
            regions=len(self.index.regions),
            context=train.context,
            window=Window(*train.window),
            augmentation=Augmentation(self.params.augmentation),
            fraction=train.fraction,
            rare_region_share=train.rare_region_share,
            rare_region=rarest_region(self.index, split.train),
        )

    def _choose_batch_size(self, job: TrainingPlan) -> TrainingPlan:
        """With ``batch: auto``: the batch size of the checkpoint, or the largest that fits."""
        if self.params.train.batch != "auto":
            return job
        batch = saved_batch(job.checkpoint)
        if batch is None:
            untrained = self._build(self.precision.policy)
            batch = largest_batch(untrained, stacks=job.source.stacks)
        self.log(f"batch {batch}")
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

    def _reporter(self, job: TrainingPlan) -> ProgressReporter:
        return ProgressReporter(
            epochs=self.params.train.epochs,
            every=self.params.train.picture_interval,
            regions=job.regions,
            window=job.source.window,
            places=self._places(job),
            log=self.log,
        )

    def _places(self, job: TrainingPlan) -> ProgressPaths:
        reports = self.folders.reports
        kept = job.checkpoint.with_suffix(".pictures")
        return ProgressPaths(reports / "live", reports / "validation", kept)


def modified_ns(path: Path) -> int:
    """Modification time of a file, in nanoseconds; 0 if there is none."""
    return path.stat().st_mtime_ns if path.exists() else 0


def rarest_region(index: RecordIndex, cases: Sequence[str]) -> int:
    """Channel of the region with the fewest voxels in these cases together."""
    ceilings = [index.entry(case).ceiling for case in cases]
    voxels = [sum(ceiling[region].truth for ceiling in ceilings) for region in index.regions]
    return voxels.index(min(voxels))
