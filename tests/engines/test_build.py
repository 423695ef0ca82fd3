"""Which engines a model needs, building what is missing, and clearing out: with a plain function for a compiler."""

import json
import multiprocessing
import os
import re
import shutil
import sys
import types

import pytest

from engines.base import BackendError
from engines.build import BuiltEngine, HostMemoryError, build_engines, shared_scratch
from engines.cache import CacheError, locked, open_folder
from engines.inventory import list_engines, prune
from engines.model import ModelError, load_model
from engines.profile import Profile, ProfileError
from engines.record import RECIPE, SIDECAR, StaleError
from engines.trt import Compiler, EngineError, Plan

pytest.importorskip("onnx")
GRAPHS = ["encoder_ir", "encoder_vis", "encoder_common", "decoder"]
VGA = Profile.fixed(640, 480)
RANGE = Profile((320, 240), (640, 480), (1919, 1079))


class Bench:
    """A compiler that writes down what it is asked."""

    def __init__(self):
        self.asked = []
        self.told = []

    def compiler(self, version="1.7.1.116", targets=("sm_75", "sm_86"), present="sm_86"):
        return Compiler("rtx", version, targets, present, self.compile)

    def compile(self, network, target):
        self.asked.append((network, target))
        return Plan(f"{network.name} {target} {len(self.asked)}".encode(), 1000 * len(self.asked))

    def build(self, info, *, profile=VGA, version="1.7.1.116", **options):
        options.setdefault("compiler", self.compiler(version))
        return build_engines(info, backend="rtx", profile=profile, on_progress=self.told.append, **options)


@pytest.fixture
def bench(monkeypatch):
    for package in ("tensorrt_rtx", "tensorrt_rtx_bindings"):  # the same whether or not it is installed
        monkeypatch.setitem(sys.modules, package, None)
    return Bench()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CROTALUS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "engines"


@pytest.fixture(scope="module")
def info(model_folder):
    return load_model(model_folder)


def test_one_engine_for_each_set_of_weights_and_one_decoder(bench, info, cache):
    engines = bench.build(info)
    assert [engine.record.key.graph for engine in engines] == GRAPHS
    assert all(engine.is_new and engine.path.parent == cache for engine in engines)
    assert [network.name for network, target in bench.asked] == GRAPHS
    assert {target for _, target in bench.asked} == {"sm_86"}  # the GPU here
    assert engines[2].read() == b"encoder_common sm_86 3"
    assert re.search(r"\.plan: built in 0\.0 s, 0\.00 MB, scratch memory 0 MiB$", str(engines[0]))


def test_shapes_are_those_of_padded_pictures(bench, info):
    bench.build(info, profile=RANGE, batch=2)
    encoder, decoder = bench.asked[0][0], bench.asked[3][0]
    # 8 px around, then up to a multiple of 2: 336x256, 656x496, 1935x1095 -> 1936x1096
    assert encoder.shapes == {"luma": ((1, 1, 256, 336), (2, 1, 496, 656), (2, 1, 1096, 1936))}
    features = ((1, 128, 124, 164), (2, 128, 244, 324), (2, 128, 544, 964))
    decoded = ((1, 1, 240, 320), (2, 1, 480, 640), (2, 1, 1080, 1920))
    assert decoder.shapes == {"features": features, "before": decoded}


def test_features_are_channels_last_on_both_sides_of_the_kernels(bench, info):
    bench.build(info)
    assert [network.channels_last for network, _ in bench.asked] == [{"features"}] * 4


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_what_the_kernels_touch_has_one_type_in_either_precision(bench, info, precision):
    import onnx

    bench.build(info, precision=precision)
    half, single = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    for network, _ in bench.asked:
        graph = onnx.ModelProto.FromString(network.onnx).graph
        kinds = {value.name: value.type.tensor_type.elem_type for value in [*graph.input, *graph.output]}
        is_decoder = network.name == "decoder"
        wanted = {"before": single, "luma": single} if is_decoder else {"luma": half}
        assert kinds == wanted | {"features": half}


def test_what_is_there_is_not_built_again(bench, info):
    first = bench.build(info)
    again = bench.build(info)
    assert len(bench.asked) == 4
    assert [engine.record for engine in again] == [engine.record for engine in first]
    assert not any(engine.is_new for engine in again)
    assert len(bench.told) == 4


def test_force_builds_anew(bench, info):
    bench.build(info)
    assert all(engine.is_new for engine in bench.build(info, force=True))
    assert "(asked for)" in bench.told[-1]


@pytest.mark.parametrize(
    "change",
    [{"precision": "fp32"}, {"profile": RANGE}, {"batch": 2}, {"targets": ["sm_75"]}, {"version": "1.8.0.1"}],
)
def test_another_precision_size_batch_gpu_or_version_is_another_engine(bench, info, change):
    first = bench.build(info)
    second = bench.build(info, **change)
    assert len({engine.path for engine in first + second}) == 8
    assert len(bench.asked) == 8


