// The table of all results, and their files.
import { shortly } from "./viewer.js";

const at = (id) => document.getElementById(id);
const COLUMNS = ["input_path", "label", "score", "p_value", "threshold", "false_alarm_rate", "regions", "width", "height", "error"];

export class Results {
  constructor(model, onChoice) {
    Object.assign(this, { model, onChoice, all: [], chosen: null });
    at("save-csv").addEventListener("click", () => save("results.csv", "text/csv", this.csv()));
    at("save-json").addEventListener("click", () => save("results.json", "application/json", JSON.stringify(this.records(), null, 2)));
  }

  add(result) {
    result.row = this.rowOf(result);
    this.all.push(result);
    at("rows").append(result.row);
    at("list").hidden = false;
    const alarms = this.all.filter((each) => each.score > this.model.threshold).length;
    at("count").textContent = `${this.all.length} image${this.all.length === 1 ? "" : "s"}, ${alarms} anomalous`;
  }

  mark(result) {
    this.chosen?.row.removeAttribute("aria-current");
    this.chosen = result;
    result.row.setAttribute("aria-current", "true");
  }

  // Keeps the pictures of the newest; those of the others are made again when they are chosen.
  forgetPictures(most) {
    for (const result of this.all.slice(0, -most)) {
      if (result !== this.chosen) result.picture = null;
    }
  }

  clear() {
    Object.assign(this, { all: [], chosen: null });
    at("rows").replaceChildren();
    at("list").hidden = true;
  }

  rowOf(result) {
    const row = document.createElement("tr"), button = document.createElement("button"), name = document.createElement("td");
    button.type = "button";
    button.textContent = result.name;
    name.append(button);
    row.append(name, ...this.cellsOf(result));
    row.addEventListener("click", () => this.onChoice(result));
    return row;
  }

  cellsOf(result) {
    if (result.error) {
      const cell = document.createElement("td");
      Object.assign(cell, { colSpan: 6, className: "error", textContent: result.error });
      return [cell];
    }
    const isAnomalous = result.score > this.model.threshold;
    const texts = [shortly(result.score), result.pValue === null ? "unknown" : result.pValue.toPrecision(2), result.regions.length || "–", `${result.width} × ${result.height}`, `${total(result).toFixed(0)} ms`];
    const verdict = document.createElement("td"), badge = document.createElement("span");
    Object.assign(badge, { textContent: isAnomalous ? "Anomaly" : "Normal", className: isAnomalous ? "badge anomaly" : "badge normal" });
    verdict.append(badge);
    return [verdict, ...texts.map((text) => Object.assign(document.createElement("td"), { textContent: text }))];
  }

  // As `blemish predict --json` writes them, without the mask.
  records() {
    const { model } = this;
    return this.all.map((result) => {
      const isFailed = result.error !== undefined, isAnomalous = isFailed ? null : result.score > model.threshold;
      return {
        input_path: result.name,
        page_index: null,
        score: result.score ?? null,
        p_value: result.pValue ?? null,
        threshold: isFailed ? null : model.threshold,
        is_anomalous: isAnomalous,
        label: isFailed ? null : isAnomalous ? "Anomaly" : "Normal",
        false_alarm_rate: isFailed ? null : model.rate,
        supported_rate: isFailed ? null : model.supportedRate,
        pixel_threshold: isFailed ? null : model.pixelThreshold,
        model_name: model.info.detector,
        size: isFailed ? null : [result.width, result.height],
        regions: result.regions ?? [],
        timings: result.timings ?? {},
        error: isFailed ? `${result.name}: ${result.error}` : null,
      };
    });
  }

  csv() {
    const rows = this.records().map((record) => {
      const [width, height] = record.size ?? [null, null];
      return COLUMNS.map((key) => quoted({ ...record, regions: record.regions.length, width, height }[key])).join(",");
    });
    return [COLUMNS.join(","), ...rows, ""].join("\r\n");
  }
}

const total = ({ timings }) => Object.values(timings).reduce((a, b) => a + b);

// A spreadsheet must not take a file's name for a formula.
function quoted(value) {
  const text = String(value ?? "");
  const safe = typeof value === "string" && /^[=+\-@\t]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function save(name, type, text) {
  const link = document.createElement("a");
  Object.assign(link, { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
