// A large image as overlapping tiles of the network's input size, and their maps as one map again.

export class Tiling {
  constructor(width, height, { columns = 1, rows = 1, step_x = 0, step_y = 0 } = {}) {
    Object.assign(this, { width, height, columns, rows, stepX: step_x, stepY: step_y });
    this.size = [width + (columns - 1) * step_x, height + (rows - 1) * step_y];
  }

  // The tiles' pixels, row by row.
  *cut(whole) {
    for (let row = 0; row < this.rows; row++) {
      for (let column = 0; column < this.columns; column++) yield this.tile(whole, column * this.stepX, row * this.stepY);
    }
  }

  tile({ width, data }, left, top) {
    if (this.columns * this.rows === 1) return data;
    const pixels = new Uint8Array(this.width * this.height * 3);
    for (let y = 0; y < this.height; y++) {
      const start = ((top + y) * width + left) * 3;
      pixels.set(data.subarray(start, start + this.width * 3), y * this.width * 3);
    }
    return pixels;
  }

  // The tiles' maps {rows, columns, values} as one; the shares of the tiles add up to one in every cell.
  blend(maps) {
    if (maps.length === 1) return maps[0];
    const { rows: height, columns: width } = maps[0];
    const across = sharesOf(this.width, this.columns, this.stepX, width), down = sharesOf(this.height, this.rows, this.stepY, height);
    const rows = down.grid, columns = across.grid, values = new Float32Array(rows * columns);
    maps.forEach((map, tile) => {
      const y = down.tiles[Math.floor(tile / this.columns)], x = across.tiles[tile % this.columns];
      for (const { cell: row, lower: up, share: v, weight: wy } of y) {
        const above = up * width, below = Math.min(up + 1, height - 1) * width;
        for (const { cell, lower, share: u, weight: wx } of x) {
          const right = Math.min(lower + 1, width - 1);
          const top = map.values[above + lower] * (1 - u) + map.values[above + right] * u;
          const bottom = map.values[below + lower] * (1 - u) + map.values[below + right] * u;
          values[row * columns + cell] += (top * (1 - v) + bottom * v) * wx * wy;
        }
      }
    });
    return { rows, columns, values };
  }
}

// For each of `count` tiles along an axis: the cells of the whole that it covers, where they lie in it, and their weight.
function sharesOf(size, count, step, cells) {
  const whole = size + (count - 1) * step, grid = Math.ceil((whole * cells) / size);
  const tiles = Array.from({ length: count }, () => []);
  for (let cell = 0; cell < grid; cell++) {
    const centre = ((cell + 0.5) * whole) / grid;
    const weights = tiles.map((_, tile) => taper(centre - tile * step, size, size - step));
    const total = weights.reduce((a, b) => a + b);
    weights.forEach((weight, tile) => {
      if (weight === 0) return;
      // where cells of tile and whole coincide, rounding must not mix neighbours
      const exact = Math.round((((centre - tile * step) * cells) / size - 0.5) * 1e6) / 1e6;
      const position = Math.min(Math.max(exact, 0), cells - 1), lower = Math.min(Math.floor(position), Math.max(cells - 2, 0));
      tiles[tile].push({ cell, lower, share: position - lower, weight: weight / total });
    });
  }
  return { grid, tiles };
}

// The weight of a tile at a position inside it: one, but falling to almost zero over the overlap.
function taper(position, size, overlap) {
  if (position < 0 || position >= size) return 0;
  return Math.min(Math.max(Math.min(position, size - position) / Math.max(overlap, 1), 1e-3), 1);
}
