"""Opens files of sound (FFmpeg through PyAV): formats that hold sound themselves, and never what a file names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import av

from emo_rt.errors import InputError

#: Formats of sound and video that hold what they play. Others, such as playlists, make FFmpeg open other files.
SOUND_FORMATS = (
    *("wav", "w64", "aiff", "au", "caf", "voc", "ircam", "sox", "nistsphere"),
    *("mp3", "aac", "loas", "ac3", "eac3", "dts", "truehd", "mlp"),
    *("amr", "amrnb", "amrwb", "gsm", "g722", "g729", "sbc"),
    *("flac", "ogg", "wv", "ape", "tta", "tak", "shn", "mpc", "mpc8", "dsf", "iff", "oma", "xwma", "aa", "qcp"),
    *("mov", "matroska", "avi", "asf", "flv", "live_flv", "mpeg", "mpegts", "mxf", "nut", "rm", "nsv", "dv", "swf"),
)
#: How FFmpeg opens a file: that file alone. The last two are about MP4s whose sound lies in another file.
FILE_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": ",".join(SOUND_FORMATS),
    "enable_drefs": "0",
    "use_absolute_path": "0",
}
#: How FFmpeg opens a pipe: there is no protocol of this name, and so nothing beside the pipe.
PIPE_OPTIONS = {**FILE_OPTIONS, "protocol_whitelist": "none"}
#: Lowest and highest sample rate, Hz: below there is no speech, and above there is no recorder.
SAMPLE_RATES = (4_000, 768_000)
#: Formats whose headers tell the length of the sound exactly: one that is cut short is refused.
FORMATS_WITH_LENGTH = {"wav", "mov", "flac", "aiff", "w64", "au"}
#: Formats whose frames have times that are their own, and not counted from the samples before.
FORMATS_WITH_CLOCK = {"mov", "matroska", "mpegts", "mpeg", "flv", "ogg", "flac", "nut"}
#: Bytes of a text about the sound that are always believed.
LONGEST_TAG = 1 << 20

#: Bytes by which some writers miscount.
_MISCOUNT = 64
#: What stands at the top of an MP4; anything else is junk behind it.
_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"moof", b"mfra", b"sidx", b"styp", b"uuid", b"meta"}


def format_names(container: av.container.InputContainer) -> set[str]:
    """The names of a container's format; several for those that are read alike."""
    return set(container.format.name.split(","))


def check_rate(rate: int, name: str) -> None:
    """Raises InputError for a sample rate, Hz, out of `SAMPLE_RATES`; `name` is that of the file."""
    if not SAMPLE_RATES[0] <= rate <= SAMPLE_RATES[1]:
        raise InputError(
            f"audio {name}: {rate} Hz is no sample rate of a recording ({SAMPLE_RATES[0]} to {SAMPLE_RATES[1]}); "
            "is it damaged?"
        )


def audio_track(container: av.container.InputContainer, number: int | None, name: str) -> tuple[av.AudioStream, int]:
    """The track that is read: the one with a number, or the default, or the first.

    Args:
        container: open file
        number: number of the track among those of sound, from 1; None for the default
        name: name of the file, for the message

    Returns:
        the track and its number

    Raises:
        InputError: if there is no sound, no such track, or it is of an unknown kind.
    """
    tracks = container.streams.audio
    if not tracks:
        raise InputError(f"audio {name}: it has no sound; give a file with speech")
    if number is None:
        number = next((at for at, track in enumerate(tracks, 1) if int(track.disposition) & 1), 1)
    if not 1 <= number <= len(tracks):
        choice = "1 is the only one" if len(tracks) == 1 else f"choose 1 to {len(tracks)}"
        raise InputError(f"audio {name}: there is no track {number}; {choice}")
    track = tracks[number - 1]
    if track.codec_context is None:
        raise InputError(f"audio {name}: its sound is of an unknown kind; convert it to WAV")
    check_rate(track.codec_context.sample_rate, name)
    return track, number


def declared_seconds(path: Path, container: av.container.InputContainer, track: av.AudioStream) -> float:
    """The length of a track that a file's header states, seconds; 0 if it states none."""
    names = format_names(container)
    of_track = float(track.duration * track.time_base) if track.duration and track.time_base else 0.0
    if names & (FORMATS_WITH_LENGTH | {"ogg", "caf", "avi"}):
        return of_track
    if "mp3" in names:
        return _mp3_samples(path) / track.codec_context.sample_rate
    if "matroska" in names:
        hours, _, rest = track.metadata.get("DURATION", "").partition(":")
        minutes, _, seconds = rest.partition(":")
        try:
            return int(hours) * 3600 + int(minutes) * 60 + float(seconds.rstrip("\0"))
        except ValueError:
            pass
    if names & {"matroska", "asf"} and not container.streams.video:  # what it states is the longest track's
        return float((container.duration or 0) / av.time_base)
    return 0.0


