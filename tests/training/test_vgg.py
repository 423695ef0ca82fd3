"""VGG19 from every kind of file computes on luma what the original computes in its own convention."""

import os
import pickle

import h5py
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_tensors

from training.network import JCAE
from training.vgg import LAYERS, SHAPES, VggError, load_vgg, start_from_vgg

MEAN = np.array([123.68, 116.779, 103.939])
"""Of RGB in 0..255: Simonyan and Zisserman's, which Caffe and Keras subtract."""
TORCHVISION_MEAN, TORCHVISION_STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
FEATURES = dict(zip(("features.0", "features.2", "features.5"), LAYERS, strict=True))
KERAS_NAMES = {
    "old": ("{layer}/{layer}_W_1:0", "{layer}/{layer}_b_1:0"),  # vgg19_weights_tf_dim_ordering_tf_kernels.h5, 2016
    "new": ("{layer}/{layer}/kernel:0", "{layer}/{layer}/bias:0"),
}


@pytest.fixture(scope="module")
def original():
    """Six random arrays under `<layer>.weight|.bias`, OIHW; what the input's channels mean is the test's choice."""
    rng = np.random.default_rng(0)
    shapes = {
        key: s
        for layer, shape in SHAPES.items()
        for key, s in ((f"{layer}.weight", shape), (f"{layer}.bias", shape[:1]))
    }
    return {key: rng.normal(0, 0.1, shape).astype(np.float32) for key, shape in shapes.items()}


@pytest.fixture(scope="module")
def luma():
    """(H, W) float64 in 0..1."""
    return np.random.default_rng(1).random((12, 15))


def convolved(picture, kernel, bias):
    """Valid correlation of (C, H, W) with OIHW in float64, written out."""
    windows = np.lib.stride_tricks.sliding_window_view(picture.astype(np.float64), (3, 3), axis=(1, 2))
    return np.einsum("chwij,ocij->ohw", windows, kernel.astype(np.float64)) + bias[:, None, None]


def rgb(luma):
    return np.stack([luma] * 3)


def expect_first_layer(weights, luma, wanted):
    """The first layer of a network that starts from the weights gives `wanted` (64, H - 2, W - 2) on luma."""
    network = JCAE()
    start_from_vgg(network, weights)
    x = torch.from_numpy(luma)[None, None].expand(-1, 3, -1, -1)
    with torch.no_grad():
        for branch in (network.private_ir, network.private_vis, network.common):
            found = branch.block1_conv1.double()(x)[0].numpy()
            # weights and bias are rounded to float32, 6e-8 of terms that are as large as the largest result
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6 * np.abs(wanted).max())


def write_keras(path, original, names=KERAS_NAMES["old"], root=""):
    """An .h5 of the layers as Keras writes them; `original` as it is, only laid out HWIO."""
    with h5py.File(path, "w") as file:
        for layer in LAYERS:
            file[root + names[0].format(layer=layer)] = original[f"{layer}.weight"].transpose(2, 3, 1, 0)
            file[root + names[1].format(layer=layer)] = original[f"{layer}.bias"]
        file[f"{root}block5_conv4/block5_conv4_W_1:0"] = np.zeros((3, 3, 2, 2), np.float32)  # others are in it, too
    return path


def torchvision_state(original):
    names = {f"{theirs}.{kind}": f"{ours}.{kind}" for theirs, ours in FEATURES.items() for kind in ("weight", "bias")}
    state = {theirs: torch.from_numpy(original[ours]) for theirs, ours in names.items()}
    return {**state, "features.7.bias": torch.zeros(128), "classifier.6.bias": torch.zeros(1000)}


@pytest.mark.parametrize("root", ["", "model_weights/"], ids=["weights", "whole model"])
@pytest.mark.parametrize("names", KERAS_NAMES.values(), ids=KERAS_NAMES)
def test_keras_means_bgr_less_the_mean(tmp_path, original, luma, names, root):
    weights = load_vgg(write_keras(tmp_path / "vgg.h5", original, names, root))
    bgr = 255 * rgb(luma) - MEAN[::-1, None, None]
    wanted = convolved(bgr, original["block1_conv1.weight"], original["block1_conv1.bias"])
    expect_first_layer(weights, luma, wanted)


