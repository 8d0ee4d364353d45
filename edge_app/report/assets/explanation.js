"use strict";
// Draws the picture with the reader's window and level, the lungs' outline and the heat over it.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const canvas = byId("film"), context = canvas.getContext("2d");
const image = new Image();
let greys, layer;

const at = () => ({
  window: Number(byId("window").value), level: Number(byId("level").value),
  inverted: byId("inverted").checked, lungs: byId("lungs")?.checked ?? false,
  heat: Number(byId("heat")?.value ?? 0) / 100,
});

// A border pixel of a shape: it is inside, and one so many pixels beside it is not.
function isEdge(shape, w, h, x, y, wide) {
  const i = y * w + x;
  if (!shape[i]) return false;
  return (x >= wide && !shape[i - wide]) || (x + wide < w && !shape[i + wide]) ||
    (y >= wide && !shape[i - w * wide]) || (y + wide < h && !shape[i + w * wide]);
}

// Once: for each pixel the colour and strength of the heat, and the two lines.
function makeLayer() {
  const w = canvas.width, h = canvas.height, n = w * h, heat = data.heat;
  const lungs = new Uint8Array(n).fill(data.lungs.length ? 0 : 1), core = new Uint8Array(n);
  const strength = new Float32Array(n), share = new Float32Array(n);
  let hot = false;
  for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) {
    const i = y * w + x, u = (x + 0.5) / w, v = (y + 0.5) / h;
    if (data.lungs.length) lungs[i] = sample(data.lungs, u, v) >= 0.5;
    if (!heat || !lungs[i]) continue;
    const [left, top, right, bottom] = heat.frame;
    const p = (u - left) / (right - left), q = (v - top) / (bottom - top);
    if (p < 0 || p > 1 || q < 0 || q > 1) continue;
    const value = sample(heat.values, p, q);
    if (value < heat.from) continue;
    hot = true;
    share[i] = Math.min((value - heat.from) / (heat.full - heat.from), 1);
    strength[i] = 0.25 + 0.75 * share[i];
    core[i] = value >= heat.core;
  }
  // As wide on the screen as a line can be seen, however small the picture is shown there.
  const wide = Math.max(1, Math.round(1.5 * w / Math.max(canvas.clientWidth, 1)));
  const lines = new Uint8Array(n);
  for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) {
    const i = y * w + x;
    if (isEdge(core, w, h, x, y, wide)) lines[i] = 2;
    else if (data.lungs.length && isEdge(lungs, w, h, x, y, wide)) lines[i] = 1;
  }
  if (byId("none")) byId("none").hidden = hot;
  if (byId("heat")) byId("heat").disabled = !hot;
  return { strength, share, lines };
}

function draw() {
  if (!layer) return;
  const now = at(), n = greys.length, out = context.createImageData(canvas.width, canvas.height);
  const low = now.level - now.window / 2, scale = 255 / now.window, pixels = out.data;
  const table = new Uint8ClampedArray(256);
  for (let g = 0; g < 256; g++) {
    const value = Math.min(Math.max((g - low) * scale, 0), 255);
    table[g] = now.inverted ? 255 - value : value;
  }
  for (let i = 0; i < n; i++) {
    const grey = table[greys[i]], a = now.heat * layer.strength[i], s = layer.share[i], k = 4 * i;
    let r = grey + (255 - 65 * s - grey) * a, g = grey + (225 - 205 * s - grey) * a;
    let b = grey + (90 - 60 * s - grey) * a;
    if (layer.lines[i] === 2 && now.heat > 0) r = g = b = now.inverted ? 0 : 255;
    else if (layer.lines[i] === 1 && now.lungs) [r, g, b] = [90, 200, 255];
    pixels[k] = r; pixels[k + 1] = g; pixels[k + 2] = b; pixels[k + 3] = 255;
  }
  context.putImageData(out, 0, 0);
}

let asked = false;
function redraw() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => { asked = false; draw(); });
}

function set(window, level) {
  byId("window").value = window;
  byId("level").value = level;
  redraw();
}

function reset() {
  byId("inverted").checked = false;
  if (byId("lungs")) byId("lungs").checked = true;
  if (byId("heat")) byId("heat").value = 0;
  set(...data.window);
}

function toggle(id) {
  const box = byId(id);
  if (!box) return;
  box.checked = !box.checked;
  redraw();
}

let from = null;
canvas.addEventListener("pointerdown", (event) => {
  const now = at();
  from = { x: event.clientX, y: event.clientY, window: now.window, level: now.level };
  canvas.setPointerCapture(event.pointerId);
});
canvas.addEventListener("pointermove", (event) => {
  if (!from) return;
  const unit = 255 / canvas.clientWidth;
  set(from.window + (event.clientX - from.x) * unit, from.level + (event.clientY - from.y) * unit);
});
for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { from = null; });

canvas.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: [-5, 0], ArrowRight: [5, 0], ArrowUp: [0, -5], ArrowDown: [0, 5] }[event.key];
  if (!step) return;
  event.preventDefault();
  const now = at();
  set(now.window + step[0], now.level + step[1]);
});
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.toLowerCase();
  if (key === "h" && byId("heat") && !byId("heat").disabled) {
    byId("heat").value = at().heat > 0 ? 0 : 55;
    redraw();
  } else if (key === "l") toggle("lungs");
  else if (key === "i") toggle("inverted");
  else if (key === "r") reset();
});
for (const input of document.querySelectorAll("input")) input.addEventListener("input", redraw);
byId("reset").addEventListener("click", reset);

image.onload = () => {
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  context.drawImage(image, 0, 0);
  const rgba = context.getImageData(0, 0, canvas.width, canvas.height).data;
  greys = new Uint8Array(canvas.width * canvas.height);
  for (let i = 0; i < greys.length; i++) greys[i] = rgba[4 * i];
  layer = makeLayer();
  reset();
};
image.src = "data:image/png;base64," + data.png;
