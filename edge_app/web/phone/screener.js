// screening/screener.py and selftest.py in the browser: a picture in, an answer out. Every number
// comes from the bundle, whose files are held against its SHA-256 sums; nothing is scored before
// the bundle's golden inputs gave what they must in this browser.
import { gateDeviations, gateDistance, gateFeatures, isInverted, joined, measureQuality, NO_FLAWS, openGate, qualityOf } from "./gate.js";
import { checkFlags, checkRefusal, textShare } from "./checks.js";
import { lungFrame, lungsInBox, sigmoid } from "./lungs.js";
import { findAnyway, LEAST_GREY_LEVELS, look } from "./locator.js";
import { greyRange, negative, resize, toInput, WHOLE } from "./preprocess.js";
import { readArray } from "./arrays.js";

const FORMAT = 3, LEAST_SIDE = 128; // of bundle.json; screening/refusals.py

export class Screener {
  /** Open a bundle: fetchFile(name) gives its bytes, openNetwork(bytes) what runs a network, settings
   * which model and cut-offs hold. */
  static async open(fetchFile, openNetwork, settings) {
    const manifest = JSON.parse(new TextDecoder().decode(await fetchFile("bundle.json")));
    if (manifest.format_version !== FORMAT) throw new Error(`bundle format ${manifest.format_version}`);
    const file = async (name) => {
      const bytes = await fetchFile(name);
      if (await sha256(bytes) !== manifest.files[name].sha256) throw new Error(`${name} is damaged`);
      return bytes;
    };
    const screener = new Screener(), { locator } = manifest;
    const model = manifest.models.find((one) => one.sha256 === settings.model_sha256);
    Object.assign(screener, { manifest, model, settings });
    const fit = manifest.input_gate.fits.find((one) => one.model_sha256 === model.sha256);
    screener.gate = openGate(fit, readArray(await file(fit.file)).data);
    const first = locator.models.find((one) => one.sha256 === locator.pairs[model.sha256]);
    screener.locate = runner(await openNetwork(await file(first.file)), locator);
    screener.read = runner(await openNetwork(await file(model.file)), manifest);
    screener.file = file;
    await screener.test();
    return screener;
  }

  /** Run every golden input; throws where one gives another score or distance than it must. */
  async test() {
    const { golden } = this.manifest;
    this.tested = 0;
    for (const one of golden.cases) {
      const { logit, distance } = await this.runGolden(readArray(await this.file(one.file)));
      const wanted = one.logits[this.model.sha256], far = one.distances[this.model.sha256];
      const fits = Math.abs(logit - wanted) <= golden.tolerance
        && (far === undefined || Math.abs(distance - far) <= golden.distance_tolerance);
      if (!fits) throw new SelfTestError(`${one.file}: ${logit.toFixed(3)} instead of ${wanted}`);
      this.tested++;
    }
    if (!this.tested) throw new SelfTestError("the bundle holds no golden input");
  }

  async runGolden({ data, shape }) {
    if (shape.length !== 2) return { logit: (await this.read(data)).logit.values[0] };
    const spec = this.manifest.preprocess, picture = { data, width: shape[1], height: shape[0] };
    const found = await findAnyway(picture, this.locate, this.manifest.locator);
    const small = resize(picture, spec, found?.frame ?? WHOLE), seen = toInput(small, spec, greyRange(small, spec));
    const outputs = await this.read(seen);
    const features = found && gateFeatures(found.map, found.box, seen, small, outputs.embedding.values);
    return { logit: outputs.logit.values[0], distance: features ? gateDistance(this.gate, features) : undefined };
  }

