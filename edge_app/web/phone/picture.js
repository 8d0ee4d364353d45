// images/read.py in the browser: a file in, grey pixels out, bright meaning dense. The browser
// decodes; what it would fill up with grey where bytes are missing is refused before.
import { checkJpeg, JpegError } from "./jpeg.js";
import { COLOUR_SIDE, colourShare } from "./checks.js";

const MOST_PIXELS = 30e6; // four bytes each while it is decoded; a phone has little memory

/** Why a file is not read; code is a reason's, or "phone_kind" for what only the machine reads. */
export class UnreadError extends Error {
  constructor(code) { super(code); this.code = code; }
}

/** { data, width, height } of a JPEG or PNG file with 8 bits a sample. */
export async function readPicture(file) {
  const bytes = new Uint8Array(await file.arrayBuffer()), header = readHeader(bytes);
  if (header.width * header.height > MOST_PIXELS) throw new UnreadError("phone_kind");
  let bitmap;
  try {
    // No colour management: the greys are those that stand in the file.
    bitmap = await createImageBitmap(new Blob([bytes], { type: header.type }), { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  } catch { throw new UnreadError("unreadable"); }
  try { return toGrey(bitmap); } finally { bitmap.close(); }
}

function readHeader(bytes) {
  const starts = (...magic) => magic.every((byte, i) => bytes[i] === byte);
  if (starts(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a)) return readPng(bytes);
  if (starts(0xff, 0xd8, 0xff)) return readJpeg(bytes);
  throw new UnreadError("phone_kind");
}

// Every chunk's CRC, which browsers do not all check, and that IEND is there.
function readPng(bytes) {
  const view = new DataView(bytes.buffer), text = (at) => String.fromCharCode(...bytes.subarray(at, at + 4));
  for (let at = 8; at + 12 <= bytes.length;) {
    const end = at + 8 + view.getUint32(at);
    if (end + 4 > bytes.length || crc32(bytes.subarray(at + 4, end)) !== view.getUint32(end)) break;
    if (text(at + 4) === "acTL") throw new UnreadError("phone_kind"); // several pictures
    if (text(at + 4) === "IEND") {
      if (bytes[24] > 8) throw new UnreadError("phone_kind"); // a canvas holds 8 bits
      return { type: "image/png", width: view.getUint32(16), height: view.getUint32(20) };
    }
    at = end + 4;
  }
  throw new UnreadError("unreadable");
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});

function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = CRC_TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

function readJpeg(bytes) {
  let frame;
  try { frame = checkJpeg(bytes); } catch (error) {
    throw error instanceof JpegError ? new UnreadError("unreadable") : error;
  }
  if (!frame.isRead) throw new UnreadError("phone_kind");
  return { type: "image/jpeg", width: frame.width, height: frame.height };
}

// In strips: a canvas of a whole film is more than some phones allow.
function toGrey(bitmap) {
  const { width, height } = bitmap, STRIP = Math.max(1, Math.floor(1e6 / width));
  const canvas = document.createElement("canvas"), data = new Uint8Array(width * height);
  canvas.width = width; canvas.height = Math.min(STRIP, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const points = colourPoints(width, height), colours = [];
  for (let top = 0; top < height; top += STRIP) {
    const rows = Math.min(STRIP, height - top);
    context.clearRect(0, 0, width, rows);
    context.drawImage(bitmap, 0, -top);
    const rgba = context.getImageData(0, 0, width, rows).data;
    while (points.length && points[0] < width * (top + rows)) {
      const at = 4 * (points.shift() - width * top), alpha = rgba[at + 3] / 255;
      colours.push([0, 1, 2].map((channel) => Math.round(rgba[at + channel] * alpha)));
    }
    for (let i = 0; i < width * rows; i++) {
      const at = 4 * i, alpha = rgba[at + 3];
      // ITU-R BT.601 as Pillow rounds it; transparency lies over black.
      const grey = (rgba[at] * 19595 + rgba[at + 1] * 38470 + rgba[at + 2] * 7471 + 0x8000) >> 16;
      data[top * width + i] = alpha === 255 ? grey : Math.round((grey * alpha) / 255);
    }
  }
  return { data, width, height, colour: colourShare(colours) };
}

// Places of the points whose colour is looked at, in rising order, as Pillow takes the nearest ones.
function colourPoints(width, height) {
  const places = (length) => Array.from({ length: COLOUR_SIDE }, (_, i) => Math.floor(((i + 0.5) * length) / COLOUR_SIDE));
  return places(height).flatMap((y) => places(width).map((x) => y * width + x));
}
