"""Training from the parameters: network, loss, optimizer and data, with a batch size that fits."""

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from thorax.common.errors import InputError
from thorax.common.params import Params
from thorax.datasets.folds import Split
from thorax.imaging.intensity import Window
from thorax.models.networks import build, is_encoder
from thorax.models.networks.supervision import supervise
from thorax.preprocessing.index import RecordEntry, RecordIndex, verify_records
from thorax.training.augmentation import Augmentation
from thorax.training.batch_size import BatchTooLargeError, largest_batch
from thorax.training.checkpoint import run_key, saved_batch
from thorax.training.data import StackDataset
from thorax.training.device_input import check_device_augmentation
from thorax.training.devices import DeviceStrategy, choose_devices
from thorax.training.hosts import check_agreement, is_leader, process_count
from thorax.training.initial_weights import initialise_weights
from thorax.training.losses import SegmentationLoss
from thorax.training.precision import PrecisionChoice
from thorax.training.progress import Callbacks, ProgressPaths, ProgressReporter
from thorax.training.provenance import records_digest
from thorax.training.record_memory import memory_for_records
from thorax.training.trainer import (
    HistoryRow,
    TrainingCallback,
    TrainingModel,
    TrainingPlan,
    compile_training_model,
    fit,
)


@dataclass(frozen=True)
class Folders:
    """Folders that a training reads and writes.

    Args:
        records: TFRecords and their index.
        initial: Segmenter for `network.initial_weights: segmenter`.
        checkpoints: Checkpoints of unfinished trainings; not among the outputs of a DVC stage.
        reports: Live plots and pictures.
    """

    records: Path
    initial: Path
    checkpoints: Path
    reports: Path


