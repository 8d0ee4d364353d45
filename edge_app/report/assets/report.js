"use strict";
// Reads the JSON blocks of this page and draws pictures and table. File names become text nodes and
// encoded link targets only, never markup.
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const run = read("data-run");
const rows = read("data-rows");
const pictures = read("data-pictures");
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

// The last part of a name is what people know a film by: bold, in front of its folder in grey.
function label(file) {
  const at = file.lastIndexOf("/") + 1;
  return [element("b", { title: file }, file.slice(at)),
    ...(at ? [element("small", { title: file }, file.slice(0, at))] : [])];
}

const link = (file) => (run.root === null
  ? element("span", { className: "name" }, ...label(file))
  : element("a", { href: target(file), className: "name" }, ...label(file)));

const number = (value, digits) => (value === null ? "" : value.toFixed(digits));

// Never 1.000 or 0.000: no answer is certain.
function probability(value) {
  const text = number(value, 3);
  return text === "1.000" ? "> 0.999" : text === "0.000" ? "< 0.001" : text;
}

// One thin line (dark with a light core, which a black and white print keeps) around the core of the
// heat: the same level in every picture, so a clear one has none.
function drawContour(canvas, map, [left, top, right, bottom]) {
  const context = canvas.getContext("2d"), n = 48;
  const sx = canvas.width * (right - left) / n, sy = canvas.height * (bottom - top) / n;
  context.translate(canvas.width * left, canvas.height * top);
  const grid = [];
  for (let j = 0; j <= n; j++) {
    grid.push([]);
    for (let i = 0; i <= n; i++) grid[j].push(sample(map, i / n, j / n));
  }
  const path = new Path2D(), level = run.contour;
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
  context.strokeStyle = "#000"; context.lineWidth = 4; context.stroke(path);
  context.strokeStyle = "#fff"; context.lineWidth = 1.6; context.stroke(path);
}

const hasHeat = (item) => run.contour !== null && item.activation_map.length > 0;

function film(item, withContour) {
  const image = element("img", {
    src: "data:image/jpeg;base64," + item.jpeg, width: item.width, height: item.height,
    alt: `Chest X-ray ${item.file}`,
  });
  const node = element("span", { className: "film" }, image);
  node.style.setProperty("--ratio", item.width / item.height);
  if (withContour && hasHeat(item)) {
    const canvas = element("canvas", { width: item.width * 2, height: item.height * 2 });
    canvas.setAttribute("aria-hidden", "true");
    drawContour(canvas, item.activation_map, item.frame);
    node.append(canvas);
  }
  return node;
}

function answer(kind, item) {
  const mark = element("span", { className: `mark ${kind}` }, run.marks[kind] + "\u00a0");
  const text = item.probability === null ? item.refusal ?? ""
    : `probability ${probability(item.probability)}`;
  return element("span", { className: "answer" }, mark, text);
}

const worklist = [];

function drawPictures() {
  for (const [kind, items] of Object.entries(pictures)) {
    const place = byId("pictures-" + kind);
    if (!place) continue;
    for (const item of items) {
      const number = worklist.push([kind, item]) - 1;
      const button = element("button", { type: "button", className: "open" }, film(item, true));
      button.setAttribute("aria-label", `Enlarge ${item.file}`);
      button.addEventListener("click", () => view(number));
      place.append(element("figure", {}, button,
        element("figcaption", {}, answer(kind, item), link(item.file))));
    }
  }
}

