"""Addresses of live sources: what is understood, what is refused, and that no password is ever told."""

import base64
import dataclasses
import logging
import pickle
from fractions import Fraction
from urllib.parse import quote

import pytest
from av.error import InvalidDataError
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.frames import InputError
from pipeline.live.address import parse_address
from pipeline.live.capture import Capture
from pipeline.live.capture_options import ffmpeg_options
from pipeline.live.login import HIDDEN, redact
from pipeline.live.shots import SourceLostError

ODD = st.text(st.sampled_from("@:/#%?&=+;,!$'\"()[]{}<>|~^`* \\äß秘密🔑aZ09"), min_size=4, max_size=16)
"""Passwords of what breaks addresses; shorter ones are found in any text by chance."""


def spellings(password):
    """How a password can stand in a text."""
    return {password, quote(password), quote(password, safe=""), password.encode("unicode_escape").decode()}


def told(text, password):
    """Which spellings of a password a text gives away; none that are of plain words and signs of ours."""
    return [one for one in spellings(password) if one in text]


@pytest.mark.parametrize(
    ("text", "kind", "url"),
    [
        ("rtsp://cam:554/s?channel=1", "rtsp", "rtsp://cam:554/s?channel=1"),
        ("RTSPS://cam/s", "rtsp", "rtsps://cam/s"),
        ("https://cam/mjpg", "http", "https://cam/mjpg"),
        ("udp://239.0.0.1:1234", "udp", "udp://239.0.0.1:1234"),
        ("udp://:1234?fifo_size=5", "udp", "udp://:1234?fifo_size=5"),
        ("tcp://[::1]:99", "tcp", "tcp://[::1]:99"),
        ("v4l2:/dev/video2", "v4l2", "/dev/video2"),
        ("/dev/video2", "v4l2", "/dev/video2"),
        ("file:/a/b.mp4", "file", "/a/b.mp4"),
        ("file:///a/b.mp4", "file", "/a/b.mp4"),
        ("b.mp4", "file", "b.mp4"),
    ],
)
def test_each_kind_is_told_by_its_scheme(text, kind, url):
    address = parse_address(text)
    assert (address.kind, address.url) == (kind, url)


def test_our_options_are_taken_out_of_the_query_and_theirs_stay():
    text = "rtsp://cam/s?channel=1&transport=udp&subtype=0#clock=arrival&open_timeout=2.5&read_timeout=7&bits=16"
    address = parse_address(text)
    assert address.url == "rtsp://cam/s?channel=1&subtype=0"
    assert (address.transport, address.clock, address.open_timeout, address.read_timeout) == ("udp", "arrival", 2.5, 7)
    assert address.is_deep


def test_defaults_are_tcp_five_and_ten_seconds_and_the_sources_own_clock():
    address = parse_address("rtsp://cam/s")
    assert (address.transport, address.clock, address.open_timeout, address.read_timeout) == ("tcp", "pts", 5, 10)
    assert not address.is_deep


def test_a_device_takes_format_size_and_rate():
    address = parse_address("v4l2:/dev/video0?fmt=y16&size=640x480&fps=30000/1001")
    assert (address.fmt, address.size, address.fps) == ("Y16", (640, 480), Fraction(30000, 1001))
    assert address.is_deep
    file, form, options = ffmpeg_options(address)
    assert (file, form) == ("/dev/video0", "v4l2")
    assert options | {"input_format": "gray16le", "video_size": "640x480", "framerate": "30000/1001"} == options


def test_rtsp_is_opened_for_its_video_alone_by_the_transport_chosen():
    for transport in ("tcp", "udp"):
        _, form, options = ffmpeg_options(parse_address(f"rtsp://cam/s#transport={transport}"))
        assert form is None
        assert options["rtsp_transport"] == transport
        assert options["allowed_media_types"] == "video"
        assert "file" not in options["protocol_whitelist"].split(",")


