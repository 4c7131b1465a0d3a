// Threshold and p-value from the held-out scores of good images; every part counts once, however many images show it.
// Where there are sessions, each is ranked by itself, and the largest threshold and p-value count.

// {threshold, pixelThreshold, rate, pValue(score)} of the record `calibration` in model.json.
export function calibrate({ scores, peaks, parts, false_alarm_rate: rate, fixed_threshold: fixed = null, sessions = null }) {
  if (fixed !== null) return { threshold: fixed, pixelThreshold: fixed, rate: null, pValue: () => 1 };
  const numbers = sessions?.numbers ?? scores.map(() => 0);
  const rankEach = (values) => [...new Set(numbers)].map((session) => {
    const own = (_, i) => numbers[i] === session;
    return rank(values.filter(own), parts.filter(own));
  });
  const ranked = rankEach(scores);
  const most = (each, value) => each.reduce((largest, one) => Math.max(largest, value(one)), -Infinity);
  return {
    threshold: most(ranked, (one) => limit(one, rate)),
    pixelThreshold: most(rankEach(peaks), (one) => limit(one, rate)),
    rate,
    pValue: (score) => most(ranked, (one) => pValue(one, score)),
  };
}

// Distinct values, ascending, and the p-values of what lies above level i - 1 and up to level i.
function rank(values, parts) {
  const images = new Map();
  for (const part of parts) images.set(part, (images.get(part) ?? 0) + 1);
  const weights = new Map();
  values.forEach((value, i) => weights.set(value, (weights.get(value) ?? 0) + 1 / images.get(parts[i])));
  const levels = [...weights.keys()].sort((a, b) => a - b);
  const pValues = new Array(levels.length + 1);
  for (let i = levels.length, atLeast = 0; i >= 0; i--) {
    if (i < levels.length) atLeast += weights.get(levels[i]);
    pValues[i] = (1 + Math.round(atLeast * 1e9) / 1e9) / (images.size + 1); // thirds must add up to one
  }
  return { levels, pValues };
}

// The smallest level above which every value has a p-value within the rate; the largest if there is none.
function limit({ levels, pValues }, rate) {
  const beyond = pValues.slice(1).filter((p) => p > rate).length;
  return levels[Math.min(beyond, levels.length - 1)];
}

function pValue({ levels, pValues }, score) {
  const first = levels.findIndex((level) => level >= score);
  return pValues[first < 0 ? levels.length : first];
}
