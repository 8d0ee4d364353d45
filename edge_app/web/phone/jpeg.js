// A JPEG's Huffman codes, read to their end (ITU-T T.81, annexes B, F and G): browsers, like libjpeg,
// fill up with grey where codes are lost, and half a lung filled up with grey looks like an opacity.
// Bytes in, the frame's size out; no pixel is made here.

const MOST_SCANNED = 250e6; // pixels times scans: images/jpeg.py

export class JpegError extends Error {}

/** { width, height, isRead } of a whole file; isRead is false of kinds that no camera makes. Throws
 * JpegError where it is damaged. */
export function checkJpeg(bytes) {
  const tables = {}, state = { frame: null, interval: 0, scanned: 0 };
  for (let at = 2; ;) {
    if (bytes[at] !== 0xff) throw new JpegError("no marker");
    while (bytes[at + 1] === 0xff) at++;
    const marker = bytes[at + 1];
    if (marker === 0xd9) {
      if (!state.scanned) throw new JpegError("no picture");
      return state.frame;
    }
    const length = (bytes[at + 2] << 8) | bytes[at + 3], end = at + 2 + length;
    if (!(length >= 2) || end > bytes.length) throw new JpegError("cut off");
    const segment = bytes.subarray(at + 4, end);
    at = end;
    if (marker === 0xc4) readTables(segment, tables);
    else if (marker === 0xdd) state.interval = (segment[0] << 8) | segment[1];
    else if (marker >= 0xc0 && marker <= 0xcf && marker !== 0xc8 && marker !== 0xcc) {
      if (state.frame) throw new JpegError("a second frame");
      state.frame = readFrame(segment, marker);
      if (!state.frame.isRead) return state.frame;
    } else if (marker === 0xda) {
      if (!state.frame) throw new JpegError("a scan without a frame");
      state.scanned += state.frame.width * state.frame.height;
      if (state.scanned > MOST_SCANNED) return { ...state.frame, isRead: false };
      at = readScan(bytes, at, segment, tables, state);
    }
  }
}

function readFrame(segment, marker) {
  const [bits, h1, h0, w1, w0, count] = segment, components = {};
  for (let i = 0; i < count; i++) {
    const [id, sampling] = segment.subarray(6 + 3 * i);
    components[id] = { id, h: sampling >> 4, v: sampling & 15, known: new Map() };
  }
  const width = (w1 << 8) | w0, height = (h1 << 8) | h0, all = Object.values(components);
  const isProgressive = marker === 0xc2, isRead = marker <= 0xc2 && bits === 8 && (count === 1 || count === 3);
  if (!width || !height || all.length !== count || all.some(({ h, v }) => !(h >= 1 && h <= 4 && v >= 1 && v <= 4)))
    throw new JpegError("a damaged frame");
  const most = (side) => Math.max(...all.map((one) => one[side]));
  return { width, height, components, isProgressive, isRead, h: most("h"), v: most("v") };
}

function readTables(segment, tables) {
  for (let at = 0; at < segment.length;) {
    const name = segment[at], counts = segment.subarray(at + 1, at + 17), table = { firsts: [], offsets: [], counts };
    let code = 0, total = 0;
    for (let bits = 0; bits < 16; bits++) {
      table.firsts.push(code); table.offsets.push(total);
      total += counts[bits];
      code = (code + counts[bits]) << 1;
    }
    table.symbols = segment.subarray(at + 17, at + 17 + total);
    if (table.symbols.length !== total) throw new JpegError("a damaged table");
    tables[name] = table;
    at += 17 + total;
  }
}

