// The letterbox or stretching to the model's input, and the way back from its map to the image's own pixels.
import { resize, roundHalfEven } from "./resize.js";

export class Geometry {
  constructor(width, height, aspect) {
    Object.assign(this, { width, height, aspect });
  }

  // Width and height of an image's content inside the input; the rest is mirrored.
  box(width, height) {
    if (this.aspect == null) return [this.width, this.height]; // images of any aspect are stretched
    const ratio = width / height / this.aspect;
    return [
      Math.max(1, roundHalfEven(this.width * Math.min(1, ratio))),
      Math.max(1, roundHalfEven(this.height * Math.min(1, 1 / ratio))),
    ];
  }

  isFilledBy(width, height) {
    const [across, down] = this.box(width, height);
    return across === this.width && down === this.height;
  }

  // An image as the input: shrunk into its top-left corner, mirrored to the right and below.
  fit(image) {
    const content = resize(image, ...this.box(image.width, image.height));
    if (content.width === this.width && content.height === this.height) return content;
    const data = new Uint8Array(this.width * this.height * 3);
    const columns = Array.from({ length: this.width }, (_, x) => mirrored(x, content.width) * 3);
    for (let y = 0, at = 0; y < this.height; y++) {
      const row = mirrored(y, content.height) * content.width * 3;
      for (const column of columns) {
        for (let c = 0; c < 3; c++) data[at++] = content.data[row + column + c];
      }
    }
    return { width: this.width, height: this.height, data };
  }

  // How many rows and columns of a grid over the input show something of an image of this size.
  cellsOf(width, height, rows, columns) {
    const [across, down] = this.box(width, height);
    return [Math.ceil((down * rows) / this.height), Math.ceil((across * columns) / this.width)];
  }

  // A map {rows, columns, values} over the input as a sampler over the image, drawn `toWidth` by `toHeight` large:
  // sampler(y, line) fills a line and returns it; bilinear between the centres of the cells.
  sampler(map, width, height, toWidth = width, toHeight = height) {
    const [across, down] = this.box(width, height);
    const x = positions(toWidth, across, this.width, map.columns), y = positions(toHeight, down, this.height, map.rows);
    const mixed = new Float32Array(map.columns);
    return (row, line) => {
      const upper = y.lower[row] * map.columns, lower = Math.min(y.lower[row] + 1, map.rows - 1) * map.columns;
      for (let c = 0; c < map.columns; c++) {
        mixed[c] = map.values[upper + c] + (map.values[lower + c] - map.values[upper + c]) * y.share[row];
      }
      for (let c = 0; c < toWidth; c++) {
        const left = x.lower[c], right = Math.min(left + 1, map.columns - 1);
        line[c] = mixed[left] + (mixed[right] - mixed[left]) * x.share[c];
      }
      return line;
    };
  }
}

// Where every pixel lies among the centres of the cells along one axis.
function positions(size, box, input, cells) {
  const lower = new Int32Array(size), share = new Float32Array(size);
  for (let i = 0; i < size; i++) {
    const position = Math.min(Math.max((i + 0.5) * (box / size) * (cells / input) - 0.5, 0), cells - 1);
    lower[i] = Math.floor(position);
    share[i] = position - lower[i];
  }
  return { lower, share };
}

// The edge pixel is repeated once, as OpenCV's BORDER_REFLECT does.
function mirrored(position, size) {
  const within = position % (2 * size);
  return within < size ? within : 2 * size - 1 - within;
}
