// The colour scale of maps: absolute, tied to the threshold, the same for every image; colours.json holds its table.

const THRESHOLD_STEP = 85;

export class Colours {
  constructor({ table, cover }, threshold) {
    Object.assign(this, { table, cover, threshold });
    this.unit = Math.abs(threshold) > 1e-12 ? Math.abs(threshold) : 1;
  }

  // The step 0 to 255 of every value.
  stepsOf(values) {
    const shift = THRESHOLD_STEP * (1 - this.threshold / this.unit), scale = THRESHOLD_STEP / this.unit;
    return Uint8ClampedArray.from(values, (value) => value * scale + shift);
  }

  // Strength 0 leaves the image alone, 0.5 is Blemish's overlay, 1 is the heat map.
  paint({ width, height, steps }, strength) {
    const image = new ImageData(width, height), pixels = new Uint32Array(image.data.buffer), rgba = this.at(strength);
    for (let i = 0; i < steps.length; i++) pixels[i] = rgba[steps[i]];
    return image;
  }

  at(strength) {
    const bytes = new Uint8ClampedArray(4 * 256), part = Math.min(1, 2 * strength), rest = Math.max(0, 2 * strength - 1);
    for (let step = 0; step < 256; step++) {
      // the overlay's tint is red beyond twice the threshold, where white would read as paper
      const tint = this.table[Math.min(Math.max(step, Math.round(1.3 * THRESHOLD_STEP)), 2 * THRESHOLD_STEP)];
      for (let c = 0; c < 3; c++) bytes[4 * step + c] = tint[c] + (this.table[step][c] - tint[c]) * rest;
      bytes[4 * step + 3] = 255 * (this.cover[step] * part + (1 - this.cover[step]) * rest);
    }
    return new Uint32Array(bytes.buffer);
  }
}
