"use strict";
// Uploads, the viewer, and the hint that a list has changed. Texts from outside become text nodes,
// never markup; words come from the page, in its language.
const byId = (id) => document.getElementById(id);

function element(tag, ...children) {
  const node = document.createElement(tag);
  node.append(...children);
  return node;
}

// Adding pictures: each file is one request whose body is the file; two at a time, so that ten
// thousand wait here and not at the machine.
function setUpAdding() {
  const input = byId("files"), drop = byId("drop"), list = byId("progress"), total = byId("progress-total");
  const bar = byId("progress-bar"), most = Number(document.querySelector(".add").dataset.megabytes) * 1e6;
  const waiting = [];
  let sending = 0, done = 0, all = 0;
  const SHOWN = 200;

  function tell() {
    total.textContent = total.dataset.text.replace("{done}", done).replace("{total}", all);
    bar.hidden = false; bar.max = all; bar.value = done;
  }

  function line(file) {
    const state = element("span"), row = element("li", element("bdi", file.name), " – ", state);
    list.prepend(row);
    if (list.children.length > SHOWN) list.lastChild.remove();
    return { row, say: (...what) => state.replaceChildren(...what) };
  }

  function send(file, about, shown) {
    return new Promise((resolve) => {
      const request = new XMLHttpRequest(), query = new URLSearchParams({ name: file.name, ...about });
      request.open("POST", "/api/v1/studies?" + query);
      request.setRequestHeader("X-CSRF-Token", document.body.dataset.csrf);
      request.setRequestHeader("Content-Type", "application/octet-stream");
      request.responseType = "json";
      request.upload.onprogress = (event) => shown.say(event.loaded < event.total
        ? `${list.dataset.sending} ${Math.floor(100 * event.loaded / event.total)} %` : list.dataset.reading);
      request.onloadend = () => resolve(request);
      request.send(file);
    });
  }

  const KINDS = { pneumonia_suspected: "suspected", indeterminate: "indeterminate",
    not_assessable: "unscreened", no_pneumonia_seen: "clear" };

  async function add(file, about) {
    const shown = line(file);
    if (file.size > most) return shown.say(list.dataset.large);
    if ("age" in about && !(about.age >= 0 && about.age <= 130)) return shown.say(list.dataset.age);
    let answer = await send(file, about, shown);
    // Busy, not broken: it says so, and is asked again.
    for (let tries = 0; answer.status === 503 && tries < 60; tries++) {
      await new Promise((resolve) => setTimeout(resolve, 2000));
      answer = await send(file, about, shown);
    }
    if (answer.status !== 201) {
      const why = list.dataset[answer.response?.code];
      if (why) return shown.say(why);
      return shown.say(answer.status ? String(answer.response?.detail ?? answer.status) : list.dataset.lost);
    }
    const study = answer.response, said = KINDS[study.decision];
    const link = element("a", study.answer_withheld ? list.dataset.withheld : list.dataset[said]);
    link.href = "/studies/" + study.id;
    link.className = "answer-name " + (said ?? "");
    shown.say(link);
  }

  async function work() {
    if (sending >= 2 || !waiting.length) return;
    sending++;
    await add(...waiting.shift());
    sending--; done++;
    tell();
    if (done === all) byId("changed").querySelector("a").hidden = false; // the list below is older
    work();
  }

  function take(files, kind) {
    const about = { patient: byId("patient").value.trim(), kind, view: byId("view").value };
    const age = byId("age").value.trim().replace(",", ".");
    if (age) about.age = Number(age);
    for (const file of files) { waiting.push([file, about]); all++; }
    tell(); work(); work();
  }

  input.addEventListener("change", () => { take(input.files, "film"); input.value = ""; });
  const camera = byId("camera");
  camera.addEventListener("change", () => { take(camera.files, "photograph"); camera.value = ""; });
  drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    take(event.dataTransfer.files, "film");
  });
  window.addEventListener("beforeunload", (event) => { if (done < all) event.preventDefault(); });
}

