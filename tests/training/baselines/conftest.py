"""Every network, untrained, and its exported model, made once."""

import pytest
import torch

from training.baselines.export import export
from training.baselines.train import BASELINES


def made(name):
    """A network with first weights of its own, and normalisations that have seen something."""
    torch.manual_seed(sorted(BASELINES).index(name))
    network = BASELINES[name]()
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.2)
            part.running_var.uniform_(0.5, 2)
            torch.nn.init.normal_(part.weight, 1, 0.2)
            torch.nn.init.normal_(part.bias, 0, 0.2)
    return network.eval()


@pytest.fixture(scope="session", params=list(BASELINES))
def name(request):
    return request.param


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """A function from a name to the folder of that untrained network's model; not to be changed."""
    folders = {}

    def folder_of(name):
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp("baselines") / name
            export(made(name), folders[name], name=name, training={"data": "none"}, metrics={"SSIM": 0.5})
        return folders[name]

    return folder_of
