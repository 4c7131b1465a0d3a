// COCO's run-length string of a mask, column by column, as rows of 0 and 1.
export function decodeMask({ size: [height, width], counts }) {
  const mask = new Uint8Array(height * width);
  const runs = [];
  for (let i = 0; i < counts.length; ) {
    let value = 0, shift = 0, code;
    do {
      code = counts.charCodeAt(i++) - 48;
      value |= (code & 31) << shift;
      shift += 5;
    } while (code & 32);
    if (code & 16) value -= 2 ** shift;
    runs.push(runs.length > 2 ? value + runs[runs.length - 2] : value);
  }
  let at = 0;
  runs.forEach((run, i) => {
    for (const end = at + run; at < end; at++) {
      if (i % 2) mask[(at % height) * width + Math.floor(at / height)] = 1;
    }
  });
  return mask;
}