// Every MCU of a scan; gives the place of the marker behind it.
function readScan(bytes, start, segment, tables, { frame, interval }) {
  const [from, to, bits] = segment.subarray(1 + 2 * segment[0]), parts = [];
  const isRefined = frame.isProgressive && bits >> 4 > 0, scan = { from, to, run: 0 };
  if (frame.isProgressive && (from > to || to > 63 || (from === 0) !== (to === 0))) throw new JpegError("a damaged scan");
  for (let i = 0; i < segment[0]; i++) {
    const [id, choice] = segment.subarray(1 + 2 * i), component = frame.components[id];
    const dc = tables[choice >> 4], ac = tables[0x10 | (choice & 15)];
    const needs = frame.isProgressive ? (from ? ac : isRefined || dc) : dc && ac;
    if (!component || !needs) throw new JpegError("a damaged scan");
    parts.push({ ...component, dc, ac });
  }
  if (!parts.length || (frame.isProgressive && from && parts.length > 1)) throw new JpegError("a damaged scan");
  // A component that stands alone comes block by block, without the padding to whole MCUs (A.2.2).
  const isAlone = parts.length === 1, [{ h, v }] = parts;
  const across = Math.ceil(isAlone ? Math.ceil((frame.width * h) / frame.h) / 8 : frame.width / (8 * frame.h));
  const down = Math.ceil(isAlone ? Math.ceil((frame.height * v) / frame.v) / 8 : frame.height / (8 * frame.v));
  const reader = new Bits(bytes, start);
  const readOne = !frame.isProgressive ? readBlock : from ? (isRefined ? refineBlock : readBand)
    : isRefined ? (bitReader) => bitReader.bit() : (bitReader, { dc }) => bitReader.skip(bitReader.symbol(dc));
  for (let mcu = 0; mcu < across * down; mcu++) {
    if (interval && mcu && mcu % interval === 0) { reader.restart((mcu / interval - 1) % 8); scan.run = 0; }
    for (const part of parts)
      for (let block = isAlone ? 1 : part.h * part.v; block > 0; block--) readOne(reader, part, scan, mcu);
  }
  return reader.end();
}

function readBlock(reader, { dc, ac }) {
  reader.skip(reader.symbol(dc));
  for (let k = 1; k < 64; k++) {
    const symbol = reader.symbol(ac), run = symbol >> 4, size = symbol & 15;
    if (!size && run !== 15) return;
    k += run;
    if (k > 63) throw new JpegError("codes beyond a block");
    reader.skip(size);
  }
}

// A band's first bits (G.1.2.2). Which coefficients are not zero is kept, since each of them takes a
// bit of every refinement.
function readBand(reader, { ac, known }, scan, block) {
  if (scan.run) { scan.run--; return; }
  const coefficients = knownOf(known, block);
  for (let k = scan.from; k <= scan.to; k++) {
    const symbol = reader.symbol(ac), run = symbol >> 4, size = symbol & 15;
    if (!size && run !== 15) { scan.run = (1 << run) - 1 + reader.bits(run); return; }
    k += run;
    if (k > scan.to && size) throw new JpegError("codes beyond a block");
    if (size) coefficients[k] = 1;
    reader.skip(size);
  }
}

// One bit more of a band (G.1.2.3).
function refineBlock(reader, { ac, known }, scan, block) {
  const coefficients = knownOf(known, block);
  let k = scan.from;
  while (!scan.run && k <= scan.to) {
    const symbol = reader.symbol(ac), size = symbol & 15;
    let zeros = symbol >> 4;
    if (!size && zeros < 15) { scan.run = (1 << zeros) + reader.bits(zeros); break; }
    reader.skip(size);
    for (; k <= scan.to; k++) {
      if (coefficients[k]) reader.bit();
      else if (zeros-- === 0) break;
    }
    if (size) {
      if (k > scan.to) throw new JpegError("codes beyond a block");
      coefficients[k] = 1;
    }
    k++;
  }
  if (!scan.run) return;
  for (; k <= scan.to; k++) if (coefficients[k]) reader.bit();
  scan.run--;
}

function knownOf(known, block) {
  if (!known.has(block)) known.set(block, new Uint8Array(64));
  return known.get(block);
}

class Bits {
  constructor(bytes, at) { this.bytes = bytes; this.at = at; this.left = 0; this.byte = 0; }

  bit() {
    if (!this.left) {
      this.byte = this.bytes[this.at++];
      if (this.byte === 0xff && this.bytes[this.at++] !== 0) throw new JpegError("codes end too early");
      if (this.byte === undefined) throw new JpegError("cut off");
      this.left = 8;
    }
    return (this.byte >> --this.left) & 1;
  }

  skip(count) { while (count--) this.bit(); }

  bits(count) {
    let value = 0;
    while (count--) value = (value << 1) | this.bit();
    return value;
  }

  symbol({ firsts, offsets, counts, symbols }) {
    let code = 0;
    for (let bits = 0; bits < 16; bits++) {
      code = (code << 1) | this.bit();
      const place = code - firsts[bits];
      if (place >= 0 && place < counts[bits]) return symbols[offsets[bits] + place];
    }
    throw new JpegError("no such code");
  }

  restart(number) {
    if (this.end() !== this.at || this.bytes[this.at + 1] !== 0xd0 + number) throw new JpegError("a lost restart");
    this.at += 2;
  }

  // The place of the marker that follows.
  end() {
    this.left = 0;
    if (this.bytes[this.at] !== 0xff || !this.bytes[this.at + 1]) throw new JpegError("more codes than blocks");
    return this.at;
  }
}