  /** The answer for one picture; stated is { age, view } as a person says them. */
  async score(picture, stated = {}) {
    const isOutside = isOutsidePopulation(stated, this.manifest.population), spec = this.manifest.preprocess;
    let quality = {
      age_unknown: stated.age === undefined, age_contradicted: false, view_unknown: !stated.view,
      enlarged: picture.height < spec.height || picture.width < spec.width, outside_population: isOutside,
    };
    let measures = { colour: picture.colour ?? 0, text: textShare(picture) };
    Object.assign(quality, checkFlags(measures));
    if (Math.min(picture.width, picture.height) < LEAST_SIDE) return refused("too_small", quality, measures);
    if (isOutside) return refused("outside_validated_population", quality, measures);
    if (checkRefusal(measures)) return refused(checkRefusal(measures), quality, measures);
    let looked = await this.look(picture);
    if (looked.isInverted) {
      looked = await this.look(negative(picture));
      looked.quality.greys_inverted = true;
    }
    quality = { ...quality, ...looked.quality };
    measures = { ...measures, ...looked.measures };
    if (looked.refusal || looked.isInverted) return refused(looked.refusal ?? "unlike_validated_films", quality, measures);
    const { logit } = looked, decision = decide(logit, this.settings);
    if (looked.lungs.isHalf && decision !== "pneumonia_suspected") return refused("lungs_not_found", quality, measures);
    return { decision, reason: null, quality, measures, logit, probability: this.probability(logit) };
  }

  probability(logit) {
    return sigmoid(this.settings.scale * logit + this.settings.offset);
  }

  /** Between them lies doubt, as probabilities. */
  get cutOffs() {
    return [this.settings.refer_low, this.settings.refer_high].map((cut) => this.probability(cut));
  }

  // Both looks and the gate's judgement, as if the greys were right.
  async look(picture) {
    const { locator, preprocess: spec } = this.manifest;
    const found = await look(picture, this.locate, locator), lungs = found.lungs, upright = found.picture;
    const quality = { turned_upright: (lungs?.quarterTurns ?? 0) > 0, touches_edge: lungs?.touches ?? false,
      greys_inverted: false, ...NO_FLAWS };
    if (found.refusal) return { quality, refusal: found.refusal };
    const frame = lungFrame(lungs.box, locator.margin);
    quality.enlarged = (frame.bottom - frame.top) * upright.height < spec.height
      || (frame.right - frame.left) * upright.width < spec.width;
    const small = resize(upright, spec, frame), range = greyRange(small, spec);
    if (range[1] - range[0] < LEAST_GREY_LEVELS) return { quality, refusal: "no_contrast" };
    const seen = toInput(small, spec, range), outputs = await this.read(seen);
    const features = gateFeatures(lungs.map, lungs.box, seen, small, outputs.embedding.values);
    if (isInverted(this.gate, features)) return { quality, isInverted: true };
    const measures = measureQuality(lungsInBox(lungs.map, lungs.box), lungs.box, seen, small, upright);
    Object.assign(quality, qualityOf(this.gate.fit.usual, measures));
    const deviations = gateDeviations(this.gate, features), unlike = joined(deviations);
    for (const [name, far] of Object.entries(deviations)) measures[`unlike_${name}`] = far;
    measures.unlike = unlike;
    const refusal = checkRefusal(measures) ?? (unlike > this.gate.fit.most_distance ? "unlike_validated_films" : null);
    return { quality, measures, lungs, logit: outputs.logit.values[0], refusal };
  }
}

export class SelfTestError extends Error {}

// From uint8 pixels to { role: { values, rows, columns } }.
function runner(network, { input, outputs }) {
  return async (pixels) => {
    const found = await network(input.name, pixels, input.shape), roles = {};
    for (const [role, name] of Object.entries(outputs)) {
      if (name === null) continue;
      const { data, dims } = found[name];
      roles[role] = { values: data, rows: dims[1], columns: dims[2] };
    }
    // Vectors are asked for as they are.
    for (const role of ["orientation", "view", "cut_off"]) if (roles[role]) roles[role] = roles[role].values;
    return roles;
  };
}

function refused(reason, quality, measures) {
  return { decision: "not_assessable", reason, quality, measures, logit: null, probability: null };
}

function decide(logit, { refer_low, refer_high }) {
  if (logit >= refer_high) return "pneumonia_suspected";
  return logit < refer_low ? "no_pneumonia_seen" : "indeterminate";
}

// screening/population.py, of what a person says. A child is five until the sixth birthday.
function isOutsidePopulation({ age, view }, { age_years: limits, views }) {
  if (age !== undefined && limits && !(limits[0] <= age && age < limits[1] + 1)) return true;
  return Boolean(view) && views.length > 0 && ![...views, "FRONTAL"].includes(view);
}

async function sha256(bytes) {
  const digest = await crypto.subtle.digest("SHA-256", bytes);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