def test_torchvision_means_rgb_less_the_mean_over_the_deviation(tmp_path, original, luma):
    state = torchvision_state(original)
    torch.save(state, tmp_path / "vgg.pth")
    save_tensors(state, tmp_path / "vgg.safetensors")
    normal = (rgb(luma) - TORCHVISION_MEAN[:, None, None]) / TORCHVISION_STD[:, None, None]
    wanted = convolved(normal, original["block1_conv1.weight"], original["block1_conv1.bias"])
    for name in ("vgg.pth", "vgg.safetensors"):
        expect_first_layer(load_vgg(tmp_path / name), luma, wanted)


def test_plain_safetensors_mean_rgb_less_the_mean(tmp_path, original, luma):
    save_file(original, tmp_path / "vgg.safetensors")
    wanted = convolved(
        255 * rgb(luma) - MEAN[:, None, None], original["block1_conv1.weight"], original["block1_conv1.bias"]
    )
    expect_first_layer(load_vgg(tmp_path / "vgg.safetensors"), luma, wanted)


def test_the_real_weights_mean_rgb_less_the_mean(real_data, luma):
    path = real_data / "vgg19_first3.safetensors"
    if not path.exists():
        pytest.skip(f"no {path}")
    from safetensors.numpy import load_file

    real = load_file(path)
    wanted = convolved(255 * rgb(luma) - MEAN[:, None, None], real["block1_conv1.weight"], real["block1_conv1.bias"])
    expect_first_layer(load_vgg(path), luma, wanted)


def test_colours_keep_their_channels(tmp_path, original):
    """A luma picture cannot tell red from blue but for the mean, so the arrays are compared: Keras' BGR became RGB."""
    weights = load_vgg(write_keras(tmp_path / "vgg.h5", original))
    wanted = 255 * original["block1_conv1.weight"][:, ::-1]
    np.testing.assert_allclose(weights["block1_conv1.weight"], wanted, rtol=1e-6)


@pytest.mark.parametrize("name", ["vgg.h5", "vgg.pth", "vgg.safetensors"])
def test_deeper_layers_are_taken_as_they_are_into_all_three_branches(tmp_path, original, name):
    path = tmp_path / name
    if name.endswith(".h5"):
        write_keras(path, original)
    elif name.endswith(".pth"):
        torch.save(torchvision_state(original), path)
    else:
        save_file(original, path)
    torch.manual_seed(0)
    network = JCAE()
    decoder = {key: value.clone() for key, value in network.decoder.state_dict().items()}
    start_from_vgg(network, load_vgg(path))
    for branch in (network.private_ir, network.private_vis, network.common):
        for layer in LAYERS[1:]:
            np.testing.assert_array_equal(getattr(branch, layer).weight.detach(), original[f"{layer}.weight"])
            np.testing.assert_array_equal(getattr(branch, layer).bias.detach(), original[f"{layer}.bias"])
    assert all(torch.equal(value, decoder[key]) for key, value in network.decoder.state_dict().items())


def test_branches_start_equal_and_learn_apart(tmp_path, original):
    save_file(original, tmp_path / "vgg.safetensors")
    network = JCAE()
    start_from_vgg(network, load_vgg(tmp_path / "vgg.safetensors"))
    assert torch.equal(network.private_ir.block1_conv1.weight, network.common.block1_conv1.weight)
    with torch.no_grad():
        network.common.block1_conv1.weight.zero_()
    assert network.private_ir.block1_conv1.weight.any()


def test_half_precision_files_are_read(tmp_path, original):
    state = {key: value.bfloat16() for key, value in torchvision_state(original).items()}
    torch.save(state, tmp_path / "vgg.pth")
    save_tensors(state, tmp_path / "vgg.safetensors")
    for name in ("vgg.pth", "vgg.safetensors"):
        found = load_vgg(tmp_path / name)["block2_conv1.weight"]
        np.testing.assert_array_equal(found, state["features.5.weight"].float().numpy())


class Surprise:
    """Code that runs when a pickle is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def refused(path):
    """What load_vgg says: one line with the file's name in it."""
    with pytest.raises(VggError) as caught:
        load_vgg(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_code_in_a_pickle_is_not_run(tmp_path):
    surprise = Surprise(tmp_path / "harm")
    torch.save({"features.0.weight": surprise}, tmp_path / "vgg.pth")
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(surprise, protocol=2))
    for name in ("vgg.pth", "bare.pt"):
        assert "holds more than tensors" in refused(tmp_path / name)
    assert not surprise.path.exists()
    pickle.loads(pickle.dumps(surprise))  # it would have
    assert surprise.path.exists()


