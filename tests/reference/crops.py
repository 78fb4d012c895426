"""The random view of one ImageNet image in plain Python, after torchvision's RandomResizedCrop."""

import math

MIN_AREA, MAX_RATIO = 0.08, 4 / 3


def fitting_size(image_height, image_width, draws):
    for area_draw, ratio_draw in zip(draws[::2], draws[1::2], strict=True):
        area = image_height * image_width * (MIN_AREA + (1 - MIN_AREA) * area_draw)
        ratio = math.exp(math.log(MAX_RATIO) * (2 * ratio_draw - 1))
        width, height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < width <= image_width and 0 < height <= image_height:
            return height, width
    return None


def central_box(image_height, image_width):
    height = min(image_height, round(image_width * MAX_RATIO))
    width = min(image_width, round(image_height * MAX_RATIO))
    return [(image_height - height) // 2, (image_width - width) // 2, height, width]


def random_view(image_height, image_width, draws):
    *box_draws, row_draw, column_draw, mirror_draw = draws
    size = fitting_size(image_height, image_width, box_draws)
    if size is None:
        return central_box(image_height, image_width), mirror_draw < 0.5
    height, width = size
    top = int(row_draw * (image_height - height + 1))
    left = int(column_draw * (image_width - width + 1))
    return [top, left, height, width], mirror_draw < 0.5
