"""Odd images: right levels, or one line that says what is wrong with the file."""

import numpy as np
import pytest
from PIL import Image

from lightning_sparse.data.decoding import CorruptImageError, decoded
from lightning_sparse.errors import UserError

RAMP = np.linspace(0, 1, 52)[None, :].repeat(4, axis=0)
# Multiples of 5, so that every scale holds them exactly.
LEVELS = np.rint(255 * RAMP).astype(np.uint8)


def save(tmp_path, pixels, name):
    file = tmp_path / name
    Image.fromarray(pixels).save(file)
    return file


@pytest.mark.parametrize(
    ("pixels", "name"),
    [
        (LEVELS, "8.png"),
        (LEVELS.astype(np.uint16) * 257, "16.png"),
        (LEVELS.astype(np.uint16) * 257, "16.tif"),
        (LEVELS.astype(np.uint16) * 257, "16.pgm"),
        (LEVELS.astype(np.int32) * 257, "32.tif"),
        ((LEVELS / 255).astype(np.float32), "float.tif"),
    ],
)
def test_grey_levels_are_those_of_the_image_whatever_its_depth(tmp_path, pixels, name):
    levels = decoded(save(tmp_path, pixels, name))

    assert levels.dtype == np.uint8
    assert np.array_equal(levels, LEVELS[:, :, None].repeat(3, axis=2))


def test_a_tiff_of_twelve_bits_is_scaled_by_twelve_bits(tmp_path):
    file = tmp_path / "12.tif"
    # Two levels of twelve bits in three bytes: the largest, and none.
    packed = bytes([0xFF, 0xF0, 0x00]) * 2
    Image.frombytes("L", (len(packed), 1), packed).save(file)
    content = bytearray(file.read_bytes())
    with Image.open(file) as image:
        entries = {256: 4, 258: 12}
        directory = int.from_bytes(content[4:8], "little")
        assert image.tag_v2[258] == (8,)
    for place in range(directory + 2, len(content) - 11, 12):
        tag = int.from_bytes(content[place : place + 2], "little")
        if tag in entries:
            content[place + 8 : place + 12] = entries.pop(tag).to_bytes(4, "little")
    file.write_bytes(content)

    assert entries == {}
    assert decoded(file)[0, :, 0].tolist() == [255, 0, 255, 0]


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (2 * RAMP.astype(np.float32), "floating-point levels from 0 to 2, .* taken from 0 to 1"),
        (RAMP.astype(np.float32) - 1, "floating-point levels from -1 to 0"),
        (np.full((2, 2), np.nan, np.float32), "floating-point levels from nan to nan"),
        (LEVELS.astype(np.int32), "integer levels from 0 to 255 in mode I, .* from 0 to 65535"),
        (LEVELS.astype(np.int32) * 1000, "integer levels from 0 to 255000"),
        (LEVELS.astype(np.int32) - 1, "integer levels from -1"),
    ],
)
def test_levels_of_unclear_scale_are_refused_and_not_called_corrupt(tmp_path, pixels, message):
    file = save(tmp_path, pixels, "odd.tif")

    with pytest.raises(UserError, match=rf"odd\.tif: has {message}.*save it") as caught:
        decoded(file)
    assert not isinstance(caught.value, CorruptImageError)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_other_colour_modes_are_as_pillow_converts_them(tmp_path, mode):
    kind = {"CMYK": "JPEG", "YCbCr": "JPEG"}.get(mode, "PNG")
    file = tmp_path / "odd.JPEG"
    Image.fromarray(np.stack([LEVELS, 255 - LEVELS, LEVELS // 2], -1)).convert(mode).save(
        file, kind
    )

    with Image.open(file) as image:
        assert np.array_equal(decoded(file), np.array(image.convert("RGB")))


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"\xff\xd8\xff\xe0\0\x10JFIF\0"])
def test_what_is_no_image_is_corrupt(tmp_path, content):
    file = tmp_path / "odd.JPEG"
    file.write_bytes(content)

    with pytest.raises(CorruptImageError, match=r"odd\.JPEG: cannot be decoded \([^<]+\); replace"):
        decoded(file)


def test_half_an_image_is_corrupt_whatever_its_kind(tmp_path):
    for name in ("odd.png", "odd.tif", "odd.jpg", "odd.bmp", "odd.webp"):
        file = save(tmp_path, np.dstack([LEVELS] * 3), name)
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])

        with pytest.raises(CorruptImageError, match=rf"{name}: cannot be decoded"):
            decoded(file)


def test_a_link_that_leads_nowhere_is_named_and_is_not_corrupt(tmp_path):
    (tmp_path / "gone.JPEG").symlink_to("nowhere")

    with pytest.raises(UserError, match=r"gone\.JPEG: .*\(No such file.*remove it") as caught:
        decoded(tmp_path / "gone.JPEG")
    assert not isinstance(caught.value, CorruptImageError)


def test_an_image_that_may_not_be_read_is_not_corrupt(as_stranger):
    file = save(as_stranger.folder, LEVELS, "odd.png")
    file.chmod(0)

    with as_stranger(), pytest.raises(UserError, match=r"odd\.png: .*Permission denied") as caught:
        decoded(file)
    assert not isinstance(caught.value, CorruptImageError)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_an_image_of_too_many_pixels_is_told_so_and_is_not_corrupt(tmp_path):
    file = tmp_path / "odd.png"
    Image.new("1", (14000, 13000)).save(file)

    with pytest.raises(UserError, match=r"too many pixels \(.*182000000 pixels") as caught:
        decoded(file)
    assert not isinstance(caught.value, CorruptImageError)


def test_a_name_that_is_not_utf_8_can_be_shown(tmp_path):
    name = tmp_path / "caf\udce9.JPEG"
    name.write_bytes(b"")

    with pytest.raises(CorruptImageError) as caught:
        decoded(name)
    assert r"caf\udce9.JPEG: cannot be decoded" in str(caught.value).encode("ascii").decode()
