// Reads from the beginning of a fragmented MP4 what its pictures and sound are coded as.

/** Boxes on the way to a track's sample descriptions, which hold other boxes. */
const HOLDERS = ["trak", "mdia", "minf", "stbl"];
/** Bytes of a sample description before the boxes inside of it. */
const PICTURE_HEAD = 78;
const SOUND_HEAD = 28;

/** The boxes between two places of a file: their types, and where their contents begin and end. */
function* boxes(bytes, start = 0, end = bytes.length) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  while (start + 8 <= end) {
    let size = view.getUint32(start);
    let head = 8;
    if (size === 1 && start + 16 <= end) {
      size = Number(view.getBigUint64(start + 8));
      head = 16;
    }
    if (size < head || start + size > end) return;
    yield { type: String.fromCharCode(...bytes.subarray(start + 4, start + 8)), start: start + head, end: start + size };
    start += size;
  }
}

/**
 * The type for a source buffer, such as `video/mp4; codecs="avc1.64000a,mp4a.40.2"`.
 * @param {Uint8Array} bytes the file so far
 * @returns {string | null} null while the description of the tracks is not complete
 */
export function typeOf(bytes) {
  for (const box of boxes(bytes)) {
    if (box.type === "moov") return `video/mp4; codecs="${[...codecs(bytes, box)].join(",")}"`;
  }
  return null;
}

function* codecs(bytes, holder) {
  for (const box of boxes(bytes, holder.start, holder.end)) {
    if (HOLDERS.includes(box.type)) yield* codecs(bytes, box);
    if (box.type !== "stsd") continue;
    for (const entry of boxes(bytes, box.start + 8, box.end)) yield codec(bytes, entry);
  }
}

function codec(bytes, entry) {
  const inner = (head, type) => [...boxes(bytes, entry.start + head, entry.end)].find((box) => box.type === type);
  const avc = entry.type.startsWith("avc") && inner(PICTURE_HEAD, "avcC");
  if (avc) {
    const profile = [...bytes.subarray(avc.start + 1, avc.start + 4)];
    return `${entry.type}.${profile.map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
  }
  const sound = entry.type === "mp4a" && inner(SOUND_HEAD, "esds");
  return sound ? soundCodec(bytes.subarray(sound.start + 4, sound.end)) : entry.type;
}

/** Reads the descriptors of an `esds` box: the kind of sound, and for AAC its profile. */
function soundCodec(bytes) {
  let kind = 0x40;
  let profile = 2;
  let place = 0;
  while (place < bytes.length) {
    const tag = bytes[place++];
    let length = 0;
    let byte;
    do {
      byte = bytes[place++];
      length = (length << 7) | (byte & 0x7f);
    } while (byte & 0x80);
    if (tag === 3) place += 3; // the stream's number and flags; what follows is inside of it
    else if (tag === 4) {
      kind = bytes[place];
      place += 13;
    } else {
      if (tag === 5) profile = bytes[place] >> 3;
      place += length;
    }
  }
  return `mp4a.${kind.toString(16)}.${profile}`;
}
