"""Publication of a candidate: the version in the registry, and the records of its training."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ml.dataset.entries import NORMAL, Entry
from ml.models.publishing import publish
from ml.models.registry import Registry
from ml.system.progress import Progress
from ml.training.candidate import FittedModel, Thresholds
from ml.training.card import build_card
from ml.training.classes import TrainingClasses
from ml.training.context import TrainingContext
from ml.training.detector_stage import MeasuredRecording
from ml.training.held_out_result import HeldOutResult
from ml.training.report import report_facts
from ml.training.served_result import ServedResult
from ml.training.training_result import LAST_STEP, write_records


def publish_candidate(
    context: TrainingContext,
    classes: TrainingClasses,
    measured: FittedModel,
    served: FittedModel,
    thresholds: Thresholds,
    result: HeldOutResult,
    abnormal: Sequence[MeasuredRecording],
    outlook: ServedResult,
    key: Mapping[str, Any],
) -> str:
    """Add the served model to the registry, after its records are written to the work folder.

    Args:
        context: the training.
        classes: classes of the network.
        measured: the evaluated model.
        served: the model that goes into the bundle.
        thresholds: thresholds of the served model.
        result: the evaluation.
        abnormal: all abnormal recordings with their distances by the served detector.
        outlook: what to expect of the served model.
        key: cache key of the training.

    Returns:
        The version.
    """
    card = build_card(context, classes, measured, served, result, abnormal)
    context.report(Progress(LAST_STEP, 0, 1))

    def before_add(version: str) -> None:
        """Write the records before the version exists, because this step can fail or be cancelled."""
        facts = report_facts(context, classes, measured, served, thresholds, result, outlook, version, card)
        learned = _learned_after_evaluation(context)
        write_records(context.work, context.split, result, outlook.expectations, key, facts, learned=learned)
        context.report(Progress(LAST_STEP, 1, 1, version))

    return publish(
        None if served.network is None else served.network.model,
        name=context.options.model_name,
        spec=context.spec,
        labels=served.labels,
        # The rate of a demonstration was measured on simulated sound, and on no machine of the user.
        decision=replace(thresholds.score, false_alarm_rate=None) if context.demonstration else thresholds.score,
        card=card,
        registry=Registry(context.home),
        detector=served.detector,
        fault_rule=thresholds.fault_rule,
        normal_scores=None if context.demonstration else thresholds.normal_scores,
        before_add=before_add,
    )


def _learned_after_evaluation(context: TrainingContext) -> list[Entry]:
    """Return the test recordings of the final fit. A detector alone learns from the normal ones only."""
    if not context.options.refit:
        return []
    return [entry for entry in context.split.test if context.has_classifier or entry.label == NORMAL]
