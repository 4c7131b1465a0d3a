// The connected places where a map exceeds its threshold, found line by line, so that no full-size map is kept.

// 8-connected, largest first, then from the top left down; box [x, y, width, height], as Blemish states them.
export function findRegions(sample, width, height, threshold) {
  const line = new Float32Array(width), regions = [];
  let above = [];
  for (let y = 0; y < height; y++) {
    const runs = runsOf(sample(y, line), threshold);
    let first = 0;
    for (const run of runs) {
      while (first < above.length && above[first].end < run.start) first++;
      for (let i = first; i < above.length && above[i].start <= run.end; i++) run.region = join(run.region, rootOf(above[i].region));
      run.region ??= begin(regions);
      add(rootOf(run.region), run, y);
    }
    above = runs;
  }
  return regions.filter((region) => !region.into).map((region) => describe(region, width * height)).sort(order);
}

// Half-open stretches of a line above the threshold.
function runsOf(line, threshold) {
  const runs = [];
  for (let x = 0; x < line.length; x++) {
    if (!(line[x] > threshold)) continue;
    const start = x;
    let peak = line[x];
    for (; x < line.length && line[x] > threshold; x++) if (line[x] > peak) peak = line[x];
    runs.push({ start, end: x, peak });
  }
  return runs;
}

function begin(regions) {
  regions.push({ area: 0, left: Infinity, top: Infinity, right: 0, bottom: 0, sumX: 0, sumY: 0, peak: -Infinity });
  return regions[regions.length - 1];
}

function rootOf(region) {
  while (region.into) region = region.into;
  return region;
}

function join(one, other) {
  if (!one || rootOf(one) === other) return other;
  const kept = rootOf(one);
  other.into = kept;
  for (const key of ["area", "sumX", "sumY"]) kept[key] += other[key];
  for (const key of ["left", "top"]) kept[key] = Math.min(kept[key], other[key]);
  for (const key of ["right", "bottom", "peak"]) kept[key] = Math.max(kept[key], other[key]);
  return kept;
}

function add(region, { start, end, peak }, y) {
  const count = end - start;
  region.area += count;
  region.sumX += (count * (start + end - 1)) / 2;
  region.sumY += count * y;
  region.left = Math.min(region.left, start);
  region.right = Math.max(region.right, end);
  region.top = Math.min(region.top, y);
  region.bottom = Math.max(region.bottom, y + 1);
  region.peak = Math.max(region.peak, peak);
}

function describe({ left, top, right, bottom, area, sumX, sumY, peak }, pixels) {
  const hundredths = (value) => Math.round(value * 100) / 100;
  return {
    box: [left, top, right - left, bottom - top],
    area,
    share: Math.round((area / pixels) * 1e6) / 1e6,
    peak,
    centroid: [hundredths(sumX / area), hundredths(sumY / area)],
  };
}

function order(a, b) {
  return b.area - a.area || a.box[1] - b.box[1] || a.box[0] - b.box[0];
}
