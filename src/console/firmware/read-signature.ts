/**
 * Reads a signature that was pasted as base64 (also base64url, with or without line breaks) or hexadecimal. Undefined
 * for anything else, and for nothing.
 */
export function readSignature(text: string): Uint8Array<ArrayBuffer> | undefined {
  const packed = text.replace(/\s+/g, "");
  if (packed === "") return undefined;
  // 64 bytes of Ed25519 are 128 hexadecimal digits, which base64 would read as 96 bytes of something else.
  if (/^(?:[0-9a-f]{2}){64,}$/i.test(packed)) {
    return Uint8Array.from(packed.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
  }
  try {
    const standard = packed.replaceAll("-", "+").replaceAll("_", "/");
    return Uint8Array.from(atob(standard), (char) => char.charCodeAt(0));
  } catch {
    return undefined;
  }
}