def is_cut(path: Path, container: av.container.InputContainer) -> bool:
    """Whether a file ends before its parts do. FFmpeg reads what is there without a word."""
    names = format_names(container)
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if names & {"wav", "avi"}:
            return _riff_end(file) > size + _MISCOUNT
        if "mov" in names:
            return _boxes_end(file, size) > size + _MISCOUNT
        if "matroska" in names:
            return _segment_end(file) > size + _MISCOUNT
        return "ogg" in names and _ogg_goes_on(file, size)


def is_fragmented(path: Path) -> bool:
    """Whether an MP4 is written so that it plays while it grows."""
    with open(path, "rb") as file:
        while (box := _box(file)) and box[0] in _BOXES:
            if box[0] == b"moof":
                return True
            file.seek(box[1])
    return False


def check_tags(file: BinaryIO, name: str) -> None:
    """Checks the texts in a WAV or AVI file: FFmpeg takes as much memory for one as its header claims.

    Args:
        file: the file, or its beginning, open at the start
        name: name of the file, for the message

    Raises:
        InputError: if a text is longer than `LONGEST_TAG`, and than the file.
    """
    if file.read(4) not in (b"RIFF", b"RIFX", b"RF64") or len(file.read(8)) < 8:
        return
    size = file.seek(0, os.SEEK_END)
    file.seek(12)
    while len(head := file.read(8)) == 8:
        kind, length = head[:4], int.from_bytes(head[4:], "little")
        if kind == b"LIST" and file.read(4) == b"INFO":
            continue  # its texts come next
        start = file.tell() - (4 if kind == b"LIST" else 0)
        if kind not in (b"data", b"LIST") and length > max(LONGEST_TAG, size - start):
            raise InputError(f"audio {name}: damaged: a text of {length} bytes is longer than the file; save it again")
        file.seek(start + length + length % 2)


def _riff_end(file: BinaryIO) -> int:
    """Where a RIFF file ends by its header; 0 if that says nothing."""
    header = file.read(8)
    size = int.from_bytes(header[4:8], "little")
    # A recorder that streams does not know the size, and writes a huge one.
    return size + 8 if header[:4] == b"RIFF" and size < 0x7FFF0000 else 0


def _box(file: BinaryIO) -> tuple[bytes, int] | None:
    """The type of the box of an MP4 that begins here, and where it ends; None at the end."""
    start, header = file.tell(), file.read(8)
    if len(header) < 8:
        return None
    size, kind = int.from_bytes(header[:4], "big"), header[4:]
    if size == 1:
        size = int.from_bytes(file.read(8), "big")
    return (kind, start + size) if size >= 8 else None


def _boxes_end(file: BinaryIO, size: int) -> int:
    """Where the last box of an MP4 ends."""
    end = 0
    while end < size and (box := _box(file)) and box[0] in _BOXES:
        end = box[1]
        file.seek(end)
    return end


def _segment_end(file: BinaryIO) -> int:
    """Where the segment of a Matroska or WebM file ends; 0 if that is open, as in one that is streamed."""
    for mark in (b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"):
        head = file.read(5)
        if head[:4] != mark or not head[4]:
            return 0
        more = 8 - head[4].bit_length()  # bytes of the size after its first one
        width = 7 * (more + 1)
        size = int.from_bytes(bytes([head[4]]) + file.read(more), "big") & ((1 << width) - 1)
        if size == (1 << width) - 1:
            return 0
        end = file.tell() + size
        file.seek(end)
    return end


def _ogg_goes_on(file: BinaryIO, size: int) -> bool:
    """Whether the last page of an Ogg file says that there are more."""
    file.seek(max(size - 2 * 65_536, 0))  # a page has 64 KB at most
    content = file.read()
    at = content.rfind(b"OggS")
    return at >= 0 and len(content) > at + 5 and not content[at + 5] & 4


def _mp3_samples(path: Path) -> int:
    """The number of samples that the first frame of an MP3 states; 0 if it states none."""
    with open(path, "rb") as file:
        header = file.read(10)
        if header[:3] == b"ID3" and len(header) == 10:
            high, middle, low, lowest = header[6:]
            file.seek(10 + (high << 21 | middle << 14 | low << 7 | lowest))
        else:
            file.seek(0)
        frame = file.read(256)
    for mark, offset in ((b"Xing", 8), (b"Info", 8), (b"VBRI", 14)):
        at = frame.find(mark)
        if at > 0 and len(frame) > at + 17 and (mark == b"VBRI" or frame[at + 7] & 1):
            samples = 1152 if frame[1] & 8 else 576  # of a frame of MPEG-1, and of the others
            return samples * int.from_bytes(frame[at + offset : at + offset + 4], "big")
    return 0
