"""Pairs are found or their absence is explained; crops show the same place; draws can be repeated."""

import struct
import zlib

import cv2
import numpy as np
import pytest

from tests.training.material import noise, textured, write_pair, write_pairs
from training.data import DataError, ImagePair, draw_batch, find_pairs, read_luma, split


def save(path, picture):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture)


@pytest.fixture
def folder(tmp_path):
    """One good pair, `good`."""
    write_pair(tmp_path, "good", noise(20, 30), noise(20, 30, 1))
    return tmp_path


def skipped(folder, **options):
    found = find_pairs([folder], **options)
    assert [pair.ir.stem for pair in found.pairs] == ["good"]
    return [line.removeprefix(f"{folder}/") for line in found.skipped]


def test_pairs_come_in_order_of_folder_and_name_with_their_size(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for place, name in ((two, "a"), (one, "c"), (one, "b")):
        write_pair(place, name, noise(20, 30), noise(20, 30))
    found = find_pairs([two, one])
    assert [(p.ir.parent.parent.name, p.ir.name, p.vis.name) for p in found.pairs] == [
        ("two", "a.png", "a.png"),
        ("one", "b.png", "b.png"),
        ("one", "c.png", "c.png"),
    ]
    assert {(p.height, p.width) for p in found.pairs} == {(20, 30)}
    assert found.skipped == ()


def test_partners_may_have_different_suffixes_in_any_case(tmp_path):
    save(tmp_path / "ir" / "a.PNG", noise(9, 9))
    save(tmp_path / "vis" / "a.jpg", noise(9, 9))
    assert len(find_pairs([tmp_path]).pairs) == 1


def test_every_file_without_a_partner_is_listed(folder):
    save(folder / "ir" / "hot.png", noise(20, 30))
    save(folder / "vis" / "seen.png", noise(20, 30))
    assert skipped(folder) == ["ir/hot.png: no partner in vis/", "vis/seen.png: no partner in ir/"]


def test_every_unreadable_file_is_listed(folder):
    for kind in ("ir", "vis"):
        write_pair(folder, f"broken_{kind}", noise(20, 30), noise(20, 30))
        file = folder / kind / f"broken_{kind}.png"
        file.write_bytes(file.read_bytes()[:300])  # cut off
        (folder / kind / "empty.png").write_bytes(b"")
    assert skipped(folder) == [
        "ir/broken_ir.png: not a readable image",
        "vis/broken_vis.png: not a readable image",
        "ir/empty.png: not a readable image",
        "vis/empty.png: not a readable image",
    ]


def test_16_bit_pictures_are_listed_as_they_would_be_nearly_black(folder):
    write_pair(folder, "raw", noise(20, 30).astype(np.uint16) * 16, noise(20, 30))
    assert skipped(folder) == ["ir/raw.png: pixels of type uint16; train on 8-bit images"]


def test_pairs_of_two_sizes_and_small_ones_are_listed(folder):
    write_pair(folder, "odd", noise(20, 30), noise(20, 31))
    write_pair(folder, "small", noise(30, 15), noise(30, 15))
    assert skipped(folder, at_least=16) == [
        "ir/odd.png: 30x20, its partner is 31x20; a pair has one size",
        "ir/small.png: 15x30, a side below the 16 px needed",
    ]


def test_second_files_of_one_name_are_listed(folder):
    save(folder / "ir" / "good.bmp", noise(20, 30))
    save(folder / "vis" / "good.tif", noise(20, 30))
    assert skipped(folder) == [
        "ir/good.png: good.bmp has the same name and is used",
        "vis/good.tif: good.png has the same name and is used",
    ]


def test_what_is_no_image_is_listed_but_for_hidden_files(folder):
    (folder / "ir" / "notes.txt").write_text("hello")
    (folder / "vis" / "more").mkdir()
    (folder / "vis" / "folder.png").mkdir()
    (folder / "ir" / ".hidden.png").write_bytes(b"")
    (folder / "vis" / ".DS_Store").write_bytes(b"")
    assert skipped(folder) == [
        "ir/notes.txt: not an image file",
        "vis/folder.png: not an image file",
        "vis/more: not an image file",
    ]


@pytest.mark.parametrize("missing", ["ir", "vis"])
def test_a_folder_without_ir_or_vis_is_an_error(tmp_path, missing):
    (tmp_path / {"ir": "vis", "vis": "ir"}[missing]).mkdir()
    with pytest.raises(DataError, match=rf"{missing}: no such folder; a folder of pairs holds ir/ and vis/"):
        find_pairs([tmp_path])


def test_no_usable_pair_is_an_error_that_shows_a_reason(tmp_path):
    write_pair(tmp_path, "small", noise(10, 10), noise(10, 10))
    with pytest.raises(DataError, match=r"no usable pair, 1 files skipped \(the first: .*small\.png: 10x10"):
        find_pairs([tmp_path], at_least=11)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_colour_is_read_as_full_range_bt601_luma(tmp_path, suffix):
    bgr = np.dstack([noise(13, 17, k) for k in range(3)])
    save(tmp_path / f"a{suffix}", bgr)
    wanted = bgr @ [0.114, 0.587, 0.299]  # ITU-R BT.601
    assert np.abs(read_luma(tmp_path / f"a{suffix}") - wanted).max() <= 0.51  # half a level, and 14-bit coefficients


def test_jpeg_luma_is_that_of_its_colours(tmp_path):
    bgr = np.dstack([textured(40, 50, k) for k in range(3)])
    save(tmp_path / "a.jpg", bgr)
    wanted = cv2.imread(str(tmp_path / "a.jpg")) @ [0.114, 0.587, 0.299]
    assert np.abs(read_luma(tmp_path / "a.jpg") - wanted).max() <= 0.51


@pytest.mark.parametrize("chunk", [b"sRGB\0", b"gAMA\0\0\xb1\x8f"], ids=["sRGB", "gAMA"])
def test_colour_tags_of_a_png_do_not_change_its_luma(tmp_path, chunk):
    """Found: OpenCV's own gray reading goes through linear light then, and was 66 levels off."""
    bgr = np.dstack([noise(13, 17, k) for k in range(3)])
    save(tmp_path / "plain.png", bgr)
    data = (tmp_path / "plain.png").read_bytes()
    tag = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "tagged.png").write_bytes(data[:33] + tag + data[33:])  # after the signature and IHDR
    np.testing.assert_array_equal(read_luma(tmp_path / "tagged.png"), read_luma(tmp_path / "plain.png"))