@dataclass(frozen=True)
class Session:
    """Inputs of a training, and the steps that build and run it.

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

    def train(
        self, plan: TrainingPlan, *, callbacks: Sequence[TrainingCallback] = ()
    ) -> tuple[Any, list[HistoryRow], TrainingPlan]:
        """Train; with ``batch: auto`` retry with half the batch if memory runs out.

        Args:
            plan: The plan of the training.
            callbacks: Called after the progress reports.

        Returns:
            The float32 network, its history, and the plan with its final batch size.

        Raises:
            InputError: Memory ran out after finished epochs, or with a fixed batch size, or the
                processes of this training differ in their settings.
        """
        check_agreement(plan.checkpoint.name)
        while True:
            training_model = self.build_training_model(plan)
            checkpoint_time = modified_ns(plan.checkpoint)
            try:
                reporters = [self._reporter(plan)] if is_leader() else []
                callback = Callbacks([*reporters, *callbacks])
                history = fit(training_model, plan, callback=callback)
                break
            except BatchTooLargeError:
                if self.params.train.batch != "auto" or plan.batch == 1:
                    raise
                resumed = saved_batch(plan.checkpoint) == plan.batch
                if resumed or modified_ns(plan.checkpoint) != checkpoint_time:
                    raise InputError(
                        f"memory ran out after epochs with batch {plan.batch}; free some memory "
                        "and run the same command again to resume after them, or delete "
                        f"{plan.checkpoint} to start with a smaller batch"
                    ) from None
                self.delete_checkpoint(plan)
                plan = replace(plan, batch=plan.batch // 2)
                self.log(f"memory ran out; starting again with batch {plan.batch}")
        network = self._build("float32")
        network.set_weights(training_model.network.get_weights())
        return network, history, plan

    def make_plan(
        self, split: Split, provenance: dict[str, Any], code: Iterable[Path]
    ) -> TrainingPlan:
        """Return data, settings and checkpoint of the training; check the digests of the records.

        Args:
            split: Training and validation cases.
            provenance: Settings that the model records.
            code: Source files whose change invalidates a checkpoint.
        """
        params, index = self.params, self.index
        dataset = self._dataset(split)
        batch = dataset.stacks if params.train.batch == "auto" else params.train.batch
        key = run_key(
            settings=provenance,
            records=records_digest(index, split),
            code=code,
        )
        plan = TrainingPlan(
            dataset=dataset,
            validation_paths=verify_records(
                self.folders.records, [index.entry(case) for case in split.validation]
            ),
            regions=list(index.regions),
            params=params.train,
            batch=min(batch, dataset.stacks),
            seed=params.seed,
            checkpoint=self.folders.checkpoints / f"{key}.npz",
            supervision=params.losses.deep_supervision,
            training_metric_paths=self._training_metric_paths(split, dataset),
        )
        return self._choose_batch_size(plan)

    def build_training_model(self, plan: TrainingPlan) -> TrainingModel:
        """Build the network with its initial weights, and compile it with loss and optimizer."""
        devices = self._devices(plan)
        with devices.scope():
            network = self._build(self.precision.policy)
            transferred = initialise_weights(
                network,
                self.params.network.initial_weights,
                plan.regions,
                folder=self.folders.initial,
            )
            model = network
            if plan.supervision:
                model = supervise(network, regions=len(plan.regions), seed=self.params.seed)
            training_model = TrainingModel(network, model, devices)
            compile_training_model(
                training_model,
                SegmentationLoss(self.params.loss, self.params.losses, regions=plan.regions),
                plan,
                scale_loss=self.precision.scales_loss,
                encoder=is_encoder,
            )
        if transferred:
            self.log(str(transferred))
        return training_model

    def delete_checkpoint(self, plan: TrainingPlan) -> None:
        """Delete the checkpoint, the pictures and the states of loggers of a finished training."""
        plan.checkpoint.unlink(missing_ok=True)
        for state in plan.checkpoint.parent.glob(f"{plan.checkpoint.stem}.*.json"):
            state.unlink(missing_ok=True)
        shutil.rmtree(self._progress_paths(plan).saved_pictures, ignore_errors=True)

    def _devices(self, plan: TrainingPlan) -> DeviceStrategy:
        single_only = []
        if plan.params.accumulate > 1:
            single_only.append(f"`train.accumulate: {plan.params.accumulate}`")
        if self.precision.scales_loss:
            single_only.append("`train.precision: float16`")
        return choose_devices(plan.params.devices, batch=plan.batch, single_only=single_only)

    def _dataset(self, split: Split) -> StackDataset:
        entries = self.index.training_entries(split.train)
        train = self.params.train
        check_device_augmentation(self.params.augmentation)
        return StackDataset(
            paths=verify_records(self.folders.records, entries),
            planes=[entry.planes for entry in entries],
            canvas=self.index.canvas,
            regions=len(self.index.regions),
            context=train.context,
            window=Window(*train.window),
            augmentation=Augmentation(self.params.augmentation, canvas=self.index.canvas),
            fraction=train.fraction,
            rare_region_share=train.rare_region_share,
            rare_region=rarest_region(list(self.index.regions), entries),
            memory_bytes=memory_for_records(),
        )

    def _training_metric_paths(self, split: Split, dataset: StackDataset) -> list[Path]:
        """Draw as many training cases as there are validation cases, without synthetic ones."""
        if not self.params.train.training_metric:
            return []
        trained = len(split.train)  # synthetic chests and copies follow
        number = min(len(split.validation), trained)
        generator = np.random.default_rng(self.params.seed)
        chosen = generator.choice(trained, number, replace=False)
        return [dataset.paths[case] for case in sorted(chosen)]

    def _choose_batch_size(self, plan: TrainingPlan) -> TrainingPlan:
        """With ``batch: auto`` use the batch size of the checkpoint, or the largest that fits."""
        if self.params.train.batch != "auto":
            return plan
        if process_count() > 1:
            raise InputError(
                "`train.batch` must be a number if several processes share each batch, got auto"
            )
        batch = saved_batch(plan.checkpoint)
        if batch is None:
            untrained = self._build(self.precision.policy)
            batch = largest_batch(untrained, stacks=plan.dataset.stacks)
        self.log(f"batch {batch}")
        return replace(plan, batch=batch)

    def _build(self, dtype: str) -> keras.Model:
        return build(
            self.params.network,
            canvas=self.index.canvas,
            channels=2 * self.params.train.context + 1,
            regions=len(self.index.regions),
            seed=self.params.seed,
            dtype=dtype,
        )

    def _reporter(self, plan: TrainingPlan) -> ProgressReporter:
        return ProgressReporter(
            epochs=self.params.train.epochs,
            picture_interval=self.params.train.picture_interval,
            regions=plan.regions,
            window=plan.dataset.window,
            paths=self._progress_paths(plan),
            log=self.log,
        )

    def _progress_paths(self, plan: TrainingPlan) -> ProgressPaths:
        reports = self.folders.reports
        saved_pictures = plan.checkpoint.with_suffix(".pictures")
        return ProgressPaths(reports / "live", reports / "validation", saved_pictures)


def modified_ns(path: Path) -> int:
    """Return the modification time of a file in nanoseconds; 0 if there is none."""
    return path.stat().st_mtime_ns if path.exists() else 0


def rarest_region(regions: Sequence[str], entries: Sequence[RecordEntry]) -> int:
    """Return the channel of the region with the fewest voxels in these records, but not none."""
    ceilings = [entry.ceiling for entry in entries]
    voxels = [sum(ceiling[region].truth for ceiling in ceilings) for region in regions]
    return voxels.index(min(filter(None, voxels), default=0))
