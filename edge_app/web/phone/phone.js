// The page: opens the bundle in ONNX Runtime Web, tries it, and screens what is chosen. Texts from
// outside become text nodes; words come from the page, in its language.
import * as ort from "./ort/ort.wasm.min.mjs";
import { readPicture, UnreadError } from "./picture.js";
import { Screener, SelfTestError } from "./screener.js";

const byId = (id) => document.getElementById(id), here = new URL(".", import.meta.url);
const words = JSON.parse(byId("phone-words").textContent), state = byId("phone-state");
const KINDS = { pneumonia_suspected: "suspected", indeterminate: "indeterminate",
  not_assessable: "unscreened", no_pneumonia_seen: "clear" };

const say = (key, values = {}) => Object.entries(values).reduce((text, [name, value]) => text.replace(`{${name}}`, value), words[key] ?? key);

async function fetchFile(name) {
  const answer = await fetch(new URL(name, here));
  if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
  return answer.arrayBuffer();
}

// One thread: several need headers that keep the page from all else, and break Safari.
async function openNetwork(bytes) {
  const session = await ort.InferenceSession.create(new Uint8Array(bytes), { executionProviders: ["wasm"] });
  return (name, pixels, shape) => session.run({ [name]: new ort.Tensor("uint8", pixels, shape) });
}

async function open() {
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = new URL("ort/", here).href;
  const settings = JSON.parse(new TextDecoder().decode(await fetchFile("settings.json")));
  return Screener.open((name) => fetchFile(`bundle/${name}`), openNetwork, settings);
}

function element(tag, ...children) {
  const node = document.createElement(tag);
  node.append(...children);
  return node;
}

// As the machine shows a number: never a certainty.
function show(probability) {
  const text = probability.toFixed(3);
  return { "1.000": "> 0.999", "0.000": "< 0.001" }[text] ?? text;
}

function answerNodes(screener, { decision, reason, quality, probability }) {
  const kind = KINDS[decision], name = element("h2", byId(`sign-${kind}`).content.cloneNode(true), ` ${say(`decision_${kind}`)}`);
  name.className = `verdict ${kind}`;
  const nodes = [name, element("p", say(`do_${kind}`))];
  if (reason) nodes.push(element("p", element("b", `${say(`reason_${reason}`)}.`), ` ${say(`reason_do_${reason}`)}`));
  if (probability !== null) {
    const [low, high] = screener.cutOffs.map(show);
    nodes.push(element("p", say("scale_text", { score: show(probability), low, high })));
  }
  nodes.push(element("p", element("b", say("not_excluded"))));
  const flags = Object.keys(quality).filter((flag) => quality[flag]).sort();
  if (flags.length) nodes.push(element("ul", ...flags.map((flag) =>
    element("li", element("b", `${say(`flag_${flag}`)}.`), ` ${say(`flag_do_${flag}`)}`))));
  return nodes;
}

async function add(screener, file, stated) {
  const image = element("img"), said = element("div"), row = element("li", image, element("p", element("bdi", file.name)), said);
  image.alt = "";
  byId("phone-answers").prepend(row);
  try {
    const result = await screener.score(await readPicture(file), stated);
    image.src = URL.createObjectURL(file);
    said.append(...answerNodes(screener, result));
    row.dataset.result = JSON.stringify(result);
  } catch (error) {
    if (!(error instanceof UnreadError)) throw error;
    image.remove();
    const isReason = `reason_${error.code}` in words;
    said.append(...(isReason
      ? answerNodes(screener, { decision: "not_assessable", reason: error.code, quality: {}, probability: null })
      : [element("p", say(error.code))]));
    row.dataset.result = JSON.stringify({ decision: null, reason: error.code });
  }
}

function stated() {
  const age = Number(byId("phone-age").value.trim().replace(",", ".") || NaN), view = byId("phone-view").value;
  return { age: age >= 0 && age <= 130 ? age : undefined, view };
}

function keep() {
  const mark = encodeURIComponent(state.dataset.mark);
  navigator.serviceWorker?.register(`/phone/worker.js?${mark}`).then(() => navigator.serviceWorker.ready)
    .then(() => { byId("phone-kept").hidden = false; }, () => {}); // a certificate of our own forbids it
}

async function start() {
  let screener;
  try { screener = await open(); } catch (error) {
    state.setAttribute("role", "alert");
    state.textContent = error instanceof SelfTestError ? say("phone_differs") : say("phone_failed");
    state.title = error.message;
    return;
  }
  state.textContent = say("phone_ready", { count: screener.tested });
  const input = byId("phone-files");
  input.disabled = false;
  let turn = Promise.resolve();
  input.addEventListener("change", () => {
    for (const file of input.files) {
      const said = stated();
      turn = turn.then(() => add(screener, file, said));
    }
    input.value = "";
  });
  keep();
}

start();