def test_other_weights_are_another_engine_and_the_same_branch_is_not(bench, info, model_folder, tmp_path):
    from safetensors.numpy import load_file, save_file

    from engines.model import sha256

    folder = tmp_path / "other"
    shutil.copytree(model_folder, folder)
    weights = load_file(folder / "weights.safetensors")
    weights["private_ir.block1_conv1.bias"] += 1
    save_file(weights, folder / "weights.safetensors")
    written = json.loads((folder / "model.json").read_text())
    written["files"]["weights.safetensors"] = sha256(folder / "weights.safetensors")
    (folder / "model.json").write_text(json.dumps(written))
    bench.build(info)
    engines = bench.build(load_model(folder))
    assert [engine.record.key.graph for engine in engines if engine.is_new] == ["encoder_ir"]


def test_an_updated_tensorrt_rebuilds_and_says_why(bench, info):
    bench.build(info)
    bench.told.clear()
    bench.build(info, version="1.8.0.1")
    line = "building encoder_ir for sm_86 at 640x480 in fp16 (not built yet; there is one of rtx 1.7.1.116 for sm_86)"
    assert bench.told[0] == line


def test_several_targets_are_built_one_after_the_other(bench, info):
    engines = bench.build(info, targets=["sm_86", "sm_75", "sm_86"])
    assert [engine.record.key.target for engine in engines] == ["sm_86"] * 4 + ["sm_75"] * 4


def test_a_target_that_is_not_built_for_is_an_error_that_lists_them(bench, info):
    with pytest.raises(BackendError, match=r"--target sm_90: rtx 1\.7\.1\.116 builds for sm_75, sm_86; name one"):
        bench.build(info, targets=["sm_90"])
    with pytest.raises(BackendError, match="--target sm_90"):
        bench.build(info, compiler=bench.compiler(present="sm_90"))
    with pytest.raises(BackendError, match="builds for the GPU here, and there is none"):
        bench.build(info, compiler=bench.compiler(targets=(), present=None), targets=["sm_86"])


def test_without_a_gpu_a_target_must_be_named(bench, info):
    with pytest.raises(BackendError, match=r"no GPU here to build for; .*--target sm_XX"):
        bench.build(info, compiler=bench.compiler(present=None))
    assert len(bench.build(info, compiler=bench.compiler(present=None), targets=["sm_75"])) == 4


def test_a_batch_below_one_is_an_error(bench, info):
    with pytest.raises(ProfileError, match=r"--batch 0: .*give 1 or more"):
        bench.build(info, batch=0)


@pytest.mark.parametrize(("side", "batch"), [(5785, 1), (4096, 2)])
def test_a_tensor_that_tensorrt_cannot_count_is_an_error(bench, info, side, batch):
    with pytest.raises(ProfileError, match=r"TensorRT counts up to 2147483647: give a smaller --size or --batch"):
        bench.build(info, profile=Profile((640, 480), (640, 480), (side, side)), batch=batch)
    assert bench.asked == []


def test_a_picture_of_8k_can_be_built(bench, info):
    assert len(bench.build(info, profile=Profile.fixed(7680, 4320))) == 4


def test_a_model_without_branches_is_an_error(bench, info):
    files = {name: value for name, value in info.files.items() if name != "encoder_ir.onnx"}
    with pytest.raises(ModelError, match=r"has no encoder_ir\.onnx"):
        bench.build(info.model_copy(update={"files": files}))


def test_without_onnx_the_error_names_the_extra(bench, info, monkeypatch):
    monkeypatch.setitem(sys.modules, "engines.fp16", None)
    with pytest.raises(BackendError, match=r"pip install 'crotalus\[rtx\]'"):
        bench.build(info)


def test_an_error_of_the_compiler_leaves_what_was_built(bench, info):
    def stubborn(network, target):
        if network.name == "decoder":
            raise EngineError("decoder: no")
        return bench.compile(network, target)

    compiler = Compiler("rtx", "1.7.1.116", ("sm_86",), "sm_86", stubborn)
    with pytest.raises(EngineError, match="decoder: no"):
        bench.build(info, compiler=compiler)
    assert [engine.record.key.graph for engine in list_engines()] == sorted(GRAPHS[:3])


def test_too_little_memory_is_one_line_before_the_compiler_crashes(bench, info, monkeypatch):
    monkeypatch.setattr("engines.build.available_memory", lambda: 100 << 20)
    with pytest.raises(HostMemoryError, match="encoder_ir: building needs 1024 MB, 100 are free"):
        bench.build(info)
    assert bench.asked == []


def test_a_cache_that_others_can_write_is_refused_before_anything_is_built(bench, info, cache):
    cache.mkdir(parents=True)
    cache.chmod(0o777)
    with pytest.raises(CacheError, match="chmod 700"):
        bench.build(info)
    with pytest.raises(CacheError, match="chmod 700"):
        list_engines()
    assert bench.asked == []


