// The orientation that EXIF data states, and an image turned by it.

// 1 to 8 from a TIFF structure; 1 where it states none.
export function orientationOf(exif) {
  if (!exif || exif.length < 14) return 1;
  const view = new DataView(exif.buffer, exif.byteOffset, exif.length), little = exif[0] === 0x49;
  const at = view.getUint32(4, little);
  if (at + 2 > exif.length) return 1;
  const count = view.getUint16(at, little);
  for (let entry = at + 2, i = 0; i < count && entry + 12 <= exif.length; i++, entry += 12) {
    if (view.getUint16(entry, little) !== 0x0112) continue;
    const value = view.getUint16(entry + 8, little);
    return value >= 1 && value <= 8 ? value : 1;
  }
  return 1;
}

// Orientation 5 and above swap width and height.
export function oriented({ width, height, data }, orientation) {
  if (orientation === 1) return { width, height, data };
  const swaps = orientation > 4, flipX = [2, 3, 7, 8].includes(orientation), flipY = [3, 4, 6, 7].includes(orientation);
  const [newWidth, newHeight] = swaps ? [height, width] : [width, height];
  const turned = new Uint8Array(data.length);
  for (let y = 0, at = 0; y < newHeight; y++) {
    for (let x = 0; x < newWidth; x++) {
      let [column, row] = swaps ? [y, x] : [x, y];
      if (flipX) column = width - 1 - column;
      if (flipY) row = height - 1 - row;
      const from = (row * width + column) * 3;
      for (let c = 0; c < 3; c++) turned[at++] = data[from + c];
    }
  }
  return { width: newWidth, height: newHeight, data: turned };
}
