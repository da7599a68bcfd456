"""Whole files of every kind, made here: what the mutations begin with."""

from __future__ import annotations

import io
import struct

import av
import numpy as np
from PIL import Image
from samples import drawn_face, tones

#: How pictures are written: mode, format, and what its writer takes. A PNG takes the place of what cannot be written.
_PICTURES: tuple[tuple[str, str, dict[str, object]], ...] = (
    ("RGB", "PNG", {}),
    ("RGBA", "PNG", {}),
    ("P", "PNG", {}),
    ("I;16", "PNG", {}),
    ("1", "PNG", {}),
    ("RGB", "JPEG", {}),
    ("RGB", "JPEG", {"progressive": True}),
    ("L", "JPEG", {}),
    ("CMYK", "JPEG", {}),
    ("RGB", "WEBP", {}),
    ("RGBA", "WEBP", {"lossless": True}),
    ("RGB", "TIFF", {}),
    ("RGB", "TIFF", {"compression": "tiff_lzw"}),
    ("RGB", "TIFF", {"compression": "jpeg"}),
    ("L", "TIFF", {"compression": "packbits"}),
    ("1", "TIFF", {"compression": "group4"}),
    ("I;16", "TIFF", {"compression": "tiff_adobe_deflate"}),
    ("P", "GIF", {}),
    ("RGB", "BMP", {}),
    ("P", "BMP", {}),
    ("RGB", "JPEG2000", {}),
    ("RGBA", "JPEG2000", {"irreversible": True}),
    ("RGB", "AVIF", {"speed": 10}),
    ("RGB", "HEIF", {}),
    ("RGB", "PPM", {}),
    ("RGB", "TGA", {"compression": "tga_rle"}),
    ("RGB", "ICO", {}),
    ("RGB", "PCX", {}),
    ("RGB", "DDS", {}),
    ("RGB", "SGI", {}),
    ("RGB", "ICNS", {}),
    ("RGB", "QOI", {}),
)
#: How sounds are written: container, codec, sample rate, layout.
_SOUNDS = (
    ("wav", "pcm_s16le", 16000, "mono"),
    ("wav", "pcm_f32le", 44100, "stereo"),
    ("wav", "adpcm_ms", 22050, "mono"),
    ("w64", "pcm_s24le", 48000, "mono"),
    ("aiff", "pcm_s16be", 48000, "stereo"),
    ("au", "pcm_s16be", 8000, "mono"),
    ("caf", "pcm_s16be", 16000, "mono"),
    ("voc", "pcm_u8", 16000, "mono"),
    ("mp3", "libmp3lame", 44100, "mono"),
    ("adts", "aac", 44100, "stereo"),
    ("ipod", "aac", 48000, "mono"),
    ("ipod", "alac", 48000, "stereo"),
    ("mp4", "aac", 48000, "mono"),
    ("mov", "pcm_s16le", 48000, "mono"),
    ("flac", "flac", 48000, "mono"),
    ("ogg", "libvorbis", 44100, "mono"),
    ("ogg", "libopus", 48000, "mono"),
    ("ogg", "flac", 16000, "mono"),
    ("webm", "libopus", 48000, "mono"),
    ("matroska", "aac", 48000, "mono"),
    ("matroska", "pcm_s16le", 16000, "mono"),
    ("avi", "libmp3lame", 44100, "mono"),
    ("asf", "wmav2", 44100, "stereo"),
    ("flv", "aac", 44100, "mono"),
    ("mpegts", "mp2", 48000, "mono"),
    ("nut", "pcm_s16le", 16000, "mono"),
    ("mxf", "pcm_s16le", 48000, "mono"),
    ("ac3", "ac3", 48000, "stereo"),
    ("wv", "wavpack", 44100, "mono"),
    ("tta", "tta", 44100, "mono"),
)
#: Words that formats of sound know, and texts that name other files.
SOUND_WORDS = (
    *(b"RIFF", b"RIFX", b"RF64", b"data", b"fmt ", b"LIST", b"ds64", b"FORM", b"COMM", b"SSND", b"OggS", b"fLaC"),
    *(b"moov", b"mdat", b"trak", b"stts", b"elst", b"dref", b"url ", b"moof", b"ID3\x04", b"\xff\xfb\x90", b"\xff\xf1"),
    *(b"\x1aE\xdf\xa3", b"ffconcat version 1.0\nfile /etc/hostname\n", b"#EXTM3U\n", b"v=0\r\n", b"file:", b"Xing"),
)
PICTURE_WORDS = (
    *(b"IHDR", b"IDAT", b"PLTE", b"tRNS", b"iCCP", b"eXIf", b"acTL", b"IEND", b"\xff\xd8", b"\xff\xc0", b"\xff\xc2"),
    *(b"\xff\xe1", b"Exif\0\0", b"II*\0", b"MM\0*", b"VP8X", b"ALPH", b"ftyp", b"jP  ", b"GIF89a", b"\xff\xff\xff\xff"),
)
TABLE_WORDS = (
    *(b",", b";", b"\t", b'"', b"\n", b"\r", b"\0", b"portrait", b"voice", b"output", b"seed", b"speed", b"face_box"),
    *(
        b"face",
        b"framing",
        b"audio_track",
        b"max_seconds",
        b"-",
        b"nan",
        b"inf",
        b"1e400",
        b"9" * 5000,
        b"-1",
        b"original",
        b"../",
    ),
    *(
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\xfe\xff",
        b"\xff\xfe\0\0",
        "é".encode("latin-1"),
        "é".encode(),
        b"/",
        b"~",
        b"%s",
    ),
)


