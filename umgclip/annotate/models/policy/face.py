"""Faces, by YuNet (Wu et al., Machine Intelligence Research 2023) in OpenCV's FaceDetectorYN."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from umgclip.annotate.models.source_name import source_name
from umgclip.annotate.proposal import Pixels
from umgclip.annotate.rejected import Rejected
from umgclip.errors import InputError
from umgclip.io.atomic import sha256_file
from umgclip.params.annotators import FaceParams

_MOST = 5000  # candidates before overlapping ones are merged, as in the examples of OpenCV


class Face:
    """The policy `face`, which detects faces with OpenCV."""

    def __init__(self, params: FaceParams, where: str) -> None:
        """Read the network.

        Raises:
            InputError: there is no such file, or OpenCV cannot read it as YuNet.
        """
        path = Path(params.path)
        if not path.is_file():
            raise InputError(f"{where}.path: expected YuNet as an ONNX file (face_detection_yunet_*.onnx), got {path}")
        try:
            self._detector = cv2.FaceDetectorYN.create(
                str(path), "", (32, 32), score_threshold=params.threshold, nms_threshold=params.nms_iou, top_k=_MOST
            )
            self._detector.detect(np.zeros((32, 32, 3), np.uint8))
        except cv2.error as error:
            raise InputError(f"{where}.path: expected YuNet as an ONNX file, got {path}: {error.err}") from error
        self._params = params
        self.name = source_name("face", path.stem, sha256_file(path))

    def judge_images(self, images: Sequence[Pixels]) -> list[list[Rejected]]:
        """Return each face that is large enough, with its box, by descending score."""
        return [self._faces(pixels) for pixels in images]

    def _faces(self, pixels: Pixels) -> list[Rejected]:
        height, width = pixels.shape[:2]
        scale = min(1.0, self._params.max_side_px / max(height, width))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if scale < 1 else pixels
        self._detector.setInputSize(size)
        _, detected = self._detector.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        faces = []
        for x, y, w, h, *_, score in sorted(
            detected.tolist() if detected is not None else [], key=lambda row: -row[-1]
        ):
            box = (max(x, 0.0), max(y, 0.0), min(x + w, size[0]), min(y + h, size[1]))
            shorter = min(box[2] - box[0], box[3] - box[1]) / min(size)
            if shorter > 0 and shorter >= self._params.min_share:
                x0, y0, x1, y1 = (round(side / scale, 2) for side in box)
                finding = {"box_xyxy": (x0, y0, x1, y1), "score": round(score, 4), "source": self.name}
                faces.append(Rejected("policy", "face", **finding))
        return faces
