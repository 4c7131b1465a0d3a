// The model's files: fetched, and verified against model.json before anything is made of them.
import { Refusal } from "./errors.js";

const NEWEST_FORMAT = 8;
const NO_CHECKSUM = "0".repeat(64);

// The record in model.json, once its checksum has been found right.
export async function fetchInfo() {
  const bytes = await fetchFile("model.json");
  let info;
  try {
    info = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw new Refusal("model.json is damaged: it is not JSON. Export the model again.");
  }
  if (info?.format !== "blemish-model") throw new Refusal("model.json is not of a Blemish model.");
  if (info.format_version > NEWEST_FORMAT) {
    throw new Refusal("The model was written by a newer Blemish than this page. Export it again with that one.");
  }
  await checkOwnChecksum(bytes, info.checksum);
  return info;
}

// A file that model.json lists; onBytes is told how much has come.
export async function fetchListed(info, name, onBytes = () => {}) {
  const stated = info.files?.[name];
  if (!stated) throw new Refusal(`model.json does not list ${name}. Export the model again.`);
  const bytes = await fetchFile(name, onBytes);
  if (bytes.length !== stated.bytes) {
    throw new Refusal(`${name} has ${bytes.length} bytes, but model.json states ${stated.bytes}: it is cut short or changed.`);
  }
  const found = await sha256(bytes);
  if (found !== null && found !== stated.sha256) {
    throw new Refusal(`${name} has been changed or damaged: its SHA-256 is not the one in model.json.`);
  }
  return bytes;
}

async function fetchFile(name, onBytes = () => {}) {
  let answer;
  try {
    answer = await fetch(name);
  } catch {
    throw new Refusal(`${name} cannot be fetched: the server does not answer.`);
  }
  if (!answer.ok) throw new Refusal(`${name} is missing: the server answers ${answer.status}. Copy the whole exported folder.`);
  const parts = [];
  for (let reader = answer.body.getReader(), part; !(part = await reader.read()).done; ) {
    parts.push(part.value);
    onBytes(part.value.length);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

// The checksum is that of the file with zeros in the checksum's own place.
async function checkOwnChecksum(bytes, stated) {
  const text = new TextDecoder().decode(bytes);
  const at = typeof stated === "string" && stated.length === 64 ? text.lastIndexOf(stated) : -1;
  const zeroed = text.slice(0, at) + NO_CHECKSUM + text.slice(at + 64);
  const found = await sha256(new TextEncoder().encode(zeroed));
  if (at < 0 || (found !== null && found !== stated)) {
    throw new Refusal("model.json has been changed or damaged: its checksum does not match. Export the model again.");
  }
}

// Hexadecimal digits, or null where the browser hashes nothing: on a page that came over plain http.
async function sha256(bytes) {
  if (!globalThis.crypto?.subtle) return null;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
