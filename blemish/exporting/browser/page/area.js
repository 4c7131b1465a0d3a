// The part of the image that the model looks at; what lies outside is painted over before the network sees it.
import { coverage } from "./resize.js";
import { decodeMask } from "./rle.js";

const FILLING = 128;

export class Area {
  constructor(rle) {
    [this.height, this.width] = rle.size;
    this.mask = decodeMask(rle);
  }

  fill({ width, height, data }) {
    const painted = data.slice();
    this.mask.forEach((inside, i) => inside || painted.fill(FILLING, 3 * i, 3 * i + 3));
    return { width, height, data: painted };
  }

  // The map with the value of the nearest cell inside in every cell that lies wholly outside.
  inside({ rows, columns, values }) {
    this.nearest ??= nearestOf(this.cellsInside(rows, columns), rows, columns);
    return { rows, columns, values: Float32Array.from(this.nearest, (cell) => values[cell]) };
  }

  // Sets to `lowest` what lies outside on one line of a picture of the whole image.
  hideLine(line, row, height, lowest) {
    const own = Math.floor(((row + 0.5) * this.height) / height) * this.width, step = this.width / line.length;
    for (let x = 0; x < line.length; x++) if (!this.mask[own + Math.floor((x + 0.5) * step)]) line[x] = lowest;
  }

  cellsInside(rows, columns) {
    const down = coverage(this.height, Math.min(rows, this.height)), across = coverage(this.width, Math.min(columns, this.width));
    const inside = new Uint8Array(rows * columns);
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        inside[row * columns + column] = this.hasAny(down.first[row], down.shares[row].length, across.first[column], across.shares[column].length);
      }
    }
    return inside;
  }

  hasAny(top, height, left, width) {
    for (let y = top; y < top + height; y++) {
      for (let x = left; x < left + width; x++) if (this.mask[y * this.width + x]) return 1;
    }
    return 0;
  }
}

// For every cell the index of the nearest one inside, found by passing candidates on to neighbours until none changes.
function nearestOf(inside, rows, columns) {
  const nearest = new Int32Array(rows * columns).fill(-1);
  let front = [];
  inside.forEach((is, cell) => {
    if (is) {
      nearest[cell] = cell;
      front.push(cell);
    }
  });
  const distance = (a, b) => ((a % columns) - (b % columns)) ** 2 + (Math.floor(a / columns) - Math.floor(b / columns)) ** 2;
  while (front.length) {
    const next = [];
    for (const cell of front) {
      const y = Math.floor(cell / columns), x = cell % columns;
      for (let row = Math.max(y - 1, 0); row <= Math.min(y + 1, rows - 1); row++) {
        for (let column = Math.max(x - 1, 0); column <= Math.min(x + 1, columns - 1); column++) {
          const other = row * columns + column, known = nearest[other];
          if (known < 0 || distance(other, nearest[cell]) < distance(other, known)) {
            nearest[other] = nearest[cell];
            next.push(other);
          }
        }
      }
    }
    front = next;
  }
  return nearest;
}