// Several phones see one worklist: a note says that it has changed; nothing moves under a finger.
function setUpChanges() {
  const note = byId("changed"), link = note.querySelector("a");
  link.href = location.href;
  const timer = setInterval(async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch("/changes?since=" + note.dataset.counter);
      if (answer.ok && (await answer.json()).changed) { link.hidden = false; clearInterval(timer); }
    } catch { /* the machine is away; the next look tells */ }
  }, 5000);
}

// Yellow at the lower cut-off to red at the upper and beyond; on paper hatched dots instead.
function drawHeat(canvas, layers) {
  const SIDE = 256, context = canvas.getContext("2d"), { map, frame, low, high } = layers;
  canvas.width = canvas.height = SIDE;
  const image = context.createImageData(SIDE, SIDE), [left, top, right, bottom] = frame;
  const onPaper = "print" in canvas.dataset;
  for (let j = 0; j < SIDE; j++) for (let i = 0; i < SIDE; i++) {
    const u = ((i + 0.5) / SIDE - left) / (right - left), v = ((j + 0.5) / SIDE - top) / (bottom - top);
    if (u < 0 || u > 1 || v < 0 || v > 1) continue;
    const value = sample(map, u, v);
    if (value < low) continue;
    const strength = Math.min((value - low) / Math.max(high - low, 1e-6), 2) / 2, at = 4 * (j * SIDE + i);
    if (onPaper) {
      if ((i % 8 < 3) && (j % 8 < 3) && value >= high) image.data.set([255, 255, 255, 255], at);
    } else {
      image.data.set([255, Math.round(220 * (1 - strength)), 0, Math.round(120 + 135 * strength)], at);
    }
  }
  context.putImageData(image, 0, 0);
}

function drawOutline(canvas, { rows, columns, mask }) {
  const bytes = Uint8Array.from(atob(mask), (c) => c.charCodeAt(0));
  const isLung = (r, c) => r >= 0 && c >= 0 && r < rows && c < columns
    && (bytes[(r * columns + c) >> 3] >> (7 - ((r * columns + c) & 7))) & 1;
  const CELL = 24, context = canvas.getContext("2d");
  canvas.width = columns * CELL; canvas.height = rows * CELL;
  const path = new Path2D();
  for (let r = 0; r <= rows; r++) for (let c = 0; c <= columns; c++) {
    if (isLung(r, c) !== isLung(r - 1, c)) { path.moveTo(c * CELL, r * CELL); path.lineTo((c + 1) * CELL, r * CELL); }
    if (isLung(r, c) !== isLung(r, c - 1)) { path.moveTo(c * CELL, r * CELL); path.lineTo(c * CELL, (r + 1) * CELL); }
  }
  for (const [width, colour] of [[5, "#000"], [2.5, "#7fe3ff"]]) {
    context.lineWidth = width; context.strokeStyle = colour; context.stroke(path);
  }
}

function setUpLayers() {
  const data = byId("layers");
  if (!data) return;
  const layers = JSON.parse(data.textContent), heat = byId("heat"), outline = byId("outline");
  if (heat && layers.map.length) drawHeat(heat, layers);
  if (outline && layers.lungs) drawOutline(outline, layers.lungs);
  const bind = (box, canvas) => box?.addEventListener("change", () => { canvas.hidden = !box.checked; });
  bind(byId("show-heat"), heat);
  bind(byId("show-outline"), outline);
  const opacity = byId("opacity");
  if (!opacity) return;
  const dim = () => { heat.style.opacity = opacity.value / 100; };
  opacity.addEventListener("input", dim);
  dim();
}