def test_a_file_is_paced_unless_told_otherwise():
    assert parse_address("file:a.mp4").realtime
    assert not parse_address("file:a.mp4").loop
    address = parse_address("file:a.mp4?realtime=0&loop=1")
    assert (address.url, address.realtime, address.loop) == ("a.mp4", False, True)


def test_a_question_mark_in_the_name_of_a_file_that_is_there_is_part_of_it(tmp_path):
    (tmp_path / "why?loop=1").touch()
    assert parse_address(f"file:{tmp_path}/why?loop=1").url == f"{tmp_path}/why?loop=1"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "give an address"),
        ("rtsp:/cam/s", "write rtsp://host"),
        ("rtsp:///s", "no host"),
        ("rtsp://cam:99999/s", "no host and port"),
        ("tcp://cam", "no port; write tcp://host:port"),
        ("ftp://cam/s", "use rtsp://"),
        ("rtsp://cam/s#transport=quic", "use one of tcp, udp"),
        ("rtsp://cam/s#clock=ntp", "use one of pts, arrival"),
        ("rtsp://cam/s#open_timeout=0", "give seconds from 0.1"),
        ("rtsp://cam/s#open_timeout=nan", "give seconds from 0.1"),
        ("rtsp://cam/s#loop=1", "use clock, open_timeout, read_timeout, bits, transport"),
        ("v4l2:video0", "write v4l2:/dev/video0"),
        ("v4l2:/dev/video0?fmt=Y17", "use one of Y16, GREY"),
        ("v4l2:/dev/video0?size=0x480", "like 640x480"),
        ("v4l2:/dev/video0?fps=9/0", "like 9 or 30000/1001"),
        ("v4l2:/dev/video0?fps=0", "like 9 or 30000/1001"),
        ("file:a.mp4?speed=2", "use clock, open_timeout, read_timeout, bits, realtime, loop"),
        ("file:", "without a path"),
        ("rtsp://cam/\r\nX: y", "control character"),
        ("rtsp://u:a%0d%0ab@cam/", "control character"),
        ("rtsp://" + "u" * 130 + ":p@cam/", "RTSP takes 127"),
        ("admin:secret@cam/s", "login without a scheme"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line_with_the_way_out(text, part):
    with pytest.raises(InputError) as refusal:
        parse_address(text)
    assert part in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("p@ssw:%40rd", "p%40ssw%3A%40rd"),
        ("pa/ss", "pa%2Fss"),
        ("a#b?c", "a%23b%3Fc"),
        ("100%", "100%25"),
        ("%E9t%C3%A9", "%E9t%C3%A9"),
        ("with blank", "with%20blank"),
        ("", ""),
    ],
)
def test_a_password_may_be_typed_as_it_is_or_encoded(typed, sent):
    address = parse_address(f"rtsp://adm:{typed}@cam:554/s")
    assert address.url == f"rtsp://adm:{sent}@cam:554/s"
    assert address.label == f"rtsp://{HIDDEN}@cam:554/s"
    assert address.place == "cam:554"


@pytest.mark.parametrize("text", ["rtsp://adm:12/34@cam/s", "rtsp://u:p@ss/w@cam/s", "rtsp://u/x:word@cam/s"])
def test_a_password_that_could_end_in_two_places_is_not_guessed(text):
    with pytest.raises(InputError, match="can end the password in two places; write @ / "):
        parse_address(text)


def test_an_at_sign_in_a_query_is_no_login():
    assert parse_address("http://cam/x?mail=a@b.c").url == "http://cam/x?mail=a@b.c"