def test_the_largest_scratch_block_serves_all(bench, info):
    engines = bench.build(info)
    assert shared_scratch(engines) == 4000
    silent = engines[0].record.model_copy(update={"scratch_bytes": None})
    assert shared_scratch([*engines, BuiltEngine(engines[0].path, silent, False)]) is None


def test_a_plan_changed_after_the_build_is_not_read(bench, info):
    engine = bench.build(info)[0]
    engine.path.write_bytes(b"evil")
    with pytest.raises(StaleError, match="half written"):
        engine.read()


def test_an_empty_cache_lists_nothing_and_is_not_made(cache):
    assert list_engines() == []
    assert prune() == []
    assert not cache.exists()


def test_engines_of_a_tensorrt_that_is_not_installed_here_are_kept(bench, info):
    engines = bench.build(info)
    assert {(engine.path, engine.flaw) for engine in list_engines()} == {(engine.path, "") for engine in engines}
    assert str(list_engines()[0]) == f"{engines[3].path.name}: good"
    assert prune() == []


def test_prune_removes_what_will_not_be_used_again(bench, info, cache):
    ir, vis, common, decoder = bench.build(info)
    ir.path.write_bytes(b"")
    vis.path.with_suffix(SIDECAR).unlink()
    common.path.unlink()
    (cache / "abc.tmp").write_bytes(b"half")
    (cache / "notes.txt").write_text("the user's")
    told = []
    removed = prune(on_progress=told.append)
    wanted = {ir.path, ir.path.with_suffix(SIDECAR), vis.path, common.path.with_suffix(SIDECAR), cache / "abc.tmp"}
    assert set(removed) == wanted
    kept = {decoder.path.name, decoder.path.with_suffix(SIDECAR).name, "notes.txt", "lock"}
    assert {path.name for path in cache.iterdir()} == kept
    assert any(re.match(rf"removed {ir.path.name}: half written, 0 of", line) for line in told)


def test_prune_waits_for_a_build_under_way(cache):
    fork = multiprocessing.get_context("fork")
    waits = fork.Event()
    child = fork.Process(target=prune, kwargs={"on_progress": lambda line: waits.set()})
    with locked(open_folder(cache), lambda line: None):
        half = cache / "half.tmp"
        half.write_bytes(b"half")
        child.start()
        assert waits.wait(30)
        assert half.exists()
    child.join(30)
    assert child.exitcode == 0
    assert not half.exists()


def test_engines_of_a_model_that_changed_or_went_are_pruned(bench, info, model_folder, tmp_path):
    folder = tmp_path / "mine"
    shutil.copytree(model_folder, folder)
    bench.build(load_model(folder))
    assert {engine.flaw for engine in list_engines()} == {""}
    written = json.loads((folder / "model.json").read_text())
    written["files"]["decoder.onnx"] = "0" * 64
    (folder / "model.json").write_text(json.dumps(written))
    assert {engine.flaw for engine in list_engines()} == {"its model small has changed"}
    os.unlink(folder / "model.json")
    assert {engine.flaw for engine in list_engines()} == {f"its model {folder}/model.json is gone"}
    assert len(prune()) == 8


def test_real_engines_are_built_once_listed_and_kept(info):
    rtx = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed: pip install 'crotalus[rtx]'")
    told = []
    options = {"backend": "rtx", "profile": Profile.fixed(160, 120), "targets": ["sm_75", "sm_86", "sm_120"]}
    engines = build_engines(info, **options, on_progress=told.append)
    assert len(told) == len(engines) == 12
    assert not any(engine.is_new for engine in build_engines(info, **options))
    assert {engine.flaw for engine in list_engines()} == {""}
    assert shared_scratch(engines) > 1_000_000
    for engine in engines:
        assert len(engine.read()) == engine.record.plan_bytes > 100_000
        assert f"rtx-{rtx.__version__}." in engine.path.name
    decoder = engines[3].path
    decoder.write_bytes(decoder.read_bytes()[:-1])
    assert [engine.path for engine in build_engines(info, **options) if engine.is_new] == [decoder]


def test_engines_of_another_recipe_are_listed_as_such(bench, info, cache):
    path = bench.build(info)[0].path
    record = json.loads(path.with_suffix(SIDECAR).read_text())
    record["key"]["recipe"] = 0
    other = cache / path.name.replace(f".r{RECIPE}.", ".r0.")
    other.write_bytes(path.read_bytes())
    other.with_suffix(SIDECAR).write_text(json.dumps(record))
    assert {engine.path: engine.flaw for engine in list_engines()}[other] == "of another version of crotalus"


def test_engines_of_an_older_tensorrt_are_pruned(bench, info, monkeypatch):
    bench.build(info)
    newer = types.ModuleType("tensorrt_rtx")
    newer.__version__ = "1.8.0.1"
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", newer)
    assert {engine.flaw for engine in list_engines()} == {"of rtx 1.7.1.116, 1.8.0.1 is installed"}
    assert len(prune()) == 8
