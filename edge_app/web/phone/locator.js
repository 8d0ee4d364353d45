// screening/locator.py in the browser: the first look. A refusal is a reason's code.
import { cut, greyRange, resize, toInput, turnedClockwise, WHOLE } from "./preprocess.js";
import { findLungBox, lungFrame, sigmoid } from "./lungs.js";

export const LEAST_GREY_LEVELS = 8; // screening/refusals.py
const LUNGS = 2, HALF = 0.55, FRONTAL = 0, LATERAL = 1;

/** Find the lungs, and put a picture that lies on its side or its head right. */
export async function look(picture, locate, locator) {
  let outputs = await ask(picture, locate, locator);
  if (!outputs) return { picture, lungs: null, refusal: "no_contrast" };
  const turns = quarterTurns(outputs, locator.rules);
  if (turns) {
    picture = turnedClockwise(picture, turns);
    outputs = await ask(picture, locate, locator);
    if (!outputs) return { picture, lungs: null, refusal: "no_contrast" };
  }
  const found = findLungs(outputs, locator.rules, turns);
  if (!found.refusal && found.lungs && await isSecondFilm(picture, found.lungs.box, locate, locator))
    found.refusal = "lungs_not_found";
  return { picture, ...found };
}

/** What the map says whatever the rules do, for golden inputs; null where it is blank. */
export async function findAnyway(picture, locate, locator) {
  const outputs = await ask(picture, locate, locator);
  if (!outputs) return null;
  const box = findLungBox(outputs.lungs, locator.rules.box);
  return { map: outputs.lungs, box, frame: box ? lungFrame(box, locator.margin) : WHOLE };
}

function ask(picture, locate, { preprocess }) {
  const small = resize(picture, preprocess), range = greyRange(small, preprocess);
  return range[1] - range[0] < LEAST_GREY_LEVELS ? null : locate(toInput(small, preprocess, range));
}

function quarterTurns({ orientation }, rules) {
  const probability = softmax(orientation), turns = largest(probability);
  return turns && probability[turns] >= rules.turned ? turns : 0;
}

function findLungs(outputs, rules, quarterTurns) {
  let refusal = wrongView(outputs, rules)
    ?? (softmax(outputs.orientation)[0] >= rules.least_upright ? null : "rotated");
  const box = findLungBox(outputs.lungs, rules.box);
  if (!box) return { lungs: null, refusal: refusal ?? "lungs_not_found" };
  const cutOff = Array.from(outputs.cut_off, sigmoid);
  const lungs = { box, map: outputs.lungs, quarterTurns, isHalf: box.parts < LUNGS,
    touches: cutOff.some((p) => p >= rules.touches_edge) };
  const isDoubtful = box.certainty < rules.least_certainty
    || (box.right - box.left) * (box.bottom - box.top) < rules.least_area;
  if (box.parts > LUNGS || isDoubtful) refusal ??= "lungs_not_found";
  return { lungs, refusal: refusal ?? (cutOff.some((p) => p >= rules.cut_off) ? "lungs_cut_off" : null) };
}

function wrongView({ view }, rules) {
  const probability = softmax(view);
  if (probability[FRONTAL] >= rules.least_frontal) return null;
  return largest(probability) === LATERAL ? "view_not_validated" : "not_chest_radiograph";
}

// Of two films the locator may see one: the half in which no lungs were found is looked at alone.
async function isSecondFilm(picture, box, locate, locator) {
  const other = emptyHalf(picture, box), outputs = other && await ask(other, locate, locator);
  if (!outputs) return false;
  const { lungs, refusal } = findLungs(outputs, locator.rules, 0);
  return lungs !== null && !refusal;
}

function emptyHalf(picture, box) {
  const { width: w, height: h } = picture, x = Math.floor(w / 2), y = Math.floor(h / 2);
  if (box.right <= HALF) return cut(picture, x, 0, w, h);
  if (box.left >= 1 - HALF) return cut(picture, 0, 0, x, h);
  if (box.bottom <= HALF) return cut(picture, 0, y, w, h);
  return box.top >= 1 - HALF ? cut(picture, 0, 0, w, y) : null;
}

function softmax(logits) {
  const most = Math.max(...logits), shares = Array.from(logits, (x) => Math.exp(x - most));
  const sum = shares.reduce((a, b) => a + b, 0);
  return shares.map((share) => share / sum);
}

const largest = (values) => values.indexOf(Math.max(...values));
