// images/preprocess.py in the browser: grey pixels in, the network's input out. As Pillow resamples:
// along rows first. Pillow 13 does so along columns where a tall picture shrinks, which rounds single
// pixels to the next grey.
// A picture is { data: Uint8Array, width, height }.

const PRECISION = 2 ** 22; // Pillow's fixed point of 8-bit resampling: libImaging/Resample.c

// Weights of the triangle filter, its support scaled with the reduction. Edges of the box are
// 32-bit floats there, so they are here.
function weights(length, from, to, count) {
  const start = Math.fround(from), scale = Math.fround(Math.fround(to) - start) / count;
  const support = Math.max(scale, 1), lines = [];
  for (let i = 0; i < count; i++) {
    const center = start + (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - support + 0.5));
    const end = Math.min(length, Math.trunc(center + support + 0.5));
    const raw = [];
    for (let x = first; x < end; x++) raw.push(Math.max(0, 1 - Math.abs((x - center + 0.5) / support)));
    const sum = raw.reduce((a, b) => a + b, 0);
    lines.push({ first, fixed: raw.map((w) => Math.trunc(0.5 + (sum ? w / sum : w) * PRECISION)) });
  }
  return lines;
}

const clip = (sum) => Math.min(255, Math.floor((sum + PRECISION / 2) / PRECISION));

/** Resample a part of a picture (a frame in fractions of it) to width x height. */
export function resize({ data, width, height }, spec, frame = WHOLE) {
  if (spec.resize_filter !== "bilinear") throw new Error(`resize filter ${spec.resize_filter}`);
  const across = weights(width, frame.left * width, frame.right * width, spec.width);
  const down = weights(height, frame.top * height, frame.bottom * height, spec.height);
  const top = down[0].first, last = down[down.length - 1], rows = last.first + last.fixed.length - top;
  const narrow = new Uint8Array(rows * spec.width);
  for (let y = 0; y < rows; y++) {
    const row = (top + y) * width;
    for (let x = 0; x < spec.width; x++) {
      const { first, fixed } = across[x];
      let sum = 0;
      for (let k = 0; k < fixed.length; k++) sum += data[row + first + k] * fixed[k];
      narrow[y * spec.width + x] = clip(sum);
    }
  }
  const small = new Uint8Array(spec.width * spec.height);
  for (let y = 0; y < spec.height; y++) {
    const { first, fixed } = down[y];
    for (let x = 0; x < spec.width; x++) {
      let sum = 0;
      for (let k = 0; k < fixed.length; k++) sum += narrow[(first - top + k) * spec.width + x] * fixed[k];
      small[y * spec.width + x] = clip(sum);
    }
  }
  return { data: small, width: spec.width, height: spec.height };
}

export const WHOLE = { left: 0, top: 0, right: 1, bottom: 1 };

/** Half to even, as numpy and IEEE 754 round. */
export function rint(value) {
  const below = Math.floor(value), rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 !== 0) ? below + 1 : below;
}

/** Greys at the percentiles of the central region: [low, high]. */
export function greyRange({ data, width, height }, spec) {
  const region = spec.range_region || 1;
  const marginY = rint((height * (1 - region)) / 2), marginX = rint((width * (1 - region)) / 2);
  const counts = new Array(256).fill(0);
  for (let y = marginY; y < height - marginY; y++)
    for (let x = marginX; x < width - marginX; x++) counts[data[y * width + x]]++;
  return [spec.range_low_percentile, spec.range_high_percentile].map((p) => percentileOfCounts(counts, p));
}

function percentileOfCounts(counts, percent) {
  const total = counts.reduce((a, b) => a + b, 0), rank = (percent / 100) * (total - 1);
  const valueAt = (place) => {
    let end = 0;
    return counts.findIndex((n) => (end += n) > place);
  };
  const below = Math.trunc(rank), first = valueAt(below);
  return first + (valueAt(Math.min(below + 1, total - 1)) - first) * (rank - below);
}

/** Make the range 0 to 255: the network's input. */
export function toInput({ data }, spec, [low, high]) {
  if (spec.range_region === 0) [low, high] = [0, 255];
  if (high <= low) return new Uint8Array(data.length);
  const base = Math.fround(low), factor = Math.fround(255 / (high - low));
  const table = Uint8Array.from({ length: 256 }, (_, grey) =>
    Math.min(255, Math.max(0, rint(Math.fround(Math.fround(grey - base) * factor)))));
  return data.map((grey) => table[grey]);
}

export function turnedClockwise({ data, width, height }, quarterTurns) {
  let picture = { data, width, height };
  for (let turn = 0; turn < quarterTurns; turn++) {
    const { data: from, width: w, height: h } = picture, to = new Uint8Array(from.length);
    for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) to[x * h + (h - 1 - y)] = from[y * w + x];
    picture = { data: to, width: h, height: w };
  }
  return picture;
}

export function cut({ data, width }, left, top, right, bottom) {
  const out = new Uint8Array((right - left) * (bottom - top));
  for (let y = top; y < bottom; y++) out.set(data.subarray(y * width + left, y * width + right), (y - top) * (right - left));
  return { data: out, width: right - left, height: bottom - top };
}

export const negative = (picture) => ({ ...picture, data: picture.data.map((grey) => 255 - grey) });