@given(password=ODD, user=st.sampled_from(["admin", "u ser", "ü", ""]))
@example(password="p@ssw:%40rd", user="u")
@example(password="pass", user="admin")
@example(password="a@b:554/c", user="admin")
def test_no_password_is_told_by_label_repr_or_error_however_odd(password, user):
    for typed in (password, quote(password, safe=""), quote(password)):
        text = f"rtsp://{user}:{typed}@camera:554/stream?channel=1"
        try:
            address = parse_address(text)
        except InputError as refusal:
            texts = [str(refusal), repr(refusal)]
        else:
            texts = [str(address), repr(address), address.label, address.place, repr(address.login), f"{address}"]
            assert address.url.endswith("@camera:554/stream?channel=1")
        said = " ".join(texts).replace("rtsp://***@camera:554/stream?channel=1", "").replace("camera:554", "")
        said = said.replace("write @ / ? # % of a password as %40 %2F %3F %23 %25", "")
        said = said.replace("rtsp:// address", "")
        if password not in "Address(kind='rtsp', label='', place=''":
            assert not told(said, password)


@given(password=ODD)
@example(password="p@ssw:%40rd")
@example(password="'\"x y")
def test_no_password_is_told_by_what_ffmpeg_says(password):
    """FFmpeg's errors quote the address, its log may: neither may come through, nor hang on as the cause."""
    address = parse_address(f"rtsp://adm:{quote(password, safe='')}@camera:554/s#open_timeout=0.5")
    token = base64.b64encode(f"adm:{password}".encode()).decode()

    def opener(file, **_):
        import av.logging

        for words in (f"opening {file}", f"Authorization: Basic {token}", f"user adm password {password}"):
            av.logging.log(av.logging.ERROR, "tcp", words)
        raise InvalidDataError(1, f"bad {file} {password}", file, (16, "tcp", password))

    with pytest.raises(SourceLostError) as lost:
        Capture(address, opener=opener)
    error, texts = lost.value, []
    while error is not None:
        texts += [str(error), repr(error)]
        error = error.__cause__ or error.__context__
    said = " ".join(texts)
    assert "camera:554" in said
    assert token not in said
    plain = said.replace("camera:554", "").replace("SourceLostError", "")
    assert not told(plain, password)


@given(password=ODD, before=st.text(max_size=5), after=st.text(st.characters(exclude_characters="@\n"), max_size=5))
def test_an_address_knows_its_password_in_any_text(password, before, after):
    address = parse_address(f"http://adm:{quote(password, safe='')}@camera/s")
    for spelling in (password, quote(password, safe=""), quote(password), f"adm:{password}"):
        cleaned = address.redact(f"<<{before}|{spelling}|{after}>>")
        if HIDDEN in cleaned:
            assert password not in cleaned.replace(HIDDEN, "")
        else:
            raise AssertionError(f"{spelling!r} came through as {cleaned!r}")


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("open rtsp://u:p@h/x failed", "open rtsp://***@h/x failed"),
        ("open rtsp://u:p@ss@h/x failed", "open rtsp://***@h/x failed"),
        ("open rtsp://u:p w@h/x failed", "open rtsp://***@h/x failed"),
        ("http://h:80/x: 404, ask a@b", "http://h:80/x: 404, ask a@b"),
        ("http://h/x?user=me&pwd=it&n=1", "http://h/x?user=***&pwd=***&n=1"),
        ("/user=me_password=it_channel=1.sdp", "/user=***_password=***_channel=1.sdp"),
        ("Authorization: Digest username=me", "Authorization: ***"),
        ("monkey=3 keyframe=2", "monkey=3 keyframe=2"),
        ("nothing to hide at 10:30", "nothing to hide at 10:30"),
    ],
)
def test_what_looks_like_a_secret_is_struck_out_of_any_text(text, cleaned):
    assert redact(text) == cleaned


def test_an_address_in_a_log_line_shows_its_label(caplog):
    address = parse_address("rtsp://adm:verysecret@cam/s")
    with caplog.at_level(logging.INFO):
        logging.getLogger("x").info("%s %r %s", address, address, [address])
    assert "verysecret" not in caplog.text
    assert "verysecret" not in str(dataclasses.fields(address))


def test_an_address_can_be_compared_and_pickled():
    address = parse_address("rtsp://adm:verysecret@cam/s")
    assert pickle.loads(pickle.dumps(address)) == address
    assert dataclasses.replace(address, read_timeout=3.0).url == address.url
