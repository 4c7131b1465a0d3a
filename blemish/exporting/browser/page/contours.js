// Where a map crosses its threshold, as a path of short lines: marching squares with linear interpolation.

// For each of the 16 cases of a square's corners, the edges that each line joins: 0 top, 1 right, 2 bottom, 3 left.
const LINES = [[], [3, 0], [0, 1], [3, 1], [1, 2], [3, 0, 1, 2], [0, 2], [3, 2], [2, 3], [2, 0], [0, 1, 2, 3], [2, 1], [1, 3], [1, 0], [0, 3], []];

export function contoursOf({ width, height, values }, threshold) {
  const path = new Path2D();
  for (let y = 0; y + 1 < height; y++) {
    for (let x = 0; x + 1 < width; x++) {
      const i = y * width + x, a = values[i], b = values[i + 1], c = values[i + width + 1], d = values[i + width];
      const kind = (a > threshold) | ((b > threshold) << 1) | ((c > threshold) << 2) | ((d > threshold) << 3);
      if (kind === 0 || kind === 15) continue;
      const share = (from, to) => (threshold - from) / (to - from);
      const points = [
        () => [x + share(a, b), y],
        () => [x + 1, y + share(b, c)],
        () => [x + share(d, c), y + 1],
        () => [x, y + share(a, d)],
      ];
      const edges = LINES[kind];
      for (let k = 0; k < edges.length; k += 2) {
        const [fromX, fromY] = points[edges[k]](), [toX, toY] = points[edges[k + 1]]();
        path.moveTo(fromX + 0.5, fromY + 0.5); // a value belongs to the centre of its pixel
        path.lineTo(toX + 0.5, toY + 0.5);
      }
    }
  }
  return path;
}
