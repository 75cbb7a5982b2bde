"""`detector` and `detect` of a `Model`: finding things by their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from umgclip.inference.arguments import Labels
from umgclip.inference.region_methods import Many, RegionMethods
from umgclip.io.pictures import Picture

if TYPE_CHECKING:
    import supervision as sv

    from umgclip.inference.detecting.candidates import Proposer
    from umgclip.inference.detecting.detector import Detector, DetectSettings
else:  # imported where they are used
    Proposer = Detector = DetectSettings = Any


class DetectMethods(RegionMethods):
    """Detection by names, as plain arrays and as supervision's objects."""

    def detector(
        self, labels: Labels, *, proposer: Proposer | None = None, settings: DetectSettings | None = None
    ) -> Detector:
        """Return a detector of labels, whose `find` takes batches of pixels and needs no other package.

        Args:
            labels: names to look for, each once; each is put into the prompt `template`.
            proposer: as in `detect`.
            settings: which regions are reported.

        Raises:
            InputError: a label or the proposer is not as expected.

        Example:
            >>> import numpy as np
            >>> import umgclip
            >>> detector = umgclip.load("artifacts").detector(["dog", "apple"])
            >>> regions = detector.find([np.zeros((48, 64, 3), np.uint8)])[0]
            >>> regions.boxes_xyxy.shape, regions.masks.shape
            ((0, 4), (0, 48, 64))
        """
        from umgclip.inference.detecting import detector as detecting

        model = detecting.ModelParts(self._dense_maps, self._prompts, self._reader.scoring, self.box_share)
        return detecting.make_detector(model, labels, proposer, settings)

    @overload
    def detect(self, image: Picture, labels: Labels, **options: Any) -> sv.Detections: ...  # noqa: ANN401
    @overload
    def detect(self, image: Many, labels: Labels, **options: Any) -> list[sv.Detections]: ...  # noqa: ANN401
    def detect(
        self,
        image: Any,  # noqa: ANN401 - see above
        labels: Labels,
        *,
        boxes_xyxy: Any = None,  # noqa: ANN401
        masks: Any = None,  # noqa: ANN401
        proposer: Proposer | None = None,
        **settings: Any,  # noqa: ANN401 - the fields of `DetectSettings`
    ) -> Any:
        """Find things by their names: regions with a label, a confidence and, from proposals, a mask.

        Needs the extra "interfaces" of the package; `detector` gives the same as plain arrays.

        Args:
            image: one image, or several.
            labels: names to look for, each once.
            boxes_xyxy: regions to look at instead of proposals, as in `embed_boxes`.
            masks: the same as masks, as in `embed_masks`.
            proposer: `segment_tree` (the default), or a function from pixels (height, width, 3) to boxes or masks.
            **settings: fields of `umgclip.inference.detecting.detector.DetectSettings`: `threshold`, `background`,
                `overlap`, `part`, `most`.

        Returns:
            `supervision.Detections` with `data["class_name"]`, best first; for several images a list of them.
            `class_id` is the position of the label in `labels`.

        Raises:
            InputError: an argument is not as expected, or supervision is not installed.
            DataError: an image cannot be read.

        Example:
            >>> import umgclip
            >>> model = umgclip.load("artifacts")
            >>> detections = model.detect("photo.jpg", ["dog", "red mug"], threshold=0)
            >>> detections.xyxy.shape[1], detections.mask.shape[1:], set(detections.data)
            (4, (480, 640), {'class_name'})
        """
        from umgclip.inference.detecting import calls
        from umgclip.inference.detecting.detector import DetectSettings

        detector = self.detector(labels, proposer=proposer, settings=DetectSettings.of(settings))
        return calls.detect(detector, image, boxes_xyxy, masks)
