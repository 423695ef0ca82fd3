"""An untrained network and its exported model, made once: what is checked of them does not depend on the weights."""

import pytest
import torch

from training.export import export
from training.network import JCAE


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Pictures this small gain nothing from more, and lose a lot beside other processes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def network():
    torch.manual_seed(0)
    made = JCAE()
    with torch.no_grad():  # about the brightness of its inputs, so that clipping hides nothing
        made.decoder.conv3.bias.fill_(0.25)
    return made.requires_grad_(False)


@pytest.fixture(scope="session")
def exported(network, tmp_path_factory):
    """The folder of the exported model; not to be changed."""
    folder = tmp_path_factory.mktemp("exported") / "small"
    export(network, folder, name="small", training={"data": "none"}, metrics={"SSIM": 0.5})
    return folder
