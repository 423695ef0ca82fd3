"""live.yaml: what is understood, and how a wrong key is named."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("yaml", reason="the extra `live` is not installed")
from pipeline.arguments import parse_bytes, parse_duration
from pipeline.frames import InputError
from pipeline.live.config import LiveConfig, config_text, load_config, with_options
from pipeline.live.session import job_of, panel_of
from pipeline.live.status import Controls
from pipeline.sink import SinkSettings

ROOT = Path(__file__).parents[3]


@pytest.fixture
def load(tmp_path):
    def read(text):
        path = tmp_path / "live.yaml"
        path.write_text(text)
        return load_config(path)

    return read


def refusal(load, text):
    with pytest.raises(InputError) as error:
        load(text)
    assert "\n" not in str(error.value)
    assert error.value.__cause__ is None or not isinstance(error.value.__cause__, ValueError)  # pydantic quotes input
    return str(error.value)


def test_an_empty_file_is_a_run_of_defaults(load):
    assert load("") == load("record:\npreview:\n# nothing\n") == LiveConfig()


def test_the_defaults_are_those_of_the_parts():
    config = LiveConfig()
    assert panel_of(config).controls == Controls()
    assert (config.record.codec, config.record.crf) == (SinkSettings().codec, SinkSettings().crf)
    assert (config.pairing.master, config.pairing.on_loss, config.preview.address) == ("vis", "hold", "127.0.0.1:8080")


def test_values_are_read_in_their_units(load):
    config = load("""
        ir: v4l2:/dev/video0?fmt=Y16&size=640x512&fps=9
        vis: rtsp://u:p@h/s#transport=udp
        duration: 1h30m
        pairing: {tolerance: 0.02, age_limit: 2, on_loss: passthrough}
        geometry: {size: 640x480, shift: [-6, 4.5]}
        picture: {view: hot, agc: 'fixed:7000,9000', nudge: '1,-2', overlay: true}
        record: {path: a.mp4, segment: 10m, keep_age: 7d, keep_bytes: 20G, min_free: 1Gi}
        preview: {address: '[::1]:9000', hosts: [cam.example]}
    """)
    assert config.duration == 5400
    assert (config.pairing.tolerance, config.pairing.age_limit) == (0.02, 2.0)
    assert (config.geometry.size, config.geometry.shift) == ("640x480", (-6.0, 4.5))
    assert (config.record.segment, config.record.keep_age) == (600.0, 604800.0)
    assert (config.record.keep_bytes, config.record.min_free) == (20_000_000_000, 2**30)
    assert panel_of(config).controls == Controls(
        view="hot", agc="fixed:7000,9000", nudge=(1.0, -2.0), overlay=True, recording=True
    )


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ("segment: 10m", "--segment (record.segment): given without --record OUT (record.path); give both or neither"),
        ("keep_age: 7d", "--keep-age (record.keep_age): given without --segment TIME (record.segment)"),
        ("path: a.mp4, keep_bytes: 1G", "--keep-bytes (record.keep_bytes): given without --segment TIME"),
    ],
)
def test_limits_of_a_recording_that_nothing_would_come_of_are_refused(load, record, words):
    with pytest.raises(InputError, match=re.escape(words)):
        job_of(load(f"record: {{{record}}}"), may_replace=False)


@pytest.mark.parametrize("record", ["{path: a.mp4}", "{path: a.mp4, codec: auto}"])
def test_a_recording_without_a_codec_or_with_auto_is_h264_that_keeps_up(load, record):
    sink = job_of(load(f"record: {record}"), may_replace=False).record.sink
    assert (sink.encoder, sink.preset) == ("libx264", "veryfast")


def test_a_section_may_be_one_word(load):
    config = load("preview: off\nrecord: out.mp4\n")
    assert (config.preview.address, config.record.path) == ("off", "out.mp4")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("pairing:\n  on_los: hold", "live.yaml:2: pairing.on_los: not a key; did you mean on_loss? use master,"),
        ("\n\nirr: x", "live.yaml:3: irr: not a key; did you mean ir? use ir, vis, duration, network, pairing"),
        ("zzz: 1", "live.yaml:1: zzz: not a key; use ir, vis, duration"),
        ("pairing: {on_loss: freeze}", "live.yaml:1: pairing.on_loss 'freeze': use hold, passthrough, blank or stop"),
        ("picture:\n  view: x", "live.yaml:2: picture.view 'x': use fused, ir, vis, blend, pip, edges or hot"),
        ("picture: {palette: pink}", "picture.palette 'pink': not known; use one of white hot, black hot"),
        ("picture: {agc: auto}", "picture.agc 'auto': give percentile, plateau, or fixed:LO,HI"),
        ("picture: {nudge: [1]}", "picture.nudge.1: give two numbers"),
        ("picture: {weight: 1.5}", "picture.weight 1.5: give 1.0 or less"),
        ("picture: {overlay: yes}", "picture.overlay 'yes': give true or false"),
        ("network: {threads: true}", "network.threads True: give a whole number"),
        ("network: {threads: 2.5}", "network.threads 2.5: give a whole number"),
        ("pairing: {tolerance: -1}", "pairing.tolerance -1: give more than 0"),
        ("pairing: {offset: .inf}", "pairing.offset '.inf': give a number"),
        ("pairing: {offset: 1e999}", "pairing.offset inf: "),
        ("pairing: [hold]", "live.yaml:1: pairing: give keys and values"),
        ("record: {segment: 10:30}", "record.segment '10:30': give s, or numbers with units, like 90s, 10m"),
        ("record: {keep_bytes: lots}", "record.keep_bytes 'lots': give a number above 0 with a unit"),
        ("record: {crf: good}", "record.crf 'good': give a whole number"),
        ("geometry: {size: 640}", "geometry.size 640: give a text"),
        ("geometry: {size: big}", "geometry.size 'big': give width and height in px, like 640x480"),
        ("preview: {address: 8080}", "preview.address 8080: give a text"),
        ("preview: 8080", "preview 8080: give keys and values"),
        ("preview: {address: here}", "preview.address 'here': not an address; give HOST:PORT"),
        ("preview: {viewers: 0}", "preview.viewers 0: give 1 or more"),
        ("preview: {hosts: cam}", "preview.hosts 'cam': give a list"),
        ("ir: gopher://x", "live.yaml:1: ir: not a kind of live source; use rtsp://"),
        ("ir: rtsp://h/s#transport=carrier", "ir: transport=carrier: not known; use one of tcp, udp"),
        ("ir: 5", "live.yaml:1: ir: give a text"),
        ("pairing: {master: x, on_loss: y, offset: z}", "(2 more like it)"),
        ("ir: a\nir: b", "live.yaml:2: not YAML: ir comes twice"),
        ("pairing:\n  master: ir\n  master: vis", "live.yaml:3: not YAML: pairing.master comes twice"),
        ("ir: [", "not YAML"),
        ("a: b: c", "live.yaml:1: not YAML: mapping values are not allowed here"),
        ("- ir", "live.yaml: not a mapping; write `ir: ADDRESS`"),
        ("ir: !!python/object/apply:os.system [true]", "not YAML: could not determine a constructor"),
        ("ir: \x07", "not YAML: a control character"),
        ("[" * 5000, "not YAML"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_place_and_what_is_allowed(load, text, words):
    assert words in refusal(load, text)


@pytest.mark.parametrize(
    "text",
    [
        "ir: rtsp://admin:hunter2secret@h/s#clock=hunter2secret",
        "ir: hunter2secret://x",
        "vis: rtsp://admin:hunter2secret@",
        "vis: [rtsp://admin:hunter2secret@h]",
        "preview: {token: hunter2secret}",
        "preview: {token: [hunter2secret]}",
        "ir: rtsp://admin:hunter2secret@h/s\nvisible: x",
    ],
)
def test_no_error_quotes_a_login_or_a_token(load, text):
    words = refusal(load, text)
    assert "hunter2secret" not in words.replace("clock=hunter2secret", "").replace("hunter2secret://", "")


def test_nothing_printed_of_a_run_holds_a_secret():
    config = with_options(
        LiveConfig(), {"ir": "rtsp://admin:hunter2secret@h/s", "preview.token": "hunter2secret-hunter2"}
    )
    assert config.ir == "rtsp://admin:hunter2secret@h/s"
    assert "hunter2" not in repr(config) + str(config) + config_text(config)
    assert "rtsp://***@h/s" in config_text(config)


def test_the_printed_run_is_a_file_that_gives_the_same_run(load):
    config = with_options(LiveConfig(), {"record.path": "a.mp4", "record.segment": "10m", "picture.nudge": "1,-2",
                                         "preview.address": "off", "ir": "udp://:5000", "duration": 3})  # fmt: skip
    assert load(config_text(config)) == config
    assert load(config_text(LiveConfig())) == LiveConfig()


def test_the_example_is_valid_and_says_the_defaults():
    text = (ROOT / "deploy" / "live.yaml").read_text()
    config, defaults = load_config(ROOT / "deploy" / "live.yaml"), LiveConfig().model_dump()
    for section in ("network", "pairing", "geometry", "picture", "preview"):
        assert getattr(config, section).model_dump() == defaults[section], section
    assert set(re.findall(r"^(\w+):", text, re.M)) == set(LiveConfig.model_fields) - {"duration"}


def test_options_lie_over_the_file_and_leave_the_rest(load):
    config = with_options(
        load("pairing: {master: ir, offset: 0.1}\nir: a.mp4"), {"pairing.offset": 0.5, "vis": "b.mp4"}
    )
    assert (config.pairing.master, config.pairing.offset) == ("ir", 0.5)
    assert (config.ir, config.vis) == ("a.mp4", "b.mp4")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("pairing.on_loss", "x", "--on-loss 'x': use hold"),
        ("preview.address", "x", "--preview 'x': not an address"),
        ("record.segment", "x", "--segment 'x': give s"),
        ("ir", "gopher://x", "--ir: not a kind of live source"),
    ],
)
def test_a_wrong_option_is_called_as_it_was_typed(key, value, words):
    with pytest.raises(InputError, match=re.escape(words)):
        with_options(LiveConfig(), {key: value})


def test_a_file_that_cannot_be_read_is_one_line(tmp_path):
    for path in (tmp_path, tmp_path / "absent.yaml"):
        with pytest.raises(InputError, match="cannot be read"):
            load_config(path)
    odd = tmp_path / "odd.yaml"
    odd.write_bytes(b"ir: \xff\xfe")
    with pytest.raises(InputError, match="not UTF-8"):
        load_config(odd)
    odd.write_bytes(b"#" * 2_000_000)
    with pytest.raises(InputError, match="larger than"):
        load_config(odd)


def test_without_pyyaml_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(InputError, match=r"needs PyYAML, which is not installed; pip install 'crotalus\[live\]'"):
        load_config(tmp_path / "live.yaml")


@given(st.text(max_size=200))
def test_any_text_is_a_run_or_one_line(text):
    from tempfile import NamedTemporaryFile

    with NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8", errors="replace") as file:
        file.write(text)
        file.flush()
        try:
            load_config(Path(file.name))
        except InputError as error:
            said = str(error)
        else:
            said = "a run"
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("10m", 600), ("1h30m", 5400), ("1.5h", 5400), ("7d", 604800), ("0.5", 0.5)],
)
def test_a_time_has_units(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "m", "10x", "-5", "1m1h", "1e9", "inf", "nan", "10:30", "9999999999999d"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(InputError, match="give s, or numbers with units"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("500", 500),
        ("500M", 500_000_000),
        ("20G", 20 * 10**9),
        ("2TB", 2 * 10**12),
        ("1.5Gi", 3 * 2**29),
        ("1 GB", 10**9),
    ],
)
def test_bytes_have_units(text, count):
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "0", "G", "-1G", "5X", "9" * 18 + "T", "nan", "1e3"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(InputError, match="give a number above 0 with a unit"):
        parse_bytes(text)
