"""Image files become levels of red, green and blue, whatever their colour mode."""

import io
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import BITSPERSAMPLE, TiffImageFile

from lightning_sparse.errors import UserError, as_line, is_out_of_memory

_LARGEST_LEVEL = 255
_LARGEST_16_BIT = 65535


@final
class CorruptImageError(UserError):
    """A file that is damaged or no image; it may be left out of a data set."""


def decoded(file: str | Path) -> UInt8[np.ndarray, "h w 3"]:
    """Decode one image file.

    Grey images of 16 bits, also those that Pillow keeps in 32, are scaled from 0 to 65,535 (a TIFF
    of fewer bits from 0 to its own largest level), floating-point ones from 0 to 1.

    Raises:
        CorruptImageError: If the file is damaged or is not an image.
        UserError: If it cannot be read, also because it is a link to nothing, is larger than Pillow
            takes for harmless, or has levels whose scale cannot be told.
    """
    content = _content(file)
    try:
        with Image.open(io.BytesIO(content)) as image:
            return _levels(image, as_line(str(file)))
    except UserError:
        raise
    except Image.DecompressionBombError as error:
        raise UserError(
            f"{as_line(str(file))}: has too many pixels ({error}); shrink or remove it"
        ) from error
    # Pillow tells of broken files in many other ways than by OSError.
    except Exception as error:
        if is_out_of_memory(error):
            raise
        reason = "no known kind of image" if isinstance(error, UnidentifiedImageError) else error
        raise CorruptImageError(
            f"{as_line(str(file))}: cannot be decoded ({reason}); replace or remove it"
        ) from error


def _content(file: str | Path) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        if is_out_of_memory(error):
            raise
        remedy = (
            "remove it, or what leads there"
            if isinstance(error, FileNotFoundError)
            else "make it readable for the user that this runs as, or remove it"
        )
        raise UserError(
            f"{as_line(str(file))}: cannot be read ({error.strerror}); {remedy}"
        ) from error


def _levels(image: Image.Image, name: str) -> UInt8[np.ndarray, "h w 3"]:
    """Scale what has other levels than 0 to 255; Pillow would cut it off there."""
    if image.mode == "F":
        return _grey(_scaled_floats(np.asarray(image), name))
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _grey(_scaled_integers(image, name))
    return np.array(image.convert("RGB"))


def _scaled_floats(values: Float[np.ndarray, "h w"], name: str) -> Float[np.ndarray, "h w"]:
    lowest, highest = float(values.min()), float(values.max())
    # A value that is no number compares as false.
    if not (lowest >= 0 and highest <= 1):
        raise UserError(
            f"{name}: has floating-point levels from {lowest:g} to {highest:g}, which are taken "
            "from 0 to 1; save it so, or with 8 or 16 bits"
        )
    return values * _LARGEST_LEVEL


def _scaled_integers(image: Image.Image, name: str) -> Float[np.ndarray, "h w"]:
    values: Int[np.ndarray, "h w"] = np.asarray(image)
    scale, lowest, highest = _LARGEST_16_BIT, int(values.min()), int(values.max())
    if isinstance(image, TiffImageFile):
        bits = int(image.tag_v2.get(BITSPERSAMPLE, (16,))[0])
        scale = min(scale, 2**bits - 1)
        # Nothing says what the levels of so many bits mean.
        is_unclear = bits > 16 and 1 < highest <= _LARGEST_LEVEL  # noqa: PLR2004
    else:
        is_unclear = False
    if is_unclear or lowest < 0 or highest > scale:
        raise UserError(
            f"{name}: has integer levels from {lowest} to {highest} in mode {image.mode}, which "
            f"are taken from 0 to {scale}; save it with 8 or 16 bits"
        )
    return values * (_LARGEST_LEVEL / scale)


def _grey(levels: Float[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    rounded = np.rint(levels).astype(np.uint8)
    return np.repeat(rounded[:, :, None], 3, axis=2)
