// The page: starts the worker, takes images, shows the result that is chosen.
import { Camera } from "./camera.js";
import { Inspector } from "./inspector.js";
import { keepForOffline } from "./offline.js";
import { Results } from "./results.js";
import { Viewer } from "./viewer.js";

const at = (id) => document.getElementById(id);
const MOST_KEPT = 12; // pictures of results that are drawn without inspecting the file again
const SIMD = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11);

const say = (text) => (at("status").textContent = text);

function fail(text) {
  at("trouble").textContent = text;
  at("trouble").hidden = false;
  at("progress").hidden = true;
  say("Not ready");
}

// What this browser lacks, or null.
function lacking() {
  if (typeof WebAssembly !== "object" || !WebAssembly.validate(SIMD)) return "WebAssembly with SIMD";
  if (typeof OffscreenCanvas !== "function") return "OffscreenCanvas";
  if (typeof DecompressionStream !== "function") return "DecompressionStream";
  return typeof createImageBitmap === "function" ? null : "createImageBitmap";
}

async function start() {
  at("trouble").hidden = true;
  const missing = lacking();
  if (missing) return fail(`This browser is too old: it lacks ${missing}. Any browser of 2023 or later will do.`);
  const kept = await keepForOffline(say).catch(() => false); // browsers refuse this in several ways
  const colours = await fetch("colours.json").then((answer) => answer.json()).catch(() => null);
  if (!colours) return fail("colours.json is missing or damaged. Copy the whole exported folder.");
  say("Loading the model …");
  at("progress").hidden = false;
  const inspector = new Inspector();
  inspector.onProgress = (share) => (at("progress").value = share);
  inspector.onBackend = (backend) => (at("runs-on").textContent = runsOn(backend, kept));
  try {
    const model = await inspector.ready;
    begin(inspector, model, new Viewer(colours, model), kept);
  } catch (error) {
    fail(error.message);
  }
}

function begin(inspector, model, viewer, kept) {
  const results = new Results(model, (result) => show(result));
  const waiting = [];
  let isBusy = false;

  async function show(result) {
    results.mark(result);
    if (!result.error && !result.picture) Object.assign(result, await inspector.inspect({ blob: result.blob, draw: true }));
    if (results.chosen === result) viewer.show(result);
  }

  async function work() {
    if (isBusy) return;
    isBusy = true;
    for (let blob; (blob = waiting.shift()); ) {
      say(waiting.length ? `Inspecting, ${waiting.length} to go …` : "Inspecting …");
      add({ name: blob.webkitRelativePath || blob.name, blob, ...(await inspector.inspect({ blob, draw: true })) });
    }
    isBusy = false;
    say(kept ? "Ready, also without a network" : "Ready");
  }

  function add(result) {
    results.add(result);
    results.forgetPictures(MOST_KEPT);
    show(result);
  }

  const take = (files) => {
    waiting.push(...files);
    work();
  };
  at("files").addEventListener("change", (event) => {
    take(event.target.files);
    event.target.value = "";
  });
  takeDropped(take);
  new Camera(inspector, { onFrame: add, onLive: (result) => viewer.show(result), onTrouble: (text) => viewer.say(text) });
  at("clear").addEventListener("click", () => {
    results.clear();
    viewer.hide();
  });
  at("model").textContent = `${model.info.detector}, learned from ${model.info.images} good images${model.info.folder ? ` of ${model.info.folder}` : ""}`;
  document.title = `Inspection: ${model.info.detector}${model.info.folder ? `, ${model.info.folder}` : ""}`;
  at("progress").hidden = true;
  at("source").hidden = false;
  document.body.dataset.ready = "yes";
  say(kept ? "Ready, also without a network" : "Ready");
}

function takeDropped(take) {
  const drop = at("drop");
  const isOver = (over) => drop.classList.toggle("over", over);
  addEventListener("dragover", (event) => {
    event.preventDefault();
    isOver(true);
  });
  addEventListener("dragleave", (event) => event.relatedTarget === null && isOver(false));
  addEventListener("drop", (event) => {
    event.preventDefault();
    isOver(false);
    take(event.dataTransfer.files);
  });
  addEventListener("paste", (event) => take(event.clipboardData.files));
}

function runsOn({ backend, threads, note }, kept) {
  const where = backend === "webgpu" ? "Runs on the graphics processor" : `Runs on the processor, ${threads === 1 ? "1 thread" : `${threads} threads`}`;
  const insecure = isSecureContext ? "" : " Over plain http there is no camera, no use without a network, and files are checked by their size alone.";
  return `${where}${note ? ` (${note})` : ""}. Nothing leaves this device.${kept ? "" : insecure}`;
}

start().catch((error) => fail(`The page cannot be started: ${error.message}.`));