function setUpViewer() {
  const stage = byId("stage"), film = byId("film"), picture = byId("picture");
  const names = ["brightness", "contrast", "zoom"], sliders = Object.fromEntries(names.map((n) => [n, byId(n)]));
  const invert = byId("invert");
  let x = 0, y = 0;

  function show() {
    const zoom = sliders.zoom.value / 100;
    // Never beyond the picture's own edges.
    x = Math.min(0, Math.max(x, film.offsetWidth * (1 - zoom)));
    y = Math.min(0, Math.max(y, film.offsetHeight * (1 - zoom)));
    film.style.transform = `translate(${x}px, ${y}px) scale(${zoom})`;
    picture.style.filter = `invert(${invert.checked ? 1 : 0}) brightness(${sliders.brightness.value}%) contrast(${sliders.contrast.value}%)`;
    stage.classList.toggle("near", zoom > 1);
  }

  function zoomTo(value, cx, cy) {
    const before = sliders.zoom.value / 100;
    sliders.zoom.value = value;
    const ratio = sliders.zoom.value / 100 / before;
    x = cx - (cx - x) * ratio;
    y = cy - (cy - y) * ratio;
    show();
  }

  const move = (slider, by) => { slider.value = Number(slider.value) + by; };
  const place = (event) => {
    const box = stage.getBoundingClientRect();
    return [event.clientX - box.left - film.offsetLeft + stage.offsetLeft, event.clientY - box.top];
  };
  const fingers = new Map();
  stage.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, place(event));
    stage.setPointerCapture(event.pointerId);
  });
  const lift = (event) => fingers.delete(event.pointerId);
  stage.addEventListener("pointerup", lift);
  stage.addEventListener("pointercancel", lift);
  stage.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const now = place(event), dx = now[0] - before[0], dy = now[1] - before[1];
    const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
    fingers.set(event.pointerId, now);
    if (other) {
      const distance = (p) => Math.hypot(p[0] - other[0], p[1] - other[1]);
      x += dx / 2; y += dy / 2;
      zoomTo(sliders.zoom.value * distance(now) / Math.max(distance(before), 1), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
    } else if (event.shiftKey) {
      x += dx; y += dy;
    } else {
      move(sliders.contrast, dx * 0.6);
      move(sliders.brightness, -dy * 0.6);
    }
    show();
  });
  stage.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.shiftKey && sliders.zoom.value === "100" && event.deltaY > 0) return;
    event.preventDefault();
    zoomTo(sliders.zoom.value * (event.deltaY < 0 ? 1.15 : 1 / 1.15), ...place(event));
  }, { passive: false });
  stage.addEventListener("keydown", (event) => {
    const step = 40, moves = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    const centre = [film.offsetWidth / 2, film.offsetHeight / 2];
    if (event.key === "+" || event.key === "=") zoomTo(sliders.zoom.value * 1.25, ...centre);
    else if (event.key === "-") zoomTo(sliders.zoom.value / 1.25, ...centre);
    else if (moves[event.key] && sliders.zoom.value > 100) { x += moves[event.key][0]; y += moves[event.key][1]; show(); event.preventDefault(); }
  });
  stage.addEventListener("dragstart", (event) => event.preventDefault());
  for (const slider of Object.values(sliders)) slider.addEventListener("input", show);
  sliders.zoom.addEventListener("input", show);
  invert.addEventListener("change", show);
  byId("reset").addEventListener("click", () => {
    for (const slider of Object.values(sliders)) slider.value = 100;
    invert.checked = false; x = y = 0;
    show();
  });
  // The small picture is there at once; the large one takes its place when it has come.
  const large = new Image();
  large.onload = () => { picture.src = large.src; picture.classList.add("large"); };
  window.addEventListener("load", () => { large.src = picture.dataset.large; });
}

if (byId("drop")) setUpAdding();
if (byId("changed")) setUpChanges();
setUpLayers();
if (byId("stage")) setUpViewer();
byId("print")?.addEventListener("click", () => print());
document.querySelector("form.language select")?.addEventListener("change", (event) => {
  event.target.form.elements.back.value = location.pathname + location.search;
});
