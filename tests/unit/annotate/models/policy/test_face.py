"""The policy `face` on a network with YuNet's inputs and outputs, to which a red square is a face."""

import numpy as np
import pytest

from umgclip.annotate.models.policy.face import Face
from umgclip.annotate.roles import Policy
from umgclip.errors import InputError
from umgclip.params.annotators import FaceParams


def picture(height, width, *cells, side=16):
    """Grey, with a red square at each (row, column) of cells of `side` pixels."""
    pixels = np.full((height, width, 3), 90, np.uint8)
    for row, column in cells:
        pixels[row * side : (row + 1) * side, column * side : (column + 1) * side] = (255, 0, 0)
    return pixels


def test_faces_have_boxes_and_scores(network):
    policy = Face(FaceParams(path=network), "m")
    assert isinstance(policy, Policy)
    found, nothing = policy.judge_images([picture(96, 128, (2, 5)), picture(64, 64)])
    (face,) = found
    assert nothing == []
    assert (face.role, face.reason, face.score, face.source) == ("policy", "face", 1.0, policy.name)
    assert face.box_xyxy == (72.0, 24.0, 104.0, 56.0)  # 32 pixels around (88, 40)
    assert policy.name.startswith("face/face_detection_yunet_drawn@")


def test_boxes_are_cut_to_the_image_and_sizes_may_change(network):
    policy = Face(FaceParams(path=network), "m")
    corner, other = policy.judge_images([picture(70, 50, (0, 0)), picture(200, 330, (3, 9), (8, 2))])
    assert [face.box_xyxy for face in corner] == [(0.0, 0.0, 24.0, 24.0)]
    assert {face.box_xyxy for face in other} == {(136.0, 40.0, 168.0, 72.0), (24.0, 120.0, 56.0, 152.0)}


def test_large_images_are_shrunk_and_boxes_are_in_their_pixels(network):
    large = picture(512, 1024, (1, 4), side=64)
    (face,) = Face(FaceParams(path=network, max_side_px=256), "m").judge_images([large])[0]
    assert face.box_xyxy == (224.0, 32.0, 352.0, 160.0)


def test_small_faces_may_stay(network):
    image = picture(160, 160, (2, 5))
    assert Face(FaceParams(path=network, min_share=0.25), "m").judge_images([image]) == [[]]
    assert len(Face(FaceParams(path=network, min_share=0.2), "m").judge_images([image])[0]) == 1


@pytest.mark.parametrize("content", [None, b"no network"])
def test_a_file_that_is_no_network_is_named(tmp_path, content):
    path = tmp_path / "yunet.onnx"
    if content:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"^annotate.models.f.path: expected YuNet as an ONNX file"):
        Face(FaceParams(path=str(path)), "annotate.models.f")


def test_images_of_one_row_or_one_column_have_no_faces(network):
    thin = np.full((1, 4000, 3), 90, np.uint8)
    policy = Face(FaceParams(path=network), "m")
    assert policy.judge_images([thin, np.ascontiguousarray(thin.transpose(1, 0, 2))]) == [[], []]
