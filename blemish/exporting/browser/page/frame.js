// How the model sees an image: brought to one size, painted over outside its area, cut into tiles; and the way back.
import { Area } from "./area.js";
import { Refusal } from "./errors.js";
import { Geometry } from "./geometry.js";
import { Tiling } from "./tiling.js";

export class Frame {
  // From the record `input` in model.json.
  constructor({ width, height, aspect, tiles, area }) {
    this.tiling = new Tiling(width, height, tiles ?? undefined);
    this.geometry = new Geometry(...this.tiling.size, aspect);
    this.area = area ? new Area(area) : null;
  }

  // The network's inputs, one after the other; refuses an image that the area does not fit.
  inputs(image) {
    const { width, height } = image;
    if (this.area && !this.geometry.isFilledBy(width, height)) {
      throw new Refusal(
        `has ${width}x${height} pixels; the model's region of interest is drawn on images whose width is ${this.geometry.aspect.toPrecision(4)} times their height`,
      );
    }
    const fitted = this.geometry.fit(image);
    return this.tiling.cut(this.area ? this.area.fill(fitted) : fitted);
  }

  // Score and map of an image from what the network says of its tiles.
  judge(scores, maps, width, height) {
    const isPeak = scores.every((score, i) => score === largest(maps[i].values));
    const own = this.own(this.tiling.blend(maps), width, height);
    return { score: isPeak ? largest(own.values) : Math.max(...scores), map: own };
  }

  // The map over the whole image line by line, as Geometry.sampler; outside the area it never passes the limit.
  sampler(map, width, height, limit, toWidth = width, toHeight = height) {
    const sample = this.geometry.sampler(map, width, height, toWidth, toHeight);
    if (!this.area) return sample;
    const lowest = Math.min(map.values.reduce((a, b) => Math.min(a, b), Infinity), limit);
    return (row, line) => {
      this.area.hideLine(sample(row, line), row, toHeight, lowest);
      return line;
    };
  }

  // Nothing that lies outside the area, nor beside a letterboxed image: such cells have the nearest value that counts.
  own(map, width, height) {
    if (this.area) return this.area.inside(map);
    const [rows, columns] = this.geometry.cellsOf(width, height, map.rows, map.columns);
    if (rows === map.rows && columns === map.columns) return map;
    const values = map.values.map((_, i) => {
      const row = Math.min(Math.floor(i / map.columns), rows - 1), column = Math.min(i % map.columns, columns - 1);
      return map.values[row * map.columns + column];
    });
    return { ...map, values };
  }
}

export function largest(values) {
  let most = -Infinity;
  for (const value of values) if (value > most) most = value;
  return most;
}
