"""The landmarks of a face: MediaPipe's mesh, without its ten points of the irises."""

from __future__ import annotations

#: Number of landmarks.
FACE_POINTS = 468

#: Landmarks of the lips' edges that touch in a closed mouth, from the right corner to the left.
UPPER_LIP = (191, 80, 81, 82, 13, 312, 311, 310, 415)
LOWER_LIP = (95, 88, 178, 87, 14, 317, 402, 318, 324)

#: Landmarks of the corners of the opening of the lips, the right one first.
LIP_CORNERS = (78, 308)

#: Landmarks of the edges of the upper and the lower lids, and of the folds above them.
EYELIDS = (
    *(246, 161, 160, 159, 158, 157, 173, 466, 388, 387, 386, 385, 384, 398),
    *(7, 163, 144, 145, 153, 154, 155, 249, 390, 373, 374, 380, 381, 382),
    *(247, 30, 29, 27, 28, 56, 190, 467, 260, 259, 257, 258, 286, 414),
)
