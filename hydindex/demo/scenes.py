"""Generated scenes that differ in structure, not only in colour.

Each kind of scene is a function of a random generator and a size in pixels. As in a real library,
there are smooth gradients, fine textures and hard edges.
"""

import colorsys
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Rng = np.random.Generator
Colour = tuple[int, int, int]
Scene = Callable[[Rng, int, int], Image.Image]

# Ranges of hues, as shares of the colour circle.
_WARM = (0.02, 0.12)
_BLUE = (0.48, 0.66)


def _colour(
    rng: Rng,
    saturation: tuple[float, float],
    value: tuple[float, float],
    hue: tuple[float, float] = (0.0, 1.0),
) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(
        rng.uniform(*hue), rng.uniform(*saturation), rng.uniform(*value)
    )
    return int(red * 255), int(green * 255), int(blue * 255)


def _shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(255, int(channel * factor)) for channel in colour)
    return red, green, blue


def _noise(rng: Rng, width: int, height: int, across: int, octaves: int = 4) -> NDArray[np.float32]:
    """Return smooth noise from 0 to 1; its coarsest octave has `across` cells per row."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        columns = across * 2**octave
        rows = max(2, round(columns * height / width))
        cells = rng.random((rows, columns), np.float32)
        smooth = Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC)
        total += np.asarray(smooth) / 2**octave
    low, high = total.min(), total.max()
    result: NDArray[np.float32] = (total - low) / (high - low)
    return result


def _mix(amount: NDArray[np.float32], low: Colour, high: Colour) -> Image.Image:
    """Interpolate between two colours: `low` where `amount` is 0, `high` where it is 1."""
    mixed = np.asarray(low) + amount[..., None] * (np.asarray(high) - np.asarray(low))
    return Image.fromarray(mixed.clip(0, 255).astype(np.uint8))


def _gradient(width: int, height: int, top: Colour, bottom: Colour) -> Image.Image:
    column = np.linspace(0, 1, height, dtype=np.float32)
    return _mix(np.repeat(column[:, None], width, axis=1), top, bottom)


def _pixels(width: int, height: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the row and the column of every pixel."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    return rows, columns


def _disc(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, fill: Colour) -> None:
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


def _masked(image: Image.Image, over: Image.Image, mask: NDArray[np.float32]) -> None:
    image.paste(over, mask=Image.fromarray((mask * 255).clip(0, 255).astype(np.uint8)))


def mountains(rng: Rng, width: int, height: int) -> Image.Image:
    """Draw overlapping ridges under a sky with a sun."""
    sky = _colour(rng, (0.2, 0.6), (0.7, 1.0))
    image = _gradient(width, height, sky, _shade(sky, rng.uniform(0.7, 1.5)))
    draw = ImageDraw.Draw(image)
    x, y = rng.uniform(0.1, 0.9) * width, rng.uniform(0.1, 0.4) * height
    radius = rng.uniform(0.04, 0.12) * width
    _disc(draw, x, y, radius, (255, 246, 214))
    land = _colour(rng, (0.15, 0.6), (0.5, 0.8), (0.05, 0.6))
    layers = int(rng.integers(2, 5))
    for layer in range(layers):
        base = height * (0.35 + 0.6 * layer / layers)
        line = _noise(rng, width, 4, int(rng.integers(2, 5)), 5)[0]
        ridge = base - (line - 0.3) * height * rng.uniform(0.25, 0.6)
        rows = np.arange(height, dtype=np.float32)[:, None]
        rock = _noise(rng, width, height, 10, 4)
        near = _shade(land, 1.1 - 0.8 * layer / layers)
        _masked(image, _mix(rock, _shade(near, 0.5), near), (rows - ridge[None, :]).clip(0, 1))
    return image


def sea(rng: Rng, width: int, height: int) -> Image.Image:
    """Draw clouds over water with the reflection of a low sun, and sometimes a sail."""
    horizon = int(height * rng.uniform(0.25, 0.75))
    sky = _colour(rng, (0.1, 0.6), (0.6, 1.0))
    water = _colour(rng, (0.3, 0.8), (0.25, 0.6), _BLUE)
    clouds = _noise(rng, width, height, int(rng.integers(2, 6)), 5)
    image = _mix(clouds**1.5, sky, (250, 248, 245))
    waves = _noise(rng, width, (height - horizon) * 6, 6, 5)[:: int(rng.integers(3, 7))]
    waves = waves[: height - horizon]
    surface = _mix(waves, _shade(water, 0.4), _shade(water, 1.5))
    image.paste(surface.resize((width, height - horizon)), (0, horizon))
    draw = ImageDraw.Draw(image)
    x = rng.uniform(0.15, 0.85) * width
    for row in range(horizon, height, 3):
        reach = rng.uniform(0.1, 1.0) * (8 + (row - horizon) * 0.35)
        draw.line((x - reach, row, x + reach, row), fill=(255, 236, 190))
    if rng.random() < 0.6:
        left, size = rng.uniform(0.1, 0.8) * width, rng.uniform(0.15, 0.4) * height
        sail = [(left, horizon + 6), (left + size * 0.6, horizon + 6), (left, horizon - size)]
        draw.polygon(sail, fill=_colour(rng, (0.0, 0.9), (0.8, 1.0)))
    return image


def skyline(rng: Rng, width: int, height: int) -> Image.Image:
    """Draw towers with lit windows at night."""
    dusk = _colour(rng, (0.4, 0.9), (0.15, 0.5))
    image = _gradient(width, height, _shade(dusk, 0.4), _shade(dusk, 2.0))
    draw = ImageDraw.Draw(image)
    light = _colour(rng, (0.2, 0.6), (0.9, 1.0))
    x = -10.0
    while x < width:
        broad = rng.uniform(0.05, 0.18) * width
        top = height * rng.uniform(0.12, 0.8)
        wall = _shade(dusk, rng.uniform(0.15, 0.9))
        draw.rectangle((x, top, x + broad, height), fill=wall)
        step = int(rng.integers(7, 14))
        for left in range(int(x) + 4, int(x + broad) - 4, step):
            for upper in range(int(top) + 5, height, step + 3):
                if rng.random() < 0.45:
                    draw.rectangle((left, upper, left + step // 2, upper + step // 2), fill=light)
        x += broad * rng.uniform(0.8, 1.3)
    return image


def portrait(rng: Rng, width: int, height: int) -> Image.Image:
    """Draw a person in front of blurred lights."""
    far = _colour(rng, (0.2, 0.7), (0.2, 0.7))
    image = _mix(_noise(rng, width, height, 3, 2), _shade(far, 0.5), _shade(far, 1.5))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(6, 24))):
        x, y, radius = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(5, 26)
        _disc(draw, x, y, radius, _colour(rng, (0.2, 0.7), (0.6, 1.0)))
    image = image.filter(ImageFilter.GaussianBlur(4))
    draw = ImageDraw.Draw(image)
    x, y = rng.uniform(0.25, 0.75) * width, rng.uniform(0.3, 0.5) * height
    head = rng.uniform(0.1, 0.2) * min(width, height)
    skin = _colour(rng, (0.3, 0.5), (0.4, 0.95), _WARM)
    hair = _colour(rng, (0.2, 0.7), (0.1, 0.6), _WARM)
    coat = _colour(rng, (0.2, 0.9), (0.3, 0.9))
    draw.ellipse((x - 2.6 * head, y + 1.4 * head, x + 2.6 * head, y + 9 * head), fill=coat)
    draw.ellipse((x - 1.25 * head, y - 1.6 * head, x + 1.25 * head, y + 1.1 * head), fill=hair)
    draw.rectangle((x - 0.4 * head, y + 0.8 * head, x + 0.4 * head, y + 1.7 * head), fill=skin)
    draw.ellipse((x - 0.9 * head, y - 1.1 * head, x + 0.9 * head, y + 1.3 * head), fill=skin)
    for side in (-0.35, 0.35):
        _disc(draw, x + side * head, y, 3, (30, 25, 25))
    draw.arc((x - 12, y + 0.3 * head, x + 12, y + 0.8 * head), 20, 160, fill=(150, 50, 50), width=3)
    return image


def still_life(rng: Rng, width: int, height: int) -> Image.Image:
    """Draw balls on a table of grained wood."""
    wall = _colour(rng, (0.1, 0.5), (0.3, 0.9))
    image = _gradient(width, height, wall, _shade(wall, 0.6))
    edge = int(height * rng.uniform(0.4, 0.7))
    grain = _noise(rng, width, (height - edge) * 8, 3, 4)[::8]
    grain = np.sin(grain * rng.uniform(10, 40)) / 2 + 0.5
    wood = _colour(rng, (0.4, 0.7), (0.4, 0.8), _WARM)
    image.paste(_mix(grain.astype(np.float32), _shade(wood, 0.5), wood), (0, edge))
    rows, columns = _pixels(width, height)
    for _ in range(int(rng.integers(3, 8))):
        radius = rng.uniform(0.07, 0.22) * min(width, height)
        x, y = rng.uniform(0.05, 0.95) * width, edge + rng.uniform(-0.6, 0.4) * radius
        distance = np.hypot(columns - x, rows - y) / radius
        lit = np.hypot(columns - x + radius * 0.4, rows - y + radius * 0.4) / (1.7 * radius)
        colour = _colour(rng, (0.6, 1.0), (0.6, 1.0))
        ball = _mix((1 - lit).clip(0, 1), _shade(colour, 0.2), _shade(colour, 1.3))
        _masked(image, ball, ((1 - distance) * radius).clip(0, 1))
    return image


def forest(rng: Rng, width: int, height: int) -> Image.Image:
    """Draw tree trunks, near and far, in front of sunlit leaves."""
    leaf = _colour(rng, (0.3, 0.8), (0.5, 0.9), (0.08, 0.45))
    leaves = _noise(rng, width, height, int(rng.integers(8, 20)), 4)
    image = _mix(leaves**2, _shade(leaf, 0.25), _shade(leaf, 1.5))
    draw = ImageDraw.Draw(image)
    for near in np.sort(rng.uniform(0.2, 1.0, int(rng.integers(4, 13)))):
        x, broad = rng.uniform(0, width), near * rng.uniform(0.03, 0.1) * width
        lean, foot = rng.uniform(-0.08, 0.08) * width, height * (0.6 + 0.4 * near)
        bark = _shade((120, 95, 75), 1.4 - near)
        trunk = [(x, 0), (x + broad, 0), (x + broad * 1.3 + lean, foot), (x - 4 + lean, foot)]
        draw.polygon(trunk, fill=bark)
        draw.line((*trunk[0], *trunk[3]), fill=_shade(bark, 1.8), width=3)
    return image


def room(rng: Rng, width: int, height: int) -> Image.Image:
    """Draw a room in perspective, with floorboards, windows and a lamp."""
    wall = _colour(rng, (0.1, 0.5), (0.4, 0.9))
    image = Image.new("RGB", (width, height), wall)
    draw = ImageDraw.Draw(image)
    left, right = rng.uniform(0.1, 0.35) * width, rng.uniform(0.6, 0.9) * width
    top, floor = rng.uniform(0.05, 0.25) * height, rng.uniform(0.55, 0.75) * height
    draw.polygon([(0, 0), (left, top), (left, floor), (0, height)], fill=_shade(wall, 0.7))
    draw.polygon(
        [(width, 0), (right, top), (right, floor), (width, height)], fill=_shade(wall, 0.5)
    )
    board = _colour(rng, (0.3, 0.8), (0.3, 0.7), _WARM)
    draw.polygon([(left, floor), (right, floor), (width, height), (0, height)], fill=board)
    for share in np.linspace(0, 1, int(rng.integers(6, 14))):
        upper = (left + (right - left) * share, floor)
        draw.line((*upper, width * share, height), fill=_shade(board, 0.5), width=2)
    for _ in range(int(rng.integers(1, 4))):
        x, y = rng.uniform(left, right), rng.uniform(top, floor - 20)
        wide, high = rng.uniform(20, 80), rng.uniform(20, 70)
        pane = _colour(rng, (0.1, 0.9), (0.5, 1.0))
        draw.rectangle((x, y, x + wide, y + high), fill=pane, outline=(40, 30, 25), width=4)
        draw.line((x + wide / 2, y, x + wide / 2, y + high), fill=(40, 30, 25), width=3)
    x = rng.uniform(0.2, 0.8) * width
    draw.line((x, 0, x, top + 20), fill=(30, 30, 30), width=3)
    draw.pieslice((x - 26, top + 8, x + 26, top + 60), 180, 360, fill=(255, 240, 190))
    return image


def stones(rng: Rng, width: int, height: int) -> Image.Image:
    """Draw pebbles from above, each of its own shade."""
    count = int(rng.integers(14, 70))
    rows, columns = _pixels(width, height)
    centres = rng.random((count, 2), np.float32) * (height, width)
    distances = np.stack([np.hypot(rows - y, columns - x) for y, x in centres])
    nearest = np.partition(distances, 1, axis=0)
    gap = ((nearest[1] - nearest[0]) / 6).clip(0, 1)
    tint = _colour(rng, (0.05, 0.4), (0.6, 1.0))
    faces = rng.uniform(0.3, 1.0, count).astype(np.float32)[distances.argmin(axis=0)]
    grain = 0.75 + 0.5 * _noise(rng, width, height, 12, 4)
    return _mix((faces * gap * grain).clip(0, 1), _shade(tint, 0.1), tint)


def rings(rng: Rng, width: int, height: int) -> Image.Image:
    """Draw rings or rays around a point, as on title cards."""
    rows, columns = _pixels(width, height)
    y, x = rng.uniform(0, 1) * height, rng.uniform(0, 1) * width
    radius = np.hypot(rows - y, columns - x) / math.hypot(width, height)
    angle = np.arctan2(rows - y, columns - x)
    twist, rays = rng.uniform(0, 40), int(rng.integers(0, 9))
    wave = np.sin(radius * twist + angle * rays + rng.uniform(0, 6))
    sharp = np.tanh(wave * rng.uniform(0.8, 6)) / 2 + 0.5
    one, other = _colour(rng, (0.4, 1.0), (0.1, 0.6)), _colour(rng, (0.2, 1.0), (0.6, 1.0))
    return _mix(sharp.astype(np.float32), one, other)


def bands(rng: Rng, width: int, height: int) -> Image.Image:
    """Draw slanted bands with a soft shadow."""
    image = Image.new("RGB", (width, height), _colour(rng, (0.3, 0.9), (0.3, 0.9)))
    for _ in range(int(rng.integers(3, 8))):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        slant, broad = rng.uniform(0, math.pi), rng.uniform(0.06, 0.3) * width
        along = np.array((math.cos(slant), math.sin(slant))) * 2 * width
        across = np.array((-math.sin(slant), math.cos(slant))) * broad
        middle = np.array((x, y))
        ends = (middle - along, middle + along, middle + along + across, middle - along + across)
        shadow = Image.new("L", (width, height))
        ImageDraw.Draw(shadow).polygon([(e[0] + 5, e[1] + 5) for e in ends], fill=150)
        image.paste((0, 0, 0), mask=shadow.filter(ImageFilter.GaussianBlur(6)))
        fill = _colour(rng, (0.3, 0.9), (0.3, 1.0))
        ImageDraw.Draw(image).polygon([(e[0], e[1]) for e in ends], fill=fill)
    return image


def faded(rng: Rng, width: int, height: int) -> Image.Image:
    """Draw almost one colour, as in the middle of a fade."""
    colour = _colour(rng, (0.0, 0.8), (0.05, 0.9))
    haze = _noise(rng, width, height, 2, 2)
    return _mix(haze, _shade(colour, 0.92), _shade(colour, 1.05))


_SCENES = (mountains, sea, skyline, portrait, still_life, forest, room, stones, rings, bands, faded)
SCENES: dict[str, Scene] = {scene.__name__: scene for scene in _SCENES}
