"use strict";
// Reads the JSON blocks of this page and draws pictures and table. File names become text nodes and
// encoded link targets only, never markup.
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const run = read("data-run");
const rows = read("data-rows");
const pictures = read("data-pictures");
const MARKS = { suspected: "▲", indeterminate: "◆", clear: "○", refused: "■", failed: "✕" };
const PAGE = 50;
const PRINTED = 300;

function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in node) node[name] = value; else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

// A name that is not below the input's folder is absolute: /scans/a.png, C:/scans/a.png or
// //server/scans/a.png. In any name \xNN is a byte that is no UTF-8.
function target(file) {
  const drive = /^[A-Za-z]:(?=\/)/.exec(file)?.[0] ?? "";
  const path = file.slice(drive.length).split("/").map(encodeURIComponent).join("/")
    .replace(/%5Cx([0-9a-f]{2})/g, "%$1");
  if (drive) return `file:///${drive}${path}`;
  if (file.startsWith("//")) return "file:" + path;
  return file.startsWith("/") ? "file://" + path : run.root + path;
}

const link = (file, ...children) => element("a", { href: target(file) }, ...children);

const number = (value, digits) => (value === null ? "" : value.toFixed(digits));

// Never 1.000 or 0.000: no answer is certain.
function probability(value) {
  const text = number(value, 3);
  return text === "1.000" ? "> 0.999" : text === "0.000" ? "< 0.001" : text;
}

// Value of the map between the centres of its cells, the edge continued outwards.
function sample(map, u, v) {
  const h = map.length, w = map[0].length;
  const x = Math.min(Math.max(u * w - 0.5, 0), w - 1), y = Math.min(Math.max(v * h - 0.5, 0), h - 1);
  const x0 = Math.floor(x), y0 = Math.floor(y), x1 = Math.min(x0 + 1, w - 1), y1 = Math.min(y0 + 1, h - 1);
  const top = map[y0][x0] + (map[y0][x1] - map[y0][x0]) * (x - x0);
  const bottom = map[y1][x0] + (map[y1][x1] - map[y1][x0]) * (x - x0);
  return top + (bottom - top) * (y - y0);
}

// Colour for the screen, and contours (dark with a light core), which a black and white print keeps.
function drawHeat(canvas, map) {
  const flat = map.flat(), low = Math.min(...flat), high = Math.max(...flat);
  if (!(high > low)) return;
  const context = canvas.getContext("2d"), n = 32, sx = canvas.width / n, sy = canvas.height / n;
  const grid = [];
  for (let j = 0; j <= n; j++) {
    grid.push([]);
    for (let i = 0; i <= n; i++) grid[j].push((sample(map, i / n, j / n) - low) / (high - low));
  }
  if (!matchMedia("print").matches) {
    for (let j = 0; j < n; j++) for (let i = 0; i < n; i++) {
      const value = (grid[j][i] + grid[j + 1][i + 1] + grid[j][i + 1] + grid[j + 1][i]) / 4;
      if (value <= 0.5) continue;
      context.fillStyle = `rgba(255, ${Math.round(190 - 150 * value)}, 0, ${(value - 0.5) * 0.7})`;
      // Whole pixels: seams between the squares would show as a mesh.
      const x = Math.round(i * sx), y = Math.round(j * sy);
      context.fillRect(x, y, Math.round((i + 1) * sx) - x, Math.round((j + 1) * sy) - y);
    }
  }
  for (const [level, width] of [[0.6, 1.5], [0.85, 3]]) {
    const path = new Path2D();
    for (let j = 0; j < n; j++) for (let i = 0; i < n; i++) {
      const a = grid[j][i], b = grid[j][i + 1], c = grid[j + 1][i + 1], d = grid[j + 1][i];
      const cut = [];
      const edge = (p, q, x0, y0, x1, y1) => {
        if ((p > level) === (q > level)) return;
        const t = (level - p) / (q - p);
        cut.push([(x0 + (x1 - x0) * t) * sx, (y0 + (y1 - y0) * t) * sy]);
      };
      edge(a, b, i, j, i + 1, j); edge(b, c, i + 1, j, i + 1, j + 1);
      edge(d, c, i, j + 1, i + 1, j + 1); edge(a, d, i, j, i, j + 1);
      for (let k = 0; k + 1 < cut.length; k += 2) { path.moveTo(...cut[k]); path.lineTo(...cut[k + 1]); }
    }
    context.lineCap = "round";
    context.strokeStyle = "#000"; context.lineWidth = width + 2.5; context.stroke(path);
    context.strokeStyle = "#fff"; context.lineWidth = width; context.stroke(path);
  }
}

