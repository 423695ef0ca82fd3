"""A manifest gives its tasks exactly, or names every bad line with what is allowed."""

import csv
import io
import json
import math
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.batch.manifest import ManifestError, read_manifest
from pipeline.batch.task import Task

LETTERS = st.characters(exclude_categories=("Cs", "Cc"))
PLAIN = st.text(LETTERS, min_size=1, max_size=12).map(str.strip).filter(lambda text: text and "://" not in text)
"""What a file may be called, and CSV keeps: blanks at its ends are not kept."""
ROWS = st.lists(
    st.fixed_dictionaries(
        {"ir": PLAIN, "vis": PLAIN},
        optional={"rig": PLAIN, "offset": st.floats(-1e9, 1e9), "options": st.just({"crf": "23", "view": "blend"})},
    ),
    min_size=1,
    max_size=6,
)
MANY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write(folder, text, name="m.csv"):
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def wrong(folder, text, name="m.csv", **options):
    """What is told of a bad manifest, without its path."""
    path = write(folder, text, name)
    with pytest.raises(ManifestError) as caught:
        read_manifest(path, **options)
    assert caught.value.exit_code == 2
    return str(caught.value).replace(f"{path}: ", "")


def expected(folder, row, number):
    place = lambda name: os.path.normpath(os.path.join(folder, name))  # noqa: E731
    rig = place(row["rig"]) if "rig" in row else None
    return Task(place(row["ir"]), place(row["vis"]), f"{number}.mp4", rig, row.get("offset"), row.get("options", {}))


@MANY
@given(rows=ROWS)
def test_json_lines_come_back_as_they_were_written(tmp_path, rows):
    lines = [json.dumps({**row, "out": f"{number}.mp4"}) for number, row in enumerate(rows)]
    tasks = read_manifest(write(tmp_path, "\n".join(lines), "m.jsonl"))
    assert tasks == [expected(tmp_path, row, number) for number, row in enumerate(rows)]


@MANY
@given(rows=ROWS, delimiter=st.sampled_from(",;\t"), end=st.sampled_from(["\n", "\r\n"]), mark=st.booleans())
def test_csv_of_every_spreadsheet_comes_back_as_it_was_written(tmp_path, rows, delimiter, end, mark):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end)
    writer.writerow(["ir", "vis", "out", "rig", "offset", "options"])
    for number, row in enumerate(rows):
        options = ";".join(f"{name}={value}" for name, value in row.get("options", {}).items())
        offset = repr(row["offset"]) if "offset" in row else ""
        writer.writerow([row["ir"], row["vis"], f"{number}.mp4", row.get("rig", ""), offset, options])
    tasks = read_manifest(write(tmp_path, ("\ufeff" if mark else "") + text.getvalue()))
    assert tasks == [expected(tmp_path, row, number) for number, row in enumerate(rows)]


@MANY
@given(content=st.binary(max_size=200), name=st.sampled_from(["m.csv", "m.jsonl"]), header=st.booleans())
def test_whatever_is_in_a_file_it_is_tasks_or_one_kind_of_error(tmp_path, content, name, header):
    path = write(tmp_path, (b"ir,vis,out\n" if header else b"") + content, name)
    error = ""
    try:
        tasks = read_manifest(path)
    except ManifestError as refused:
        error = str(refused)
    else:
        assert len({task.out for task in tasks}) == len(tasks) > 0
    assert error == "" or str(path) in error


