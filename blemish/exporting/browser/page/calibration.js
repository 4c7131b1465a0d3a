// Threshold and p-value from the held-out scores of good images; every part counts once, however many images show it.
// Where there are sessions, each is ranked by itself, and the largest threshold and p-value count.

const TOLERANCE = 1e-9; // of rates that are equal but for rounding
const STEPS = 2 ** 30; // from a level to the next one, where limits are interpolated

// {threshold, pixelThreshold, rate, supportedRate, pValue(score), statement} of the record `calibration` in model.json.
// Without images of two parts nothing is calibrated: rates and p-values are null, and `statement` says why.
export function calibrate({ scores, peaks, parts, false_alarm_rate: rate, fixed_threshold: fixed = null, sessions = null, counted = null, interpolated = false }) {
  const unknown = { rate: null, supportedRate: null, pValue: () => null };
  if (fixed !== null) return { ...unknown, threshold: fixed, pixelThreshold: fixed, statement: "Not calibrated: the threshold came with the model." };
  const numbers = sessions?.numbers ?? scores.map(() => 0);
  const rankEach = (values) => [...new Set(numbers)].sort((a, b) => a - b).map((session, order) => {
    const own = (_, i) => numbers[i] === session;
    if (counted === null) return rank(values.filter(own), parts.filter(own), interpolated);
    const { unit, parts: count } = counted.totals[order];
    return ranked(values.filter(own), counted.weights.filter(own), unit, count, interpolated);
  });
  const each = rankEach(scores);
  const most = (rankings, value) => rankings.reduce((largest, one) => Math.max(largest, value(one)), -Infinity);
  const limits = { threshold: most(each, (one) => limit(one, rate)), pixelThreshold: most(rankEach(peaks), (one) => limit(one, rate)) };
  if ((counted?.parts ?? new Set(parts).size) < 2) return { ...unknown, ...limits, statement: "Not calibrated: the good images show one part only, so the threshold is a guess." };
  const supportedRate = Math.max(rate, most(each, ({ pValues }) => pValues.at(-1)));
  return { ...limits, rate, supportedRate, pValue: (score) => most(each, (one) => pValue(one, score)), statement: null };
}

// Distinct values, ascending, and the p-values of what lies above level i - 1 and up to level i. Where it is even, that is
// the p-value of the lowest of them, and it falls evenly to the next one up to level i.
function rank(values, parts, interpolated) {
  const images = new Map();
  for (const part of parts) images.set(part, (images.get(part) ?? 0) + 1);
  const unit = wholeUnit([...images.values()], images.size + 1);
  return ranked(values, parts.map((part) => unit / images.get(part)), unit, images.size, interpolated);
}

// The same of values of so many parts, by the weight of each; those of a part add up to the unit.
function ranked(values, each, unit, count, interpolated) {
  const weights = new Map();
  values.forEach((value, i) => weights.set(value, (weights.get(value) ?? 0) + each[i]));
  const levels = [...weights.keys()].sort((a, b) => a - b);
  const pValues = new Array(levels.length + 1);
  for (let i = levels.length, atLeast = 0; i >= 0; i--) {
    if (i < levels.length) atLeast += weights.get(levels[i]);
    pValues[i] = (unit + atLeast) / (unit * (count + 1));
  }
  // several parts at the very same value are a jump: there is no interpolation from or to it
  const single = levels.map((level) => weights.get(level) <= unit * (1 + TOLERANCE));
  const even = pValues.map((_, i) => interpolated && i > 0 && i < levels.length && single[i] && single[i - 1] && levels[i] - levels[i - 1] < Infinity);
  return { levels, pValues, even, tolerance: interpolated ? 0 : TOLERANCE };
}

// The p-value and the limit of a step, from 0 at level i to STEPS at the one below.
function between({ levels, pValues }, i) {
  const high = levels[i], least = pValues[i + 1];
  return { pOf: (step) => least + (pValues[i] - least) * (step / STEPS), limitOf: (step) => high - (high - levels[i - 1]) * (step / STEPS) };
}

// The first step of which this is true, of steps that it is true of from some step on; STEPS if there is none.
function firstStep(isTrue) {
  let low = 0, high = STEPS;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (isTrue(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
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

// The smallest value above which every value has a p-value within the rate; the largest level if there is none.
function limit(ranking, rate) {
  const { levels, pValues, even, tolerance } = ranking;
  const i = Math.min(pValues.slice(1).filter((p) => p > rate + tolerance).length, levels.length - 1);
  if (!even[i]) return levels[i];
  const { pOf, limitOf } = between(ranking, i);
  return limitOf(Math.max(0, firstStep((step) => pOf(step) > rate) - 1));
}

function pValue(ranking, score) {
  const { levels, pValues, even } = ranking;
  const first = levels.findIndex((level) => level >= score), i = first < 0 ? levels.length : first;
  if (!even[i]) return pValues[i];
  const { pOf, limitOf } = between(ranking, i);
  return pOf(firstStep((step) => score > limitOf(step)));
}