def pictures() -> list[bytes]:
    """A picture of a face in every format that Pillow writes."""
    return [_picture(*each) for each in _PICTURES]


def _picture(mode: str, kind: str, options: dict[str, object]) -> bytes:
    image = drawn_face().resize((88, 96))
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    else:
        image = image.convert(mode)
    file = io.BytesIO()
    try:
        if kind == "HEIF":
            import pillow_heif

            pillow_heif.register_heif_opener()
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(file, kind, **({"exif": exif} if kind in ("JPEG", "WEBP", "PNG") else {}), **options)
    except (ImportError, KeyError, OSError):
        file = io.BytesIO()
        drawn_face().resize((88, 96)).save(file, "PNG")
    return file.getvalue()


def sounds() -> list[bytes]:
    """A third of a second of tones in every format that FFmpeg writes, and headers that only recorders write."""
    written = [_sound(*each) for each in _SOUNDS]
    pcm = (tones(0.3)[0] * 32767).astype("<i2").tobytes()
    fields = struct.pack("<IHHIIHH", 16, 1, 1, 16000, 32000, 2, 16)
    return [*written, b"RIFF\xff\xff\xff\xffWAVEfmt " + fields + b"data\xff\xff\xff\xff" + pcm]


def _sound(kind: str, codec: str, rate: int, layout: str) -> bytes:
    file = io.BytesIO()
    sound = tones(0.3, rate, 2 if layout == "stereo" else 1)
    try:
        with av.open(file, "w", format=kind, options={"fflags": "+bitexact"}) as container:
            stream = container.add_stream(codec, rate=rate, layout=layout)
            stream.codec_context.options = {"flags": "+bitexact"}
            target = stream.codec_context.format or av.AudioFormat("fltp")
            resampler = av.AudioResampler(format=target, layout=layout, rate=rate)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound), format="fltp", layout=layout)
            frame.sample_rate, frame.pts = rate, 0
            for part in [*resampler.resample(frame), None]:
                container.mux(stream.encode(part))
    except (av.FFmpegError, ValueError):  # this build of FFmpeg does not write it
        return _sound("wav", "pcm_s16le", 16000, "mono")
    return file.getvalue()


def tables() -> list[bytes]:
    """Batches in several encodings, with every column."""
    full = (
        "portrait,voice,output,seed,speed,face_box,face,framing,audio_track,max_seconds\n"
        "a.png,a.wav,out/1.mp4,7,0.5,1 2 30 40,,crop,1,2.5\n"
        '"b, c.png",b.wav,out/2.mp4,,,,2,original,,\n'
        "é.png,ü.wav,out/3.mp4,18446744073709551615,10,,,,,\n"
    )
    few = "Portrait;Voice;Output\na.png;a.wav;1.mp4\nb.png;b.wav;2.mp4\n"
    return [
        full.encode(),
        full.encode("utf-8-sig"),
        full.encode("utf-16"),
        full.encode("utf-32"),
        full.encode("latin-1"),
        few.encode(),
        few.replace(";", "\t").replace("\n", "\r\n").encode(),
        few.replace("\n", "\r").encode(),
    ]