def test_every_bad_line_is_named_by_the_line_it_begins_on(tmp_path):
    told = wrong(
        tmp_path,
        'ir,vis,out,offset\n"a.mp4",b.mp4,ok.mp4,0.5\n\na.mp4,,x.mp4,\na.mp4,b.mp4,y.mp4,0;5\n"a\n.mp4",b.mp4,z.mp4,\n'
        "a.mp4,b.mp4,../z.mp4,\na.mp4,b.mp4,ok.mp4,\na,b,c,d,e\n",
    )
    assert told.splitlines() == [
        "line 4: no vis; allowed is a path or an address like s3://bucket/name",
        "line 5: offset '0;5': give seconds, at most 1e+10 either way, with a point",
        "line 6: ir 'a\\n.mp4': a control character in it; rename the file",
        "line 8: out ../z.mp4: outside the output folder; give a name below it, a whole path, or an address",
        "line 9: out ok.mp4: line 2 writes it already; give each its own",
        "line 10: 5 cells under 4 columns; quote a name that holds ','",
    ]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"ir": "a", "vis": "b", "out": "c.mp4", "ofset": 1}', "unknown 'ofset'; allowed are ir, vis, out, rig"),
        ('{"ir": "a", "vis": "b", "out": "c.mp4", "ir": "d"}', "'ir' is there twice"),
        ('{"ir": 5, "vis": "b", "out": "c.mp4"}', "ir 5: allowed is a path or an address, in quotes"),
        ('{"ir": "a", "vis": "\\ud800", "out": "c.mp4"}', "half a character in it"),
        ('{"ir": "a", "vis": "b", "out": "c.mp4", "offset": NaN}', "offset 'nan': give seconds"),
        ('{"ir": "a", "vis": "b", "out": "c.mp4", "offset": true}', "offset 'True': give seconds"),
        ('{"ir": "a", "vis": "b", "out": "c.mp4", "options": {"crf": [1]}}', "option crf [1]: give a word"),
        ('{"ir": "a", "vis": "b", "out": "c.mp4", "options": {"crv": 1}}', "option 'crv': allowed are crf, hot_level"),
        ('{"ir": "s3://k:secret@b/x", "vis": "b", "out": "c.mp4"}', "s3:// address: a login in it"),
        ('["a", "b", "c"]', "not an object"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_bad_line_says_what_is_allowed(tmp_path, line, told):
    text = wrong(tmp_path, f"\n{line}\n", "m.ndjson", options=("crf", "hot_level"))
    assert text.startswith("line 2: ")
    assert told in text
    assert "secret" not in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("ir,vis\na,b\n", "line 1: no column out; the header is ir,vis,out,rig,offset,options"),
        ("ir,vis,out,oout\n", "line 1: unknown column 'oout'; allowed are ir, vis, out, rig, offset, options"),
        ("ir,vis,out,ir\n", "line 1: column ir is there 2 times"),
        ("ir,vis,out\n", "no pair in it; give a line with ir, vis, out for each"),
        ("", "line 1: no column ir"),
        ('ir,vis,out\n"a,b,c\n', "not CSV: unexpected end of data"),
        (b"ir,vis,out\na,b,\xff.mp4\n", "line 2 is not UTF-8; save it as UTF-8"),
    ],
)
def test_a_file_that_is_no_manifest_says_why(tmp_path, content, told):
    assert told in wrong(tmp_path, content)


def test_a_name_that_is_no_manifests_or_not_there_is_told(tmp_path):
    assert "give a file in .csv, .jsonl, .ndjson" in wrong(tmp_path, "", "m.txt")
    with pytest.raises(ManifestError, match="No such file or directory; check the name"):
        read_manifest(tmp_path / "none.csv")


def test_of_many_bad_lines_twenty_are_told_and_the_rest_counted(tmp_path):
    told = wrong(tmp_path, "ir,vis,out\n" + "a,b\n" * 50).splitlines()
    assert len(told) == 21
    assert told[-1] == "and 30 more bad lines"


def test_relative_names_start_from_the_manifest_or_the_base_and_addresses_stay(tmp_path):
    text = "ir,vis,out\na.mp4,s3://b/v.mp4,day//x.mp4\n/abs/a.mp4,../v.mp4,s3://b/out.mp4\n"
    path = write(tmp_path, text)
    first, second = read_manifest(path)
    assert (first.ir, first.vis, first.out) == (str(tmp_path / "a.mp4"), "s3://b/v.mp4", "day/x.mp4")
    assert (second.ir, second.vis, second.out) == ("/abs/a.mp4", str(tmp_path.parent / "v.mp4"), "s3://b/out.mp4")
    assert read_manifest(path, base="s3://b/in/")[0].ir == "s3://b/in/a.mp4"


def test_options_are_texts_by_the_names_of_the_command_line(tmp_path):
    path = write(tmp_path, 'ir,vis,out,options\na,b,c.mp4,"hot-level=200; palette=white hot"\n')
    assert read_manifest(path)[0].options == {"hot_level": "200", "palette": "white hot"}
    line = {"ir": "a", "vis": "b", "out": "c.mp4", "options": {"gray": True, "weight": 0.5, "crf": 23}}
    path = write(tmp_path, json.dumps(line), "m.jsonl")
    assert read_manifest(path)[0].options == {"gray": "true", "weight": "0.5", "crf": "23"}
    assert math.isclose(float(read_manifest(path)[0].options["weight"]), 0.5)
