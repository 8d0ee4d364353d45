// screening/gate.py and quality.py in the browser: is it a film of the kind that the model was
// validated on, and what about it is unusual?
import { WHOLE } from "./preprocess.js";
import { GRID, lungsInBox } from "./lungs.js";
import { burntOut, checkFlags } from "./checks.js";

const PARTS = ["lungs", "frame", "embedding"];

/** The gate of one model file from its numbers and the manifest's fit. */
export function openGate(fit, numbers) {
  let at = 0;
  const take = (count) => numbers.subarray(at, (at += count));
  const parts = {};
  for (const name of PARTS) {
    const { values: n, directions: k } = fit.parts[name];
    const mean = take(n), directions = Array.from({ length: k }, () => take(n));
    parts[name] = { mean, directions, weights: take(k), rest: take(1)[0] };
  }
  if (at !== numbers.length) throw new Error("the input gate holds other numbers than promised");
  return { fit, parts };
}

export function gateFeatures(map, box, seen, side, embedding) {
  return { lungs: lungsInBox(map, box ?? WHOLE), frame: standardised(seen, side), embedding };
}

/** From the training pictures: 0 is amidst them. */
export function gateDistance({ fit, parts }, features) {
  return joined(gateDeviations({ fit, parts }, features));
}

/** Of each part, in standard deviations of the logarithm. */
export function gateDeviations({ fit, parts }, features) {
  return Object.fromEntries(PARTS.map((name) => {
    const { center, spread } = fit.parts[name];
    const distance = Math.max(distanceOf(parts[name], features[name]), 1e-9);
    return [name, (Math.log(distance) - center) / spread];
  }));
}

export function joined(deviations) {
  return Object.values(deviations).reduce((sum, one) => sum + Math.max(0, one), 0);
}

export function isInverted({ fit, parts }, { frame }) {
  const mean = parts.frame.mean, length = Math.sqrt(dot(frame, frame) * dot(mean, mean));
  return (length > 0 ? dot(frame, mean) / length : 0) < fit.inverted_below;
}

function distanceOf({ mean, directions, weights, rest }, values) {
  const off = Float64Array.from(values, (value, i) => value - mean[i]);
  return directions.reduce((sum, direction, k) => sum + weights[k] * dot(direction, off) ** 2, rest * dot(off, off));
}

function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

const mean = (values) => (values.length ? values.reduce((a, b) => a + b, 0) / values.length : 0);

function deviation(values) {
  const middle = mean(values);
  return Math.sqrt(mean(values.map((value) => (value - middle) ** 2)));
}

function standardised(seen, { width, height }) {
  const high = Math.floor(height / GRID), wide = Math.floor(width / GRID);
  const means = Array.from({ length: GRID * GRID }, (_, i) => {
    let sum = 0;
    for (let y = 0; y < high; y++) for (let x = 0; x < wide; x++)
      sum += seen[(Math.floor(i / GRID) * high + y) * width + (i % GRID) * wide + x];
    return sum / (high * wide);
  });
  const middle = mean(means), spread = deviation(means) || 1;
  return Float32Array.from(means, (value) => (value - middle) / spread);
}

// A measure, and the flags that it sets below and above its usual range.
const FLAWS = [
  ["tilt_degrees", "tilted", "tilted"], ["lungs_unequal", "patient_rotated", "patient_rotated"],
  ["lungs_height", "poor_inspiration", null], ["contrast", "low_penetration", "high_penetration"],
  ["sharpness", "blurred", null], ["bright_in_lungs", null, "foreign_object"], ["clipped", null, "clipped"],
];

export const NO_FLAWS = { over_exposed: false, under_exposed: false, ...Object.fromEntries(
  FLAWS.flatMap(([, below, above]) => [below, above]).filter(Boolean).map((flag) => [flag, false])) };

/** Which flags these measures set. */
export function qualityOf(usual, measures) {
  const flags = { ...NO_FLAWS, ...checkFlags(measures) };
  for (const [measure, below, above] of FLAWS) {
    const [low, high] = usual[measure];
    if (below && measures[measure] < low) flags[below] = true;
    if (above && measures[measure] > high) flags[above] = true;
  }
  return flags;
}

/** lungs is the map in the box, side the frame's size, size the picture's. */
export function measureQuality(lungs, box, seen, { width, height }, size) {
  const mask = Array.from(lungs, (p) => p >= 0.5), lung = [], other = [];
  const wide = (box.right - box.left) * size.width, high = (box.bottom - box.top) * size.height;
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
    const cell = Math.floor((y * GRID) / height) * GRID + Math.floor((x * GRID) / width);
    (mask[cell] ? lung : other).push(seen[y * width + x]);
  }
  const count = (grey) => seen.reduce((n, value) => n + (value === grey), 0) / seen.length;
  const area = (isHalf) => mask.filter((set, i) => set && isHalf(i % GRID)).length + 1;
  return {
    tilt_degrees: tilt(mask, wide, high),
    lungs_unequal: Math.log(area((x) => x < GRID / 2) / area((x) => x >= GRID / 2)),
    lungs_height: high / wide,
    contrast: (mean(other) - mean(lung)) / 255,
    sharpness: sharpness(seen, width, height),
    bright_in_lungs: lung.length ? percentile(lung, 99) / 255 : 0,
    clipped: Math.max(count(0), count(255)),
    ...burntOut(lung, other),
  };
}

function tilt(mask, wide, high) {
  const center = (isHalf) => {
    const cells = [...mask.keys()].filter((i) => mask[i] && isHalf(i % GRID));
    return cells.length ? [mean(cells.map((i) => Math.floor(i / GRID))), mean(cells.map((i) => i % GRID))] : null;
  };
  const left = center((x) => x < GRID / 2), right = center((x) => x >= GRID / 2);
  if (!left || !right) return 0;
  return (Math.atan2((right[0] - left[0]) * high, (right[1] - left[1]) * wide) * 180) / Math.PI;
}

function sharpness(seen, width, height) {
  let sum = 0;
  for (let y = 1; y < height - 1; y++) for (let x = 1; x < width - 1; x++) {
    const at = y * width + x;
    sum += Math.abs(4 * seen[at] - seen[at - width] - seen[at + width] - seen[at - 1] - seen[at + 1]);
  }
  return sum / ((width - 2) * (height - 2)) / (deviation(Array.from(seen)) + 1);
}

function percentile(values, percent) {
  const sorted = Float64Array.from(values).sort(), rank = (percent / 100) * (sorted.length - 1);
  const below = Math.floor(rank), above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (rank - below);
}
