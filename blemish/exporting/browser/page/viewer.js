// The verdict in large, and the image under its map.
import { Colours } from "./colours.js";
import { contoursOf } from "./contours.js";

const at = (id) => document.getElementById(id);
const percent = (share) => `${(100 * share).toPrecision(2).replace(/\.0$/, "")} %`;
export const shortly = (value) => (Math.abs(value) >= 1000 ? value.toFixed(0) : Number(value).toPrecision(4));

export class Viewer {
  constructor(colours, { threshold, pixelThreshold, rate, statement }) {
    Object.assign(this, { threshold, pixelThreshold, rate, statement });
    this.colours = new Colours(colours, pixelThreshold);
    this.overlay = at("overlay").getContext("2d");
    at("strength").addEventListener("input", () => this.draw());
    at("contours").addEventListener("change", () => this.draw());
  }

  // A result as the inspector gives it, with its name.
  show(result) {
    at("result").hidden = false;
    this.result = result;
    this.highlighted = null;
    if (result.error) return this.say(`${result.name} ${result.error}.`);
    const isAnomalous = result.score > this.threshold;
    this.put(isAnomalous ? "anomaly" : "normal", isAnomalous ? "Anomaly" : "Normal");
    at("name").textContent = result.name ?? "";
    at("score").textContent = shortly(result.score);
    at("threshold").textContent = shortly(this.threshold);
    at("p-value").textContent = result.pValue === null ? "unknown" : result.pValue.toPrecision(2);
    at("meaning").textContent = this.meaning(result.pValue);
    this.gauge(result.score);
    this.listRegions(result.regions);
    this.showImage(result);
  }

  // A line in the place of a verdict.
  say(text) {
    at("result").hidden = false;
    this.result = null;
    this.put("trouble", "No verdict");
    at("name").textContent = text;
  }

  hide() {
    at("result").hidden = true;
  }

  put(kind, text) {
    at("result").dataset.kind = kind;
    at("label").textContent = text;
  }

  meaning(pValue) {
    if (this.statement) return `${this.statement} Its rate of false alarms is unknown.`;
    return `About ${percent(pValue)} of good images look at least this odd; up to ${percent(this.rate)} it is an alarm.`;
  }

  // The threshold lies in the middle.
  gauge(score) {
    const level = 50 * (this.threshold > 0 ? score / this.threshold : 1 + score - this.threshold);
    at("gauge-fill").style.width = `${Math.min(Math.max(level, 1), 100)}%`;
  }

  listRegions(regions) {
    at("places").hidden = regions.length === 0;
    at("regions").replaceChildren(...regions.slice(0, 50).map((region) => this.entry(region)));
  }

  entry(region) {
    const button = document.createElement("button"), item = document.createElement("li");
    const [x, y, width, height] = region.box;
    button.type = "button";
    button.textContent = `${width} × ${height} px at ${x}, ${y}`;
    const detail = document.createElement("small");
    detail.textContent = `peak ${shortly(region.peak)}`;
    button.append(detail);
    const light = (which) => () => {
      this.highlighted = which;
      this.draw();
    };
    for (const event of ["pointerenter", "focus", "click"]) button.addEventListener(event, light(region));
    for (const event of ["pointerleave", "blur"]) button.addEventListener(event, light(null));
    item.append(button);
    return item;
  }

  showImage({ name, picture, width, height }) {
    const canvas = at("image");
    for (const each of [canvas, at("overlay")]) Object.assign(each, { width: picture.width, height: picture.height });
    canvas.getContext("2d").drawImage(picture.bitmap, 0, 0);
    canvas.setAttribute("aria-label", `${name ?? "Camera"}, ${width} by ${height} pixels`);
    picture.steps ??= this.colours.stepsOf(picture.values);
    picture.contours ??= contoursOf(picture, this.pixelThreshold);
    this.draw();
  }

  draw() {
    const picture = this.result?.picture;
    if (!picture) return;
    const { overlay } = this;
    overlay.putImageData(this.colours.paint(picture, at("strength").value / 100), 0, 0);
    const thin = Math.max(1.2, (picture.width + picture.height) / 900);
    if (at("contours").checked) this.line(() => overlay.stroke(picture.contours), thin);
    if (this.highlighted) {
      const scale = picture.width / this.result.width, [x, y, width, height] = this.highlighted.box.map((side) => side * scale);
      this.line(() => overlay.strokeRect(x - 3 * thin, y - 3 * thin, width + 6 * thin, height + 6 * thin), 1.5 * thin);
    }
  }

  // A light line in a dark rim reads on any ground.
  line(stroke, width) {
    for (const [style, lineWidth] of [["#161a22", 2.4 * width], ["#fffaf0", width]]) {
      Object.assign(this.overlay, { strokeStyle: style, lineWidth, lineJoin: "round" });
      stroke();
    }
  }
}
