"""Labels against judges that are not ours: `python -m training.evaluation.judges.report CLIPS ...` prints the table.

It joins the readings of `training.evaluation.judges.face_mesh` and `training.evaluation.judges.identity` with the
labels of the clips that they have read, and says of each quantity what it must reach. With --reader, it also says how
well our own reader of faces agrees with the labels and with the face mesh on the same frames.

examples:
  python -m training.evaluation.judges.report data/held-out --face-mesh out/mesh.json --identity out/identity.json
  python -m training.evaluation.judges.report data/held-out --face-mesh out/mesh.json --reader models/face-reader
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from emo_rt.atomic import atomic_write
from training.clips.clip import TrainingClip
from training.clips.folder import READER_LABELS, clip_paths
from training.clips.names import clip_name
from training.evaluation.judges.identity_distances import identity_rows
from training.evaluation.judges.mesh_agreement import mesh_rows
from training.evaluation.judges.reader_agreement import reader_rows
from training.evaluation.judges.readings import read_identity_readings, read_mesh_readings
from training.evaluation.reader import FaceReader
from training.evaluation.thresholds import Threshold, threshold_table


def judge_rows(clips: Path, face_mesh: Path | None, identity: Path | None, reader: Path | None) -> list[Threshold]:
    """The rows of the table.

    Args:
        clips: folder of clips with labels; it is read only for `face_mesh`.
        face_mesh: file of the face mesh's readings, or None.
        identity: file of dlib's readings, or None.
        reader: folder of a reader of faces to compare with `face_mesh`, or None.

    Raises:
        ValueError: if a file holds something else, or a clip was not read.
        FileNotFoundError: if there are no clips, or no reader.
        OSError: if a file cannot be read.
    """
    rows = []
    if face_mesh:
        readings = read_mesh_readings(face_mesh)
        pairs = []
        for path in clip_paths(clips):
            if (name := clip_name(path)) not in readings:
                raise ValueError(f"{face_mesh} does not have clip {name}: run the judge again")
            clip = TrainingClip.load(path, needs=(*READER_LABELS, "phoneme_class"))
            if len(clip.frames) != len(readings[name].opening):
                raise ValueError(f"{face_mesh} has another clip {name}: run the judge again")
            pairs.append((clip, readings[name]))
        rows += mesh_rows(pairs)
        if reader:
            rows += reader_rows(pairs, FaceReader.load(reader))
    if identity:
        rows += identity_rows(read_identity_readings(identity))
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluation.judges.report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("clips", type=Path, metavar="CLIPS", help="folder of the clips that were read")
    parser.add_argument("--face-mesh", type=Path, metavar="FILE", help="readings of the face mesh")
    parser.add_argument("--identity", type=Path, metavar="FILE", help="readings of dlib")
    parser.add_argument("--reader", type=Path, metavar="DIR", help="reader of faces to compare with --face-mesh")
    parser.add_argument("--out", type=Path, metavar="FILE", help="file for the rows as JSON")
    args = parser.parse_args(arguments)
    if not args.face_mesh and not args.identity:
        parser.error("give --face-mesh, --identity or both")
    if args.reader and not args.face_mesh:
        parser.error("--reader needs --face-mesh")
    try:
        rows = judge_rows(args.clips, args.face_mesh, args.identity, args.reader)
        if args.out:
            with atomic_write(args.out) as file:
                file.write(json.dumps([asdict(row) for row in rows], indent=1).encode())
    except (OSError, ValueError) as error:
        print(f"report: error: {error}", file=sys.stderr)
        return 2
    print(threshold_table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
