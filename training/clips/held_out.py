"""Who is kept from training, among real and generated people."""

from __future__ import annotations

import hashlib


def is_held_out_seed(seed: int) -> bool:
    """Whether the generated speaker of this seed is kept from training (a tenth of them)."""
    return hashlib.sha256(str(seed).encode()).digest()[0] < 26


def is_held_out_person(identity: str, percent: float) -> bool:
    """Whether an identity is kept from training.

    The answer is always the same, and a higher percentage only adds people.

    Args:
        identity: name of a person, such as `training.footage.identities.identity_of` gives.
        percent: share of all identities that is held out, 0 to 100.
    """
    digest = hashlib.sha256(identity.encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < percent / 100
