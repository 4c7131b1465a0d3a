// Inspect: files and camera frames go to the service one after another; the newest card is shown, the others wait in a strip.

import { ask, isTyping, note } from "./station.js";
import * as camera from "./camera.js";
import * as stage from "./stage.js";

const MOST = 60; // cards that a page keeps
const page = document.getElementById("inspector");
const at = (id) => document.getElementById(id);
const counts = { normal: 0, anomaly: 0, unreadable: 0 };
let waiting = [];
let isBusy = false;

function show(card) {
  for (const other of at("results").children) other.hidden = other !== card;
  for (const entry of at("strip").children) {
    const isThis = entry.card === card;
    entry.firstChild.setAttribute("aria-current", isThis);
    if (isThis) at("strip").scrollTo({ left: entry.offsetLeft - at("strip").offsetLeft - at("strip").clientWidth / 2 });
  }
}

function add(card) {
  at("results").prepend(card);
  stage.apply(card);
  counts[card.dataset.verdict] += 1;
  const entry = document.createElement("li");
  entry.card = card;
  const button = document.createElement("button");
  button.type = "button";
  button.className = card.dataset.verdict;
  button.title = card.dataset.name;
  button.setAttribute("aria-label", `${card.dataset.name}: ${card.dataset.verdict}`);
  if (card.dataset.thumbnail) button.append(Object.assign(new Image(), { src: card.dataset.thumbnail, alt: "" }));
  button.addEventListener("click", () => show(card));
  entry.append(button);
  at("strip").prepend(entry);
  if (at("strip").children.length > MOST) {
    at("results").lastElementChild.remove();
    at("strip").lastElementChild.remove();
  }
  show(card);
}

function tell() {
  const told = [`${counts.normal} normal`, `${counts.anomaly} ${counts.anomaly === 1 ? "anomaly" : "anomalies"}`];
  if (counts.unreadable) told.push(`${counts.unreadable} without a verdict`);
  if (waiting.length) told.push(`${waiting.length} to come`);
  at("tally").textContent = told.join(" · ");
}

async function judge(file) {
  const address = `/inspect/${encodeURIComponent(page.dataset.model)}?source=${encodeURIComponent(file.name.slice(0, 200))}`;
  const answer = await ask(address, { method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" } });
  const holder = document.createElement("template");
  holder.innerHTML = await answer.text();
  for (const card of [...holder.content.children].reverse()) add(card);
}

/** A card for what got no verdict: the verdict of the part before must not stand for this one. */
function fail(name, message) {
  const line = message.startsWith(`${name}: `) ? message : `${name}: ${message}`;
  const card = document.createElement("article");
  card.className = "result";
  Object.assign(card.dataset, { verdict: "unreadable", name, thumbnail: "" });
  const told = document.createElement("div");
  told.className = "verdict unreadable";
  told.append(
    Object.assign(document.createElement("strong"), { textContent: "No verdict" }),
    Object.assign(document.createElement("span"), { textContent: line }),
  );
  card.append(told);
  add(card);
  if (waiting.length) note(line, "bad"); // the next one takes the page at once
}

export async function take(files) {
  waiting.push(...files);
  if (isBusy) return;
  isBusy = true;
  page.classList.add("busy");
  for (let file = waiting.shift(); file; file = waiting.shift()) {
    tell();
    try {
      await judge(file);
    } catch (error) {
      fail(file.name, error.message);
    }
  }
  isBusy = false;
  page.classList.remove("busy");
  tell();
}

function move(step) {
  const entries = [...at("strip").children];
  const current = entries.findIndex((entry) => !entry.card.hidden);
  const next = entries[current + step];
  if (next) show(next.card);
}

async function openCamera(id) {
  try {
    at("camera").hidden = false;
    const devices = await camera.open(id);
    at("cameras").replaceChildren(...devices.map((device, index) => new Option(device.label || `camera ${index + 1}`, device.deviceId)));
    at("shoot").focus();
  } catch (error) {
    at("camera").hidden = true;
    note(`The camera does not open: ${error.message}`, "bad");
  }
}

async function shoot() {
  do {
    await take([await camera.frame()]);
  } while (at("keep-shooting").checked && !at("camera").hidden);
}

function closeCamera() {
  camera.close();
  at("camera").hidden = true;
  at("camera-open").focus();
}

function listen() {
  at("files").addEventListener("change", ({ target }) => {
    take([...target.files]);
    target.value = "";
  });
  for (const name of ["dragenter", "dragover"]) {
    document.addEventListener(name, (event) => { event.preventDefault(); at("drop").classList.add("over"); });
  }
  for (const name of ["dragleave", "drop"]) document.addEventListener(name, () => at("drop").classList.remove("over"));
  document.addEventListener("drop", (event) => { event.preventDefault(); take([...event.dataTransfer.files]); });
  document.addEventListener("paste", (event) => take([...event.clipboardData.files]));
  at("camera-open").addEventListener("click", () => openCamera());
  at("camera-close").addEventListener("click", closeCamera);
  at("cameras").addEventListener("change", ({ target }) => openCamera(target.value));
  at("shoot").addEventListener("click", shoot);
  at("model")?.addEventListener("change", ({ target }) => { location.search = `?model=${encodeURIComponent(target.value)}`; });
}

function press(event) {
  if (isTyping(event)) return;
  const name = event.key.toLowerCase();
  if (event.target.matches("[type=range]") && name.startsWith("arrow")) return;
  if (name === "arrowleft") move(-1);
  else if (name === "arrowright") move(1);
  else if (name === "o") at("files").click();
  else if (name === " " && !at("camera").hidden && !event.target.matches("button, input")) shoot();
  else if (!stage.key(name)) return;
  event.preventDefault();
}

if (page && !("viewer" in page.dataset)) {
  listen();
  tell();
  document.addEventListener("keydown", press);
}
