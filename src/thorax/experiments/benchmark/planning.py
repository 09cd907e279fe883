"""Everything before and after the runs of a benchmark: dataset, other masks, plans, results."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from thorax.common.params import EvaluateParams
from thorax.datasets.dataset import Dataset
from thorax.datasets.split_check import members_in
from thorax.evaluation.summary import Intervals
from thorax.experiments.benchmark.covid19 import provide_dataset
from thorax.experiments.benchmark.other_masks import OtherMasks, parse_masks, score_masks
from thorax.experiments.benchmark.protocols import (
    DATASET,
    Protocol,
    protocol_overrides,
    split_notes,
)
from thorax.experiments.benchmark.scores import read_run
from thorax.experiments.benchmark.tables import BenchmarkResults
from thorax.experiments.project import Project, Snapshot
from thorax.experiments.runs import RunPlan, plan_folds
from thorax.experiments.summaries import Row

Report = Callable[[str], None]


@dataclass(frozen=True)
class OtherMaskOptions:
    """Options for masks of other tools, see `parse_masks` and `score_masks`."""

    masks: Sequence[str] = ()
    labels: Sequence[str] = ()
    ignored: tuple[int, ...] = ()
    missing: bool = False


@dataclass(frozen=True)
class Benchmark:
    """Planned runs, and what is known before them.

    Args:
        project: Project that stores the results.
        protocol: The protocol.
        snapshot: Content of the project that the runs work with.
        plans: Runs of all folds and seeds.
        dataset: The dataset.
        evaluate: Section `evaluate` of the parameters of the runs.
        others: Name of another tool → scores of its masks.
    """

    project: Project
    protocol: Protocol
    snapshot: Snapshot
    plans: Sequence[RunPlan]
    dataset: Dataset
    evaluate: EvaluateParams
    others: Mapping[str, Sequence[Row]] = field(default_factory=dict)

    def results(self) -> BenchmarkResults:
        """Read the scores of all runs, which have finished."""
        members = members_in(self.project.root / "data" / DATASET)
        evaluate = self.evaluate
        return BenchmarkResults(
            protocol=self.protocol,
            rows=[row for plan in self.plans for row in read_run(self.project, plan)],
            patients={case.name: case.patient for case in self.dataset.cases},
            intervals=Intervals(evaluate.interval, evaluate.confidence, evaluate.resamples),
            others=self.others,
            notes=split_notes(self.plans, members),
        )


def plan_benchmark(
    project: Project,
    params: str,
    protocol: Protocol,
    overrides: Sequence[str],
    *,
    seeds: Sequence[int],
    other: OtherMaskOptions,
    report: Report,
) -> Benchmark:
    """Plan all folds of a protocol; provide the dataset and score other masks before.

    Wrong settings are refused before the download, and wrong masks before the first run.

    Args:
        project: The project.
        params: Content of `params.yaml`.
        protocol: The protocol.
        overrides: Further settings of all runs.
        seeds: Seeds of each fold; if empty, the seed of the parameters.
        other: Masks of other tools.
        report: Prints a line.

    Raises:
        InputError: As `protocol_overrides`, `plan_folds`, `provide_dataset` and `score_masks`.
    """
    settings = protocol_overrides(protocol, overrides)
    plan_folds(params, settings, seeds=seeds, state="")
    dataset = provide_dataset(project, report=report)
    tools = parse_masks(other.masks, other.labels, dataset, ignored=other.ignored)
    snapshot = project.snapshot()
    plans = plan_folds(params, settings, seeds=seeds, state=snapshot.state)
    evaluate = next(plan.params.evaluate for plan in plans if plan.params)
    others = _score_all(tools, dataset, evaluate, missing=other.missing, report=report)
    return Benchmark(project, protocol, snapshot, plans, dataset, evaluate, others)


def _score_all(
    tools: Sequence[OtherMasks],
    dataset: Dataset,
    evaluate: EvaluateParams,
    *,
    missing: bool,
    report: Report,
) -> dict[str, list[Row]]:
    return {
        tool.name: score_masks(
            tool, dataset, evaluate, missing=missing, note=lambda text: report(f"Note: {text}")
        )
        for tool in tools
    }
