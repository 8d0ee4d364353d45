// screening/picture_checks.py, images/colour.py and flaws.py in the browser: colour, text of a screen,
// and what is burnt out, with the limits from which on a flag is set or a picture refused.
const ROWS = 64, EDGE = 96, FLAT = 8, LEAST_EDGES = 16, LEAST_FLAT = 0.4, LEAST_DIFFERENCE = 20;

export const COLOUR_SIDE = 48; // points a side of the grid whose colour is looked at

// A measure, from where on it is flagged and refused, and as what.
const CHECKS = [
  ["colour", 0.002, "in_colour", 0.05, "colour_picture"],
  ["text", 0.08, "text_on_picture", 0.25, "screen_copy"],
  ["black_in_lungs", 0.03, "over_exposed", 0.15, "over_exposed"],
  ["white_beside_lungs", 0.06, "under_exposed", 0.4, "under_exposed"],
];

/** The flags of the checks that were made. */
export function checkFlags(measures) {
  const made = CHECKS.filter(([name]) => name in measures);
  return Object.fromEntries(made.map(([name, most, flag]) => [flag, measures[name] > most]));
}

/** Why a picture with these measures is not read, null where it is. */
export function checkRefusal(measures) {
  return CHECKS.find(([name, , , most]) => measures[name] > most)?.[4] ?? null;
}

/** The share of 64 rows that run through text. */
export function textShare({ data, width, height }) {
  let texts = 0;
  for (let i = 0; i < ROWS; i++) {
    const start = Math.floor((i * (height - 1)) / (ROWS - 1)) * width;
    let edges = 0, flat = 0;
    for (let x = start + 1; x < start + width; x++) {
      const step = Math.abs(data[x] - data[x - 1]);
      if (step > EDGE) edges++;
      if (step <= FLAT) flat++;
    }
    if (edges >= LEAST_EDGES && flat / (width - 1) >= LEAST_FLAT) texts++;
  }
  return texts / ROWS;
}

/** The share of points, [red, green, blue] each, whose colour is none of the picture's tint. */
export function colourShare(points) {
  const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
  const centred = (values) => { const middle = mean(values); return values.map((value) => value - middle); };
  const light = centred(points.map(([, green]) => green));
  const power = Math.max(light.reduce((sum, value) => sum + value * value, 0), 1);
  const rest = light.map(() => 0);
  for (const channel of [0, 2]) {
    const difference = centred(points.map((point) => point[channel] - point[1]));
    const along = difference.reduce((sum, value, i) => sum + value * light[i], 0) / power;
    difference.forEach((value, i) => { rest[i] += (value - along * light[i]) ** 2; });
  }
  return rest.filter((value) => value > LEAST_DIFFERENCE ** 2).length / points.length;
}

/** Shares of the lungs' greys that are black, and of the greys beside them that are white. */
export function burntOut(lungs, beside) {
  const share = (greys, wanted) => greys.filter((grey) => grey === wanted).length / Math.max(1, greys.length);
  return { black_in_lungs: share(lungs, 0), white_beside_lungs: share(beside, 255) };
}
