"""Names of engines: all that can make one stale is in them, and nothing else tells two apart."""

import hashlib
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from engines.record import EngineKey

SHA = "0123456789abcdef" * 4
KEY = EngineKey(
    graph="encoder_ir", onnx=SHA, precision="fp16", profile="640x480", batch=1, target="sm_86", flavour="rtx",
    version="1.7.1.116",
)  # fmt: skip
words = st.from_regex(r"\A[A-Za-z0-9_-]{1,12}\Z")
keys = st.builds(
    EngineKey,
    graph=words,
    onnx=st.binary(min_size=1, max_size=4).map(lambda data: hashlib.sha256(data).hexdigest()),
    precision=words,
    profile=words,
    batch=st.integers(1, 64),
    target=words,
    flavour=st.from_regex(r"\A[a-z]{1,8}\Z"),
    version=st.from_regex(r"\A[A-Za-z0-9_.+-]{1,12}\Z"),
    recipe=st.integers(1, 9),
)


@settings(deadline=None)
@given(keys, keys)
def test_two_keys_share_a_name_only_if_equal(one, other):
    assert (one.name == other.name) == (one == other)


@settings(deadline=None)
@given(keys, st.sampled_from(sorted(EngineKey.model_fields)), keys)
def test_any_changed_ingredient_changes_the_name(key, field, other):
    changed = key.model_copy(update={field: getattr(other, field)})
    assert (changed.name == key.name) == (getattr(other, field) == getattr(key, field))


@settings(deadline=None)
@given(keys)
def test_a_name_is_one_file_name_and_survives_its_sidecar(key):
    assert Path(key.name).name == key.name
    assert len(key.name) < 255 - len(".json")
    assert EngineKey.model_validate_json(key.model_dump_json()) == key


def test_a_name_holds_what_the_issue_asks_for():
    assert KEY.name == f"encoder_ir.fp16.640x480.b1.sm_86.r2.rtx-1.7.1.116.{SHA}.plan"
