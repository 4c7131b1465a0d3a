// Threshold and p-value from the held-out scores of good images; every part counts once, however many images show it.
// Where there are sessions, each is ranked by itself, and the largest threshold and p-value count.

const TOLERANCE = 1e-9; // of rates that are equal but for rounding

// {threshold, pixelThreshold, rate, supportedRate, pValue(score), statement} of the record `calibration` in model.json.
// Without images of two parts nothing is calibrated: rates and p-values are null, and `statement` says why.
export function calibrate({ scores, peaks, parts, false_alarm_rate: rate, fixed_threshold: fixed = null, sessions = null, counted = null }) {
  const unknown = { rate: null, supportedRate: null, pValue: () => null };
  if (fixed !== null) return { ...unknown, threshold: fixed, pixelThreshold: fixed, statement: "Not calibrated: the threshold came with the model." };
  const numbers = sessions?.numbers ?? scores.map(() => 0);
  const rankEach = (values) => [...new Set(numbers)].sort((a, b) => a - b).map((session, order) => {
    const own = (_, i) => numbers[i] === session;
    if (counted === null) return rank(values.filter(own), parts.filter(own));
    const { unit, parts: count } = counted.totals[order];
    return ranked(values.filter(own), counted.weights.filter(own), unit, count);
  });
  const each = rankEach(scores);
  const most = (rankings, value) => rankings.reduce((largest, one) => Math.max(largest, value(one)), -Infinity);
  const limits = { threshold: most(each, (one) => limit(one, rate)), pixelThreshold: most(rankEach(peaks), (one) => limit(one, rate)) };
  if ((counted?.parts ?? new Set(parts).size) < 2) return { ...unknown, ...limits, statement: "Not calibrated: the good images show one part only, so the threshold is a guess." };
  const supportedRate = Math.max(rate, most(each, ({ pValues }) => pValues.at(-1)));
  return { ...limits, rate, supportedRate, pValue: (score) => most(each, (one) => pValue(one, score)), statement: null };
}

// Distinct values, ascending, and the p-values of what lies above level i - 1 and up to level i.
function rank(values, parts) {
  const images = new Map();
  for (const part of parts) images.set(part, (images.get(part) ?? 0) + 1);
  const unit = wholeUnit([...images.values()], images.size + 1);
  return ranked(values, parts.map((part) => unit / images.get(part)), unit, images.size);
}

// The same of values of so many parts, by the weight of each; those of a part add up to the unit.
function ranked(values, each, unit, count) {
  const weights = new Map();
  values.forEach((value, i) => weights.set(value, (weights.get(value) ?? 0) + each[i]));
  const levels = [...weights.keys()].sort((a, b) => a - b);
  const pValues = new Array(levels.length + 1);
  for (let i = levels.length, atLeast = 0; i >= 0; i--) {
    if (i < levels.length) atLeast += weights.get(levels[i]);
    pValues[i] = (unit + atLeast) / (unit * (count + 1));
  }
  return { levels, pValues };
}

// In units that every number of images divides, weights are whole and their sums exact, as long as they are small.
function wholeUnit(counts, total) {
  let unit = 1;
  for (const count of counts) {
    unit *= count / divisor(unit, count);
    if (unit * total >= 2 ** 53) return 1;
  }
  return unit;
}

function divisor(a, b) {
  return b === 0 ? a : divisor(b, a % b);
}

// The smallest level above which every value has a p-value within the rate; the largest if there is none.
function limit({ levels, pValues }, rate) {
  const beyond = pValues.slice(1).filter((p) => p > rate + TOLERANCE).length;
  return levels[Math.min(beyond, levels.length - 1)];
}

function pValue({ levels, pValues }, score) {
  const first = levels.findIndex((level) => level >= score);
  return pValues[first < 0 ? levels.length : first];
}