// One film, large, beside the same with the outline; arrow keys go on to the next.
function view(number) {
  const dialog = byId("viewer");
  state.viewed = Math.min(Math.max(number, 0), worklist.length - 1);
  const [kind, item] = worklist[state.viewed];
  const go = (text, step) => {
    const button = element("button", { type: "button", textContent: text,
      disabled: !(state.viewed + step in worklist) });
    button.addEventListener("click", () => view(state.viewed + step));
    return button;
  };
  const close = element("button", { type: "button", textContent: "Close" });
  close.addEventListener("click", () => dialog.close());
  const films = hasHeat(item) ? [film(item, false), film(item, true)] : [film(item, false)];
  const larger = item.heatmap ? [" ", element("a", { href: item.heatmap }, "heatmap as a picture")] : [];
  dialog.replaceChildren(
    element("p", { className: "bar" }, go("Previous film", -1), go("Next film", 1),
      `${state.viewed + 1} of ${worklist.length}`, close),
    element("div", { className: "large" }, ...films),
    element("p", {}, answer(kind, item), " ", link(item.file), ...larger),
    element("p", { className: "facts" }, hasHeat(item)
      ? "Right: outlined is the core of the heat, which raised the score most; it shows where the network looked, not what is there. The name leads to the file itself."
      : "The name leads to the file itself."));
  if (!dialog.open) dialog.showModal();
  dialog.focus();  // the button that was pressed is gone, and the keys with it
}

const COLUMNS = [
  ["Answer", (row) => run.kinds.indexOf(row[1])], ["File", (row) => row[0]],
  ["Probability", (row) => row[2]], ["Remarks", (row) => row[3]],
];
const PROBABILITY = 2;
const state = { page: 0, column: -1, down: false, shown: rows, viewed: 0 };
const byId = (id) => document.getElementById(id);

// By urgency: the answers in their order, within an answer the highest probability first.
const urgency = (a, b) => run.kinds.indexOf(a[1]) - run.kinds.indexOf(b[1]) || (b[2] ?? 0) - (a[2] ?? 0);

function select() {
  const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const kind = byId("kind").value;
  state.shown = rows.filter((row) => (!kind || row[1] === kind) &&
    words.every((word) => (row[0] + " " + row[3]).toLowerCase().includes(word)));
  const key = COLUMNS[state.column][1];
  const sign = state.down ? -1 : 1;
  state.shown.sort((a, b) => {
    if (state.column === 0) return sign * urgency(a, b);
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
    element("td", { className: "answer" }, element("span", { className: `mark ${row[1]}` }, run.marks[row[1]] + "\u00a0"), run.names[row[1]]),
    element("td", { className: "file" }, link(row[0])),
    element("td", { className: "number", "data-label": "Probability" }, probability(row[2])),
    element("td", { "data-label": "Remarks" }, row[3]))));
  const text = (n) => n.toLocaleString("en");
  byId("status").textContent =
    `${text(state.shown.length)} of ${text(rows.length)} rows; page ${state.page + 1} of ${text(pages)}`;
  byId("previous").disabled = state.page === 0;
  byId("next").disabled = state.page + 1 >= pages;
  byId("printed").hidden = most === PAGE || state.shown.length <= most;
}

function sortBy(index, down = state.column === index ? !state.down : index === PROBABILITY) {
  state.down = down;
  state.column = index;
  byId("sort").value = `${index} ${down}`;
  document.querySelectorAll("thead th").forEach((head, at) => {
    if (at === index) head.setAttribute("aria-sort", state.down ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  });
  select();
}

// What two orders of a column are called: first the one that is not `down`.
const ORDERS = [["most urgent first", "least urgent first"], ["", "reversed"],
  ["lowest first", "highest first"], ["", "reversed"]];

function start() {
  for (const time of document.querySelectorAll("time")) {
    time.textContent = new Date(time.dateTime).toLocaleString(undefined,
      { dateStyle: "medium", timeStyle: "short" });
  }
  drawPictures();
  COLUMNS.forEach(([name], index) => {
    const button = element("button", { type: "button", textContent: name });
    button.addEventListener("click", () => sortBy(index));
    const className = index === PROBABILITY ? "number" : "";
    byId("head").append(element("th", { scope: "col", className }, button));
    for (const down of index === PROBABILITY ? [true, false] : [false, true]) {
      const order = ORDERS[index][Number(down)];
      byId("sort").append(element("option", { value: `${index} ${down}` }, name + (order && `, ${order}`)));
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
  byId("heat")?.addEventListener("change", (event) =>
    document.body.classList.toggle("outlined", event.target.checked));
  byId("viewer").addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    view(state.viewed + step);
  });
  addEventListener("beforeprint", () => fill(PRINTED));
  addEventListener("afterprint", () => fill());
  sortBy(0, false);
}
start();