@pytest.mark.parametrize(
    ("name", "reason"),
    [("vgg.h5", "not a readable HDF5 file"), ("vgg.pth", ""), ("vgg.safetensors", "not a readable safetensors file")],
)
@pytest.mark.parametrize("content", [b"", b"garbage" * 40], ids=["empty", "garbage"])
def test_a_file_that_is_something_else_is_refused(tmp_path, name, reason, content):
    (tmp_path / name).write_bytes(content)
    assert reason in refused(tmp_path / name)


@pytest.mark.parametrize("name", ["vgg.h5", "vgg.pth", "vgg.safetensors"])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_file_that_is_cut_off_is_refused(tmp_path, original, name, share):
    whole = tmp_path / f"whole-{name}"
    if name.endswith(".h5"):
        write_keras(whole, original)
    elif name.endswith(".pth"):
        torch.save(torchvision_state(original), whole)
    else:
        save_file(original, whole)
    load_vgg(whole)
    data = whole.read_bytes()
    (tmp_path / name).write_bytes(data[: int(share * len(data))])
    assert "download it again" in refused(tmp_path / name)


@pytest.mark.parametrize("key", ["block1_conv1.bias", "block2_conv1.weight"])
def test_a_missing_key_is_named(tmp_path, original, key):
    layer, kind = key.split(".")
    theirs = {"block1_conv1": "features.0", "block2_conv1": "features.5"}[layer] + f".{kind}"
    save_file({k: v for k, v in original.items() if k != key}, tmp_path / "vgg.safetensors")
    assert refused(tmp_path / "vgg.safetensors").startswith(f"no key {key}")
    torch.save({k: v for k, v in torchvision_state(original).items() if k != theirs}, tmp_path / "vgg.pth")
    assert refused(tmp_path / "vgg.pth").startswith(f"no key {theirs}")
    with h5py.File(write_keras(tmp_path / "vgg.h5", original), "a") as file:
        name = KERAS_NAMES["old"][kind == "bias"].format(layer=layer)
        del file[name]
    message = refused(tmp_path / "vgg.h5")
    assert message.startswith(f"no {kind} of {layer}")
    assert name in message


def test_a_wrong_shape_is_named_with_the_right_one(tmp_path, original):
    wrong = {**original, "block1_conv2.weight": np.zeros((64, 3, 3, 3), np.float32)}
    save_file(wrong, tmp_path / "vgg.safetensors")
    torch.save(torchvision_state(wrong), tmp_path / "vgg.pth")
    for path in (tmp_path / "vgg.safetensors", tmp_path / "vgg.pth", write_keras(tmp_path / "vgg.h5", wrong)):
        assert "block1_conv2.weight has shape (64, 3, 3, 3); VGG19 has (64, 64, 3, 3)" in refused(path)


def test_theano_kernels_are_refused(tmp_path, original):
    """Keras' `th_dim_ordering` file holds OIHW, and its kernels are turned round."""
    with h5py.File(write_keras(tmp_path / "vgg.h5", original), "a") as file:
        for layer in LAYERS:
            name = KERAS_NAMES["old"][0].format(layer=layer)
            del file[name]
            file[name] = original[f"{layer}.weight"]
    assert "block1_conv1.weight has shape" in refused(tmp_path / "vgg.h5")


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_numbers_that_are_none_are_refused(tmp_path, original, wrong):
    bias = original["block1_conv2.bias"].copy()
    bias[3] = wrong
    save_file({**original, "block1_conv2.bias": bias}, tmp_path / "vgg.safetensors")
    assert "block1_conv2.bias is not all finite" in refused(tmp_path / "vgg.safetensors")


def test_a_whole_module_is_no_state_dict(tmp_path):
    torch.save([torch.zeros(3)], tmp_path / "vgg.pth")
    assert "a list; expected torchvision's VGG19 state dict" in refused(tmp_path / "vgg.pth")


def test_a_missing_file_and_an_unknown_suffix_say_what_is_read(tmp_path):
    assert refused(tmp_path / "vgg.h5") == "no such file; give VGG19 weights as .h5, .pth or .safetensors"
    for name in ("vgg.npz", "vgg"):
        (tmp_path / name).write_bytes(b"")
        assert "read from .h5, .pth, .pt, .safetensors" in refused(tmp_path / name)


def test_the_suffix_may_be_in_capitals(tmp_path, original):
    write_keras(tmp_path / "VGG.H5", original)
    assert load_vgg(tmp_path / "VGG.H5").keys() == original.keys()
