/**
 * The name of a function without what compilers and virtual machines add to it anew in each build or run: hashes, clone
 * suffixes, numbers of hidden classes. Numbers that tell two closures or anonymous classes apart stay. Linear in the length.
 */
export function normaliseSymbol(symbol: string): string {
  return symbol
    .replaceAll(rustHash, "")
    .replaceAll(crateHash, "")
    .replaceAll(cloneSuffix, "")
    .replaceAll(cloneNote, "")
    .replaceAll(closure, "{closure}")
    .replaceAll(generatedClass, "$1")
    .replaceAll(hexNumber, "<hex>")
    .trim();
}

/**
 * The name of a function without the numbers by which a compiler tells closures and anonymous classes of one place apart, as in
 * `lambda$main$0`, `Agent$1.run`, `main.func2`, `{lambda(int)#1}`. They count up when one more is written before.
 */
export function withoutOrdinals(symbol: string): string {
  return symbol.replaceAll(ordinal, "$1");
}

/** The last part of a path or URL, without a query and without the hash that bundlers put into names. */
export function fileName(path: string): string {
  const end = path.search(/[?#]/);
  const whole = end < 0 ? path : path.slice(0, end);
  const name = whole.slice(Math.max(whole.lastIndexOf("/"), whole.lastIndexOf("\\")) + 1);
  return name.replace(bundleHash, (hash) => (looksRandom(hash.slice(1)) ? "" : hash));
}

/** The folder that a path's last part is in; empty if it has none. */
export function folderName(path: string): string {
  const end = Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\"));
  return end < 0 ? "" : fileName(path.slice(0, end));
}

const ordinal = /(\$_?|\.func|\.lambda|\{lambda\([^()]{0,200}\)#|\.)\d{1,6}(?![A-Za-z\d])/g;
/** `::h0123456789abcdef`, or the same inside a mangled name. */
const rustHash = /(?:::h|17h)[0-9a-f]{16}(?![0-9a-f])/g;
const crateHash = /\[[0-9a-f]{8,16}\]/g;
const cloneSuffix = /\.(?:isra|constprop|part|cold|lto_priv|llvm)(?:\.\d{1,20})?(?![A-Za-z])/g;
const cloneNote = / ?\[clone [^\]]{1,100}\]|\[abi:\w{1,40}\]/g;
const closure = /\{\{?closure\}?(?:#\d{1,9})?\}(?:#\d{1,9})?/g;
const generatedClass =
  /(\$\$Lambda|GeneratedMethodAccessor|GeneratedConstructorAccessor|\$Proxy|\$\$(?:Enhancer|FastClass)By[A-Za-z]{1,40}\$\$|\$\$SpringCGLIB\$\$|\$ByteBuddy\$|\$HibernateProxy\$|\$MockitoMock\$|ExternalSyntheticLambda)(?:\$?[\da-zA-Z]{1,40})?(?:\/(?:0x)?[0-9a-f]{1,16})?/g;
const hexNumber = /\b0x[0-9a-f]{1,16}\b/gi;
/** `.3f2a1b9c`, `-BfK3x2Qz` before the last ending. */
const bundleHash = /[.-][\w-]{6,20}(?=\.(?:[cm]?js|bundle|map)$)/;

function looksRandom(text: string): boolean {
  const hexadecimal = /^[0-9a-f]{6,20}$/.test(text) && /\d/.test(text);
  return hexadecimal || (text.length === 8 && /[A-Z]/.test(text) && /[a-z\d]/.test(text.slice(1)));
}
