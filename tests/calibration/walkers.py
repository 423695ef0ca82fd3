"""Warm walkers before a textured ground, filmed by two cameras with clocks of their own; small, and quick to draw."""

import cv2
import numpy as np

HEIGHT, WIDTH = 60, 80
Y, X = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
COUNT = 3


class Walkers:
    """Some blobs on paths that no time repeats, or all round a ring in `period` s; the camera pans by 10 `pan` px."""

    def __init__(self, seed, *, count=COUNT, period=None, pan=0.0):
        rng = np.random.default_rng(seed)
        self.period, self.pan, self.count = period, pan, count
        self.waves = [
            (rng.uniform(0.15, 0.9, 4), rng.uniform(0, 2 * np.pi, (2, 4)), rng.uniform(0.5, 1, (2, 4)))
            for _ in range(COUNT + 1)
        ]
        ground = rng.normal(0, 1, (HEIGHT * 2, WIDTH * 2))
        for axis in (0, 1):
            ground = sum(np.roll(ground, k, axis) for k in range(4)) / 2
        self.ground = ground.astype(np.float32)

    def place(self, number, time):
        """(x, y) in -1..1."""
        if self.period:
            turn = 2 * np.pi * (time / self.period + number / COUNT)
            return 0.7 * np.cos(turn), 0.7 * np.sin(turn)
        rates, phases, size_of_each = self.waves[number]
        waves = size_of_each * np.sin(2 * np.pi * rates * time + phases)
        return tuple(waves.sum(axis=1) / 2.2)

    def draw(self, kind, time, rng):
        """(60, 80) uint8: infrared has little ground and bright walkers, visible the other way round, dark ones."""
        dx, dy = (10 * self.pan * float(value) for value in self.place(COUNT, time))
        shift = np.array([[1, 0, dx - WIDTH / 2], [0, 1, dy - HEIGHT / 2]])
        ground = cv2.warpAffine(self.ground, shift, (WIDTH, HEIGHT))
        picture = 60 + 8 * ground if kind == "ir" else 120 + 16 * ground
        for number in range(self.count):
            x, y = self.place(number, time)
            weight = np.exp(-(((X - WIDTH / 2 * (1 + x) - dx) / 4) ** 2) - ((Y - HEIGHT / 2 * (1 + y) - dy) / 7) ** 2)
            picture = picture + weight * ((110 if kind == "ir" else 20 + 25 * number) - 0.3 * picture)
        return np.clip(picture + rng.normal(0, 1.5, picture.shape), 0, 255).astype(np.uint8)

    def film(self, kind, rate, seconds, *, offset=0.0, ppm=0.0, seed=1):
        """(time on the camera's clock, picture): what it calls t is t (1 + ppm) + offset."""
        rng = np.random.default_rng(seed)
        for k in range(round(rate * seconds)):
            yield k / rate, self.draw(kind, k / rate * (1 + 1e-6 * ppm) + offset, rng)


def still(kind, rate, seconds, *, seed=0, key_every=None):
    """A scene without motion: noise, and a jump of all levels at each key frame if asked for."""
    rng, scene = np.random.default_rng(seed), Walkers(5)
    picture = scene.draw(kind, 0.0, np.random.default_rng(9)).astype(np.float32)
    pattern = rng.normal(0, 4, picture.shape)
    for k in range(round(rate * seconds)):
        key = pattern if key_every and k % key_every == 0 else 0.0
        yield k / rate, np.clip(picture + key + rng.normal(0, 1.5, picture.shape), 0, 255).astype(np.uint8)
