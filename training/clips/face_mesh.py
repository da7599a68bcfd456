"""The landmarks of a face: MediaPipe's mesh, without its ten points of the irises."""

from __future__ import annotations

#: Number of landmarks.
FACE_POINTS = 468

#: Landmarks of the lips' edges that touch in a closed mouth, from the right corner to the left.
UPPER_LIP = (191, 80, 81, 82, 13, 312, 311, 310, 415)
LOWER_LIP = (95, 88, 178, 87, 14, 317, 402, 318, 324)

#: Landmarks of the corners of the opening of the lips, the right one first.
LIP_CORNERS = (78, 308)

#: For each eye: landmarks of the upper lid's edge, those below them on the lower lid's, and the two corners.
EYES = (
    ((246, 161, 160, 159, 158, 157, 173), (7, 163, 144, 145, 153, 154, 155), (33, 133)),
    ((466, 388, 387, 386, 385, 384, 398), (249, 390, 373, 374, 380, 381, 382), (263, 362)),
)
