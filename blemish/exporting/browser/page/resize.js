// The resize of the model's contract, to the grey level: OpenCV's INTER_AREA where an axis shrinks, INTER_LINEAR where it grows.
// Images are {width, height, data}: RGB, a byte each, row by row.

export function resize(image, width, height) {
  if (image.width === width && image.height === height) return image;
  if (width <= image.width && height <= image.height) return shrink(image, width, height);
  if (width < image.width || height < image.height) { // what shrinks goes first: it is less work
    image = resize(image, Math.min(width, image.width), Math.min(height, image.height));
  }
  return grow(image, width, height);
}

function shrink(image, width, height) {
  const x = image.width / width, y = image.height / height;
  return Number.isInteger(x) && Number.isInteger(y) ? shrinkByWhole(image, width, height, x, y) : shrinkByAreas(image, width, height);
}

// Mean of blocks of x by y pixels.
function shrinkByWhole({ width: stride, data }, width, height, x, y) {
  const out = new Uint8ClampedArray(width * height * 3);
  const share = Math.fround(1 / (x * y));
  for (let row = 0, at = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      for (let c = 0; c < 3; c++, at++) {
        let sum = 0;
        for (let dy = 0; dy < y; dy++) {
          let from = ((row * y + dy) * stride + column * x) * 3 + c;
          for (let dx = 0; dx < x; dx++, from += 3) sum += data[from];
        }
        out[at] = x === 2 && y === 2 ? (sum + 2) >> 2 : Math.fround(sum * share); // a clamped array rounds half to even
      }
    }
  }
  return { width, height, data: new Uint8Array(out.buffer) };
}

// Which pixels each new pixel covers along an axis, and how much of it each one fills, in float32.
export function coverage(from, to) {
  const scale = from / to, first = new Int32Array(to), shares = [];
  for (let i = 0; i < to; i++) {
    const start = i * scale, end = start + scale, cell = Math.min(scale, from - start);
    const last = Math.min(Math.floor(end), from - 1), whole = Math.min(Math.ceil(start), last);
    const own = [];
    first[i] = whole;
    if (whole - start > 1e-3) {
      first[i] = whole - 1;
      own.push((whole - start) / cell);
    }
    for (let pixel = whole; pixel < last; pixel++) own.push(1 / cell);
    if (end - last > 1e-3) own.push(Math.min(end - last, 1, cell) / cell);
    shares.push(Float32Array.from(own));
  }
  return { first, shares };
}

// Means weighted by the covered areas, in float32 and in the order of the original.
function shrinkByAreas({ width: stride, height: rows, data }, width, height) {
  const across = coverage(stride, width), down = coverage(rows, height);
  const out = new Uint8ClampedArray(width * height * 3);
  const line = new Float32Array(width * 3), sum = new Float32Array(width * 3);
  let done = -1; // the row that `line` holds; two new rows can share one
  for (let row = 0; row < height; row++) {
    sum.fill(0);
    down.shares[row].forEach((weight, i) => {
      const source = down.first[row] + i;
      if (source !== done) averageLine(data, source * stride * 3, across, line);
      done = source;
      for (let k = 0; k < line.length; k++) sum[k] += Math.fround(weight * line[k]);
    });
    out.set(sum, row * width * 3);
  }
  return { width, height, data: new Uint8Array(out.buffer) };
}

function averageLine(data, offset, { first, shares }, line) {
  for (let column = 0; column < shares.length; column++) {
    const own = shares[column];
    let at = offset + first[column] * 3, red = 0, green = 0, blue = 0;
    for (let i = 0; i < own.length; i++, at += 3) {
      const share = own[i];
      red = Math.fround(red + Math.fround(data[at] * share));
      green = Math.fround(green + Math.fround(data[at + 1] * share));
      blue = Math.fround(blue + Math.fround(data[at + 2] * share));
    }
    line[column * 3] = red;
    line[column * 3 + 1] = green;
    line[column * 3 + 2] = blue;
  }
}

// Two neighbours and their weights in 2048ths, as OpenCV has them for bytes.
function neighbours(from, to) {
  const lower = new Int32Array(to), upper = new Int32Array(to), near = new Int32Array(to), far = new Int32Array(to);
  for (let i = 0; i < to; i++) {
    const position = Math.fround((i + 0.5) * (from / to) - 0.5);
    const base = Math.floor(position), share = Math.fround(position - base);
    lower[i] = Math.min(Math.max(base, 0), from - 1);
    upper[i] = Math.min(Math.max(base + 1, 0), from - 1);
    near[i] = roundHalfEven(Math.fround(Math.fround(1 - share) * 2048));
    far[i] = roundHalfEven(Math.fround(share * 2048));
  }
  return { lower, upper, near, far };
}

function grow({ width: stride, height: rows, data }, width, height) {
  const across = neighbours(stride, width), down = neighbours(rows, height);
  const out = new Uint8Array(width * height * 3);
  const lines = new Map(); // source row -> its line, enlarged
  const lineOf = (source) => {
    if (!lines.has(source)) {
      if (lines.size > 2) lines.delete(lines.keys().next().value);
      lines.set(source, growLine(data, source * stride * 3, across));
    }
    return lines.get(source);
  };
  for (let row = 0, at = 0; row < height; row++) {
    const above = lineOf(down.lower[row]), below = lineOf(down.upper[row]);
    const near = down.near[row], far = down.far[row];
    for (let k = 0; k < above.length; k++, at++) {
      out[at] = (((near * (above[k] >> 4)) >> 16) + ((far * (below[k] >> 4)) >> 16) + 2) >> 2;
    }
  }
  return { width, height, data: out };
}

function growLine(data, offset, { lower, upper, near, far }) {
  const line = new Int32Array(lower.length * 3);
  for (let column = 0; column < lower.length; column++) {
    const left = offset + lower[column] * 3, right = offset + upper[column] * 3;
    for (let c = 0; c < 3; c++) line[column * 3 + c] = data[left + c] * near[column] + data[right + c] * far[column];
  }
  return line;
}

export function roundHalfEven(value) {
  const below = Math.floor(value), rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2) ? below + 1 : below;
}