def test_gray_is_read_as_it_is(tmp_path):
    save(tmp_path / "a.png", noise(9, 15))
    np.testing.assert_array_equal(read_luma(tmp_path / "a.png"), noise(9, 15))


def test_a_file_that_is_gone_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match=r"a\.png: No such file"):
        read_luma(tmp_path / "a.png")


def some_pairs(count):
    return [ImagePair(f"ir{k}", f"vis{k}", 10, 10) for k in range(count)]


@pytest.mark.parametrize(
    ("count", "share", "held"), [(20, 0.05, 1), (20, 0.25, 5), (3, 0.05, 0), (7, 0, 0), (1, 0.5, 0)]
)
def test_split_is_a_partition(count, share, held):
    pairs = some_pairs(count)
    training, validation = split(pairs, share=share, seed=3)
    assert len(validation) == held
    assert sorted(p.ir for p in [*training, *validation]) == sorted(p.ir for p in pairs)


def test_split_depends_on_the_seed_alone():
    pairs = some_pairs(40)
    assert split(pairs, share=0.2, seed=1) == split(pairs, share=0.2, seed=1)
    assert split(pairs, share=0.2, seed=1) != split(pairs, share=0.2, seed=2)


@pytest.fixture
def places(tmp_path):
    """A 16x16 pair whose pixels tell their place: ir holds 16 row + column, vis the same from the other end."""
    place = np.arange(256, dtype=np.uint8).reshape(16, 16)
    write_pair(tmp_path, "a", place, 255 - place)
    return list(find_pairs([tmp_path]).pairs)


def test_crops_of_both_pictures_show_the_same_place(places):
    ir, vis = draw_batch(places, size=6, count=64, seed=0, step=0)
    assert ir.shape == vis.shape == (64, 1, 6, 6)
    assert ir.dtype == vis.dtype == np.uint8
    np.testing.assert_array_equal(ir, 255 - vis)


def test_crops_are_whole_windows_flipped_in_all_four_ways(places):
    ir = draw_batch(places, size=6, count=200, seed=0, step=0)[0][:, 0].astype(int)
    ways = set()
    for crop in ir:
        down, across = crop[1, 0] - crop[0, 0], crop[0, 1] - crop[0, 0]
        ways.add((down, across))
        rows, columns = np.mgrid[:6, :6]
        np.testing.assert_array_equal(crop, crop[0, 0] + down * rows + across * columns)
        first = crop.min()
        assert first % 16 <= 10  # no window runs over the right border into the next row
    assert ways == {(16, 1), (16, -1), (-16, 1), (-16, -1)}


def test_crops_reach_every_place_up_to_the_borders(places):
    ir = draw_batch(places, size=14, count=300, seed=0, step=0)[0]
    assert {int(crop.min()) for crop in ir} == {16 * row + column for row in range(3) for column in range(3)}


def test_a_crop_may_be_the_whole_picture(places):
    ir = draw_batch(places, size=16, count=4, seed=0, step=0)[0]
    assert all(sorted(crop.ravel()) == list(range(256)) for crop in ir)


def test_the_draw_depends_on_seed_and_step_alone(tmp_path):
    pairs = find_pairs([write_pairs(tmp_path, 4)]).pairs
    first = draw_batch(pairs, size=16, count=3, seed=5, step=7)
    draw_batch(pairs, size=20, count=2, seed=1, step=1)
    for one, two in zip(first, draw_batch(pairs, size=16, count=3, seed=5, step=7), strict=True):
        np.testing.assert_array_equal(one, two)
    for seed, step in ((5, 8), (6, 7), (7, 5)):
        assert (draw_batch(pairs, size=16, count=3, seed=seed, step=step)[0] != first[0]).any()


def test_shares_of_all_processes_make_up_the_batch(tmp_path):
    pairs = find_pairs([write_pairs(tmp_path, 4)]).pairs
    whole = draw_batch(pairs, size=16, count=6, seed=5, step=7)
    for each in (1, 2, 3):
        shares = [
            draw_batch(pairs, size=16, count=6, seed=5, step=7, share=slice(k, k + each)) for k in range(0, 6, each)
        ]
        for kind in (0, 1):
            np.testing.assert_array_equal(np.concatenate([share[kind] for share in shares]), whole[kind])


def test_every_pair_is_drawn(tmp_path):
    pairs = []
    for k in range(5):
        write_pair(tmp_path, str(k), np.full((8, 8), k, np.uint8), np.full((8, 8), k, np.uint8))
    pairs = find_pairs([tmp_path]).pairs
    ir, vis = draw_batch(pairs, size=4, count=100, seed=0, step=0)
    assert set(ir.ravel()) == set(range(5))
    np.testing.assert_array_equal(ir, vis)  # partners, never a stranger
