"""Regions out of a dense map: how much of a box is read."""

import numpy as np
import torch

from umgclip.evaluate.examples import Example, TrueRegion
from umgclip.evaluate.reader import Seen
from umgclip.evaluate.readouts.readout import RegionBatch
from umgclip.evaluate.readouts.select import readouts
from umgclip.model.clip.readout import pool_boxes
from umgclip.params import EvaluateParams


def test_boxes_are_read_by_the_share_of_the_params_and_whole_beside_it(read_with, kit):
    torch.manual_seed(0)
    dense = torch.nn.functional.normalize(torch.randn(1, 5, 8, 8), dim=1)
    padded = [dense[0]]  # as maps of images of different aspects come
    thing = TrueRegion((8.0, 10.0, 40.0, 30.0), None, 0)
    example = Example("0", np.zeros((40, 80, 3), np.uint8), (), (), (thing,), (), single=False)
    found = readouts(EvaluateParams(readouts=["box", "whole_box"], box_share=0.5))
    wanted = {"box": [[0.2, 0.375, 0.4, 0.625]], "whole_box": [[0.1, 0.25, 0.5, 0.75]]}
    for name, shares in wanted.items():
        expected = pool_boxes(dense, torch.tensor(shares), torch.tensor([0]))
        for each in (dense, padded):
            [got] = found[name](
                read_with(kit.ColourTower()), RegionBatch([example], [(0, thing)], Seen(torch.zeros(1, 5), each))
            )
            torch.testing.assert_close(got, expected)
