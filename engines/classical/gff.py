"""GFF: base and detail of both sources, weighted by saliency that a guided filter aligns with the picture's edges.

S. Li, X. Kang, J. Hu, "Image fusion with guided filtering", IEEE Trans. Image Processing 22(7), 2013; the filter:
K. He, J. Sun, X. Tang, "Guided image filtering", IEEE TPAMI 35(6), 2013.

    B = mean of I over 31x31, D = I - B
    S = |Laplacian of I| smoothed by a Gaussian of 11x11, sigma 5
    P = 1 where S is the largest of the sources, else 0
    W_B = guided filter of P by I with r = 45, eps = 0.3; W_D with r = 7, eps = 1e-6
    fused = sum W_B B + sum W_D D, the weights of all sources adding up to 1

Where we differ from the authors' code: it rounds weights to 1/255, and gives the first source a place where both are
equally salient; here both get one half.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.base import Luma
from engines.classical.fuser import to_luma

BASE = 31
"""px, side of the window of the mean that is the base."""
SALIENCY, SIGMA = 11, 5.0
"""px, of the Gaussian over the Laplacian's magnitude."""
BASE_FILTER, DETAIL_FILTER = (45, 0.3), (7, 1e-6)
"""Radius in px and eps, for pictures in 0..1, of the guided filter of each layer's weights."""
LEAST = 1e-12
"""Added to weights before they are made to add up to 1, as in the authors' code."""
Plane = NDArray[np.float64]  # eps is 1e-6: the variance in float32 is wrong by as much


def gff(ir: Luma, vis: Luma) -> Luma:
    """The picture fused in two layers. (H, W) uint8 each."""
    pictures = [luma / 255 for luma in (ir, vis)]
    picks = picked(*pictures)
    bases = [_mean(picture, BASE) for picture in pictures]
    base = weights(pictures, picks, *BASE_FILTER)
    detail = weights(pictures, picks, *DETAIL_FILTER)
    layers = zip(pictures, bases, base, detail, strict=True)
    return to_luma(255 * sum((w_b * b + w_d * (i - b) for i, b, w_b, w_d in layers), np.zeros(ir.shape)))


def picked(ir: Plane, vis: Plane) -> tuple[Plane, Plane]:
    """P of both (H, W): 1.0 where a source is the more salient one; both where they are equal."""
    of_ir, of_vis = _saliency(ir), _saliency(vis)
    return (of_ir >= of_vis).astype(np.float64), (of_vis >= of_ir).astype(np.float64)


def weights(pictures: list[Plane], picks: tuple[Plane, Plane], radius: int, eps: float) -> tuple[Plane, Plane]:
    """W of both (H, W) in 0..1, adding up to 1: the picks, aligned with the edges of their pictures."""
    of_ir, of_vis = (
        guided_filter(guide, pick, radius, eps).clip(0, 1) + LEAST for guide, pick in zip(pictures, picks, strict=True)
    )
    return of_ir / (of_ir + of_vis), of_vis / (of_ir + of_vis)


def guided_filter(guide: Plane, plane: Plane, radius: int, eps: float) -> Plane:
    """mean(a) guide + mean(b), where a guide + b is the plane's regression on the guide in each window."""
    side = 2 * radius + 1
    guide_mean, plane_mean = _mean_inside(guide, side), _mean_inside(plane, side)
    variance = _mean_inside(guide * guide, side) - guide_mean**2
    a = (_mean_inside(guide * plane, side) - guide_mean * plane_mean) / (variance + eps)
    b = plane_mean - a * guide_mean
    return _mean_inside(a, side) * guide + _mean_inside(b, side)


def _saliency(picture: Plane) -> Plane:
    kernel = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]], np.float64)
    edges = np.abs(_plane(cv2.filter2D(picture, cv2.CV_64F, kernel, borderType=cv2.BORDER_REPLICATE), picture))
    smooth = cv2.GaussianBlur(edges, (SALIENCY, SALIENCY), SIGMA, borderType=cv2.BORDER_REPLICATE)
    return _plane(smooth, picture)


def _mean(picture: Plane, side: int) -> Plane:
    """Over a window; beyond the border stands its pixel."""
    return _plane(cv2.blur(picture, (side, side), borderType=cv2.BORDER_REPLICATE), picture)


def _mean_inside(picture: Plane, side: int) -> Plane:
    """Over what of the window lies inside the picture."""
    total, count = (
        _plane(cv2.boxFilter(plane, cv2.CV_64F, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT), picture)
        for plane in (picture, np.ones_like(picture))
    )
    return total / count


def _plane(found: NDArray[np.generic], like: Plane) -> Plane:
    return np.asarray(found, np.float64).reshape(like.shape)
