// images/lung_box.py, lung_frame.py and lung_grid.py in the browser: where the lungs are.
// A map is { values, rows, columns } of logits; a box holds fractions of the picture.

export const GRID = 16; // cells a side

export function sigmoid(x) {
  const decay = Math.exp(-Math.abs(x));
  return (x >= 0 ? 1 : decay) / (1 + decay);
}

/** The box around the lungs with certainty, area and number of parts; null where no cell says lung. */
export function findLungBox({ values, rows, columns }, spec) {
  const probability = Float64Array.from(values, sigmoid);
  const parts = connectedParts(probability.map((p) => (p >= spec.threshold ? 1 : 0)), rows, columns);
  if (!parts.length) return null;
  const smallest = spec.smallest_part * Math.max(...parts.map((part) => part.length));
  const kept = parts.filter((part) => part.length >= smallest), mask = new Uint8Array(values.length);
  for (const cell of kept.flat()) mask[cell] = 1;
  // The doubtful rim of the lungs places their edges between cells; other parts must not.
  const counted = grown(grown(mask, rows, columns), rows, columns);
  for (const part of parts) if (part.length < smallest) for (const cell of part) counted[cell] = 0;
  const across = new Array(columns).fill(0), down = new Array(rows).fill(0);
  for (let cell = 0; cell < values.length; cell++) {
    if (!counted[cell]) continue;
    const x = cell % columns, y = Math.floor(cell / columns);
    across[x] = Math.max(across[x], probability[cell]);
    down[y] = Math.max(down[y], probability[cell]);
  }
  const cells = kept.flat();
  return {
    left: firstPlace(across, spec.left), top: firstPlace(down, spec.top),
    right: 1 - firstPlace([...across].reverse(), spec.right),
    bottom: 1 - firstPlace([...down].reverse(), spec.bottom),
    certainty: cells.reduce((sum, cell) => sum + 2 * Math.abs(probability[cell] - 0.5), 0) / cells.length,
    area: cells.length / values.length,
    parts: kept.length,
  };
}

function connectedParts(mask, rows, columns) {
  const left = Uint8Array.from(mask), parts = [];
  for (let start = 0; start < left.length; start++) {
    if (!left[start]) continue;
    const part = [start];
    left[start] = 0;
    for (const cell of part) for (const other of neighbours(cell, rows, columns))
      if (left[other]) { left[other] = 0; part.push(other); }
    parts.push(part);
  }
  return parts;
}

function neighbours(cell, rows, columns) {
  const x = cell % columns, y = Math.floor(cell / columns), found = [];
  if (x > 0) found.push(cell - 1);
  if (x < columns - 1) found.push(cell + 1);
  if (y > 0) found.push(cell - columns);
  if (y < rows - 1) found.push(cell + columns);
  return found;
}

function grown(mask, rows, columns) {
  const out = Uint8Array.from(mask);
  mask.forEach((set, cell) => { if (set) for (const other of neighbours(cell, rows, columns)) out[other] = 1; });
  return out;
}

function firstPlace(profile, wanted) {
  const level = Math.min(wanted, Math.max(...profile)), index = profile.findIndex((value) => value >= level);
  const before = index ? profile[index - 1] : 0, share = (level - before) / (profile[index] - before);
  return Math.min(1, Math.max(0, (index ? index - 0.5 + share : 0) / profile.length));
}

/** The part of the picture that the reader is given. */
export function lungFrame(box, margin) {
  const wide = margin * (box.right - box.left), high = margin * (box.bottom - box.top);
  return { left: Math.max(0, box.left - wide), top: Math.max(0, box.top - high),
    right: Math.min(1, box.right + wide), bottom: Math.min(1, box.bottom + high) };
}

/** The map's probabilities in the box, GRID x GRID. */
export function lungsInBox({ values, rows, columns }, extent) {
  const cell = (start, end, i, count) => Math.min(count - 1, Math.max(0,
    Math.trunc((start + (end - start) * ((i + 0.5) / GRID)) * count)));
  return Float32Array.from({ length: GRID * GRID }, (_, i) => sigmoid(
    values[cell(extent.top, extent.bottom, Math.floor(i / GRID), rows) * columns
      + cell(extent.left, extent.right, i % GRID, columns)]));
}