function drawPictures() {
  for (const [kind, items] of Object.entries(pictures)) {
    const place = document.getElementById("pictures-" + kind);
    if (!place) continue;
    for (const item of items) {
      const image = element("img", {
        src: "data:image/jpeg;base64," + item.jpeg, width: item.width, height: item.height,
        loading: "eager", alt: `Chest X-ray ${item.file}`,
      });
      const film = element("span", { className: "film" }, image);
      film.style.setProperty("--ratio", item.width / item.height);
      if (item.activation_map.length) {
        const canvas = element("canvas", { width: item.width * 2, height: item.height * 2 });
        canvas.setAttribute("aria-hidden", "true");
        drawHeat(canvas, item.activation_map);
        film.append(canvas);
      }
      const score = item.raw_score === null ? item.refusal ?? "" : `score ${item.raw_score.toFixed(2)}`;
      const mark = element("span", { className: `mark ${kind}` }, MARKS[kind] + "\u00a0");
      place.append(element("figure", {}, film,
        element("figcaption", {}, mark, link(item.file, item.file), element("br"), score)));
    }
  }
}

const COLUMNS = [
  ["File", (row) => row[0]], ["Answer", (row) => run.kinds.indexOf(row[1])],
  ["Raw score", (row) => row[2]], ["Probability", (row) => row[3]], ["Remarks", (row) => row[4]],
];
const state = { page: 0, column: 0, down: false, shown: rows };
const byId = (id) => document.getElementById(id);

function select() {
  const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const kind = byId("kind").value;
  state.shown = rows.filter((row) => (!kind || row[1] === kind) &&
    words.every((word) => (row[0] + " " + row[4]).toLowerCase().includes(word)));
  const key = COLUMNS[state.column][1];
  const sign = state.down ? -1 : 1;
  state.shown.sort((a, b) => {
    const p = key(a), q = key(b);
    if (p === null || q === null) return (p === null) - (q === null);
    return sign * (typeof p === "string" ? (p < q ? -1 : p > q ? 1 : 0) : p - q);
  });
  state.page = 0;
  fill();
}

function fill(most = PAGE) {
  const start = most === PAGE ? state.page * PAGE : 0;
  const pages = Math.max(1, Math.ceil(state.shown.length / PAGE));
  byId("body").replaceChildren(...state.shown.slice(start, start + most).map((row) => element("tr", {},
    element("td", { className: "file" }, link(row[0], row[0])),
    element("td", { className: "answer" }, element("span", { className: `mark ${row[1]}` }, MARKS[row[1]] + "\u00a0"), run.names[row[1]]),
    element("td", { className: "number", "data-label": "Raw score" }, number(row[2], 2)),
    element("td", { className: "number", "data-label": "Probability" }, probability(row[3])),
    element("td", { "data-label": "Remarks" }, row[4]))));
  const text = (n) => n.toLocaleString("en");
  byId("status").textContent =
    `${text(state.shown.length)} of ${text(rows.length)} rows; page ${state.page + 1} of ${text(pages)}`;
  byId("previous").disabled = state.page === 0;
  byId("next").disabled = state.page + 1 >= pages;
  byId("printed").hidden = most === PAGE || state.shown.length <= most;
}

const isNumber = (index) => index === 2 || index === 3;

function sortBy(index, down = state.column === index ? !state.down : isNumber(index)) {
  state.down = down;
  state.column = index;
  byId("sort").value = `${index} ${down}`;
  document.querySelectorAll("thead th").forEach((head, at) => {
    if (at === index) head.setAttribute("aria-sort", state.down ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  });
  select();
}

function start() {
  drawPictures();
  COLUMNS.forEach(([name], index) => {
    const button = element("button", { type: "button", textContent: name });
    button.addEventListener("click", () => sortBy(index));
    const head = element("th", { scope: "col", className: isNumber(index) ? "number" : "" }, button);
    byId("head").append(head);
    for (const down of isNumber(index) ? [true, false] : [false, true]) {
      const order = isNumber(index) ? (down ? ", highest first" : ", lowest first") : down ? ", reversed" : "";
      byId("sort").append(element("option", { value: `${index} ${down}` }, name + order));
    }
  });
  for (const kind of run.kinds) byId("kind").append(element("option", { value: kind }, run.names[kind]));
  byId("search").addEventListener("input", select);
  byId("kind").addEventListener("change", select);
  byId("sort").addEventListener("change", (event) => {
    const [index, down] = event.target.value.split(" ");
    sortBy(Number(index), down === "true");
  });
  byId("previous").addEventListener("click", () => { state.page--; fill(); });
  byId("next").addEventListener("click", () => { state.page++; fill(); });
  byId("heat").addEventListener("change", (event) =>
    document.body.classList.toggle("plain", !event.target.checked));
  addEventListener("beforeprint", () => fill(PRINTED));
  addEventListener("afterprint", () => fill());
  state.column = -1;
  sortBy(0);
}
start();
