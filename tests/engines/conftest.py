"""A small untrained model, exported once: what is checked of engines does not depend on the weights."""

import pytest


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    torch = pytest.importorskip("torch")
    from training.export import export
    from training.network import JCAE

    torch.manual_seed(0)
    network = JCAE()
    with torch.no_grad():  # about the brightness of its inputs, so that clipping hides nothing
        network.decoder.conv3.bias.fill_(0.25)
    folder = tmp_path_factory.mktemp("models") / "small"
    export(network, folder, name="small", training={"data": "none"}, metrics={})
    return folder
