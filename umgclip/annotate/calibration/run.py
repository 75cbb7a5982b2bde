"""Estimate the labels' precision before the work begins, so that every worker writes labels of the same score."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from umgclip.annotate.calibration.precision import LEAST_PASTED, LabelPrecision, estimate
from umgclip.annotate.calibration.sample import sample_images
from umgclip.annotate.job import Job
from umgclip.data.vocabulary import Vocabulary
from umgclip.params import AnnotateParams
from umgclip.params import threads as available_threads
from umgclip.stage import begin

_log = logging.getLogger(__name__)


def calibrate(
    params: AnnotateParams, base: Path, vocabulary: Vocabulary, jobs: Sequence[Job], frequency: Mapping[str, int]
) -> LabelPrecision | None:
    """Estimate the precision of the built-in teacher's labels, and the score that they need.

    Args:
        params: the section `annotate`.
        base: folder with the base's weights.
        vocabulary: the concepts.
        jobs: the shards of the training images.
        frequency: captions that each concept is named in.

    Returns:
        The estimate; None: `label.precision` asks for none, other models propose or label regions, or the images are
        too few.

    Raises:
        DataError: a shard is damaged.
    """
    target, count = params.label.precision, params.label.precision_images
    built_in = params.roles.region_tagger == ["clip_teacher"] and params.roles.proposer == ["segment_tree"]
    images = min(sum(job.info.samples for job in jobs), count)
    if target is None or not built_in or len(vocabulary.things) < 2 or images < LEAST_PASTED:
        return None
    begin("estimating the precision of labels")
    # torch and the tower are needed only where there is something to estimate
    import cv2
    import torch

    from umgclip.annotate.calibration.measure import Examiner
    from umgclip.annotate.models.build import load_teacher
    from umgclip.annotate.models.segment_tree import SegmentTree

    threads, cv2_threads = torch.get_num_threads(), cv2.getNumThreads()
    # sums in the order of the workers', which use one thread
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        teacher, proposer = load_teacher(params, base, vocabulary), SegmentTree(params.proposer)
        workers = params.workers or available_threads()
        examiner = Examiner(teacher, proposer, vocabulary, frequency, params.proposer.working_px, workers)
        precision = estimate(examiner.measure(sample_images(jobs, count)), target)
    finally:
        torch.set_num_threads(threads)
        cv2.setNumThreads(cv2_threads)
    _report(precision, images)
    return precision


def _report(precision: LabelPrecision | None, images: int) -> None:
    if precision is None:
        _log.info("annotate: %d training images give too few labels to estimate their precision; all stay", images)
    elif precision.threshold is None:
        _log.warning(
            "annotate: at no score do labels of regions reach a precision of %.2f (annotate.label.precision), as far "
            "as %d training images tell, so things stay unlabelled. A base that knows the images better helps "
            "(base.pretrained, longer captions, more images), as do a detector with labels as annotate.roles.proposer "
            "and `given` as region_tagger, or a lower annotate.label.precision; docs/annotators.md",
            precision.target, precision.images,
        )  # fmt: skip
    elif precision.threshold:
        _log.info("annotate: precision of region labels, as estimated: %s", precision.in_words())
