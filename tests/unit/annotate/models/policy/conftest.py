"""A network with YuNet's inputs and outputs, to which a red square is a face; a base with random weights."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from umgclip.model.clip import files
from umgclip.params import TowerParams

SCORE = {"cls": 1, "obj": 1}
PLACE = {"bbox": [0.5, 0.5, np.log(2), np.log(2)], "kps": [0.0] * 10}


def redness(stride: int) -> np.ndarray:
    """A kernel over BGR cells: 1 for pure red, below 0 for grey. Strides 8 and 32 see nothing."""
    kernel = np.zeros((1, 3, stride, stride), np.float32)
    if stride == 16:
        kernel[0, 2], kernel[0, :2] = 1, -1
    return kernel / (255 * stride * stride)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """Faces are 32 pixels wide, around the middle of a red cell of 16 pixels."""
    nodes, constants, outputs = [], [], []

    def constant(name, value):
        constants.append(numpy_helper.from_array(value, name))
        return name

    def rows(inner, name, columns):
        nodes.append(helper.make_node("Transpose", [inner], [f"t_{name}"], perm=[0, 2, 3, 1]))
        shape = constant(f"s_{name}", np.array([1, -1, columns], np.int64))
        nodes.append(helper.make_node("Reshape", [f"t_{name}", shape], [name]))
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, None, columns]))

    for stride in (8, 16, 32):
        kernel = constant(f"w_{stride}", redness(stride))
        nodes.append(helper.make_node("Conv", ["input", kernel], [f"c_{stride}"], strides=[stride, stride]))
        nodes.append(helper.make_node("Relu", [f"c_{stride}"], [f"r_{stride}"]))
        for name, columns in SCORE.items():
            rows(f"r_{stride}", f"{name}_{stride}", columns)
        for name, values in PLACE.items():
            kernel = constant(f"w_{name}_{stride}", np.zeros((len(values), 3, stride, stride), np.float32))
            bias = constant(f"b_{name}_{stride}", np.array(values, np.float32))
            inner = f"c_{name}_{stride}"
            nodes.append(helper.make_node("Conv", ["input", kernel, bias], [inner], strides=[stride, stride]))
            rows(inner, f"{name}_{stride}", len(values))
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, None, None])
    model = helper.make_model(
        helper.make_graph(nodes, "faces", [image], outputs, constants), opset_imports=[helper.make_opsetid("", 13)]
    )
    model.ir_version = 8
    path = tmp_path_factory.mktemp("network") / "face_detection_yunet_drawn.onnx"
    onnx.save(model, path)
    return str(path)


@pytest.fixture
def base(tmp_path: Path, tiny: TowerParams) -> Path:
    """The folder of a base."""
    torch.manual_seed(0)
    config, folder = files.tower_config(tiny), tmp_path / "base"
    folder.mkdir()
    files.save(folder, files.build(config), config)
    return folder
