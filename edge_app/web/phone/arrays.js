// NumPy's .npy format, as far as bundles use it: C order, bytes or 32-bit floats.
const KINDS = { "|u1": Uint8Array, "<f4": Float32Array };

/** { data, shape } of a file's bytes (an ArrayBuffer). */
export function readArray(buffer) {
  const bytes = new Uint8Array(buffer), view = new DataView(buffer);
  if (String.fromCharCode(...bytes.subarray(1, 6)) !== "NUMPY") throw new Error("no .npy file");
  const isLong = bytes[6] > 1, start = isLong ? 12 : 10;
  const length = isLong ? view.getUint32(8, true) : view.getUint16(8, true);
  const header = new TextDecoder("latin1").decode(bytes.subarray(start, start + length));
  const kind = KINDS[/'descr': '([^']+)'/.exec(header)?.[1]], order = /'fortran_order': False/.test(header);
  if (!kind || !order) throw new Error("an array of a kind that is not read");
  const shape = /'shape': \(([^)]*)\)/.exec(header)[1].split(",").filter((n) => n.trim()).map(Number);
  return { data: new kind(buffer.slice(start + length)), shape };
}
