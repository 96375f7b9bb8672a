/**
 * Replaces what differs from one occurrence of an error to the next, so that the rest can be compared: addresses, digests,
 * UUIDs, numbers and the folders of paths. Digits that belong to a name (`uart1`, `sha256`) stay. Linear in the length.
 */
export function normaliseText(text: string): string {
  return text
    .replaceAll(uuid, "<id>")
    .replaceAll(hexNumber, "<hex>")
    .replaceAll(digest, (word) => (hasDigit.test(word) && hasLetter.test(word) ? "<hex>" : word))
    .replaceAll(folders, "")
    .replaceAll(number, "<n>")
    .replaceAll(spaces, " ")
    .trim();
}

/**
 * The name of a function without what compilers add to it: hashes, clone suffixes, the numbers of closures, lambdas,
 * proxies and anonymous classes, module versions. Linear in the length.
 */
export function normaliseSymbol(symbol: string): string {
  return symbol
    .replaceAll(rustHash, "")
    .replaceAll(crateHash, "")
    .replaceAll(cloneSuffix, "")
    .replaceAll(closure, "{closure}")
    .replaceAll(javaLambdaClass, "$$$$Lambda")
    .replaceAll(javaGenerated, "$1")
    .replaceAll(javaNumbered, "$$")
    .replaceAll(hexNumber, "<hex>")
    .trim();
}

/** The last part of a path or URL, without a query and without the hash that bundlers put into names. */
export function fileName(path: string): string {
  const end = path.indexOf("?");
  const whole = end < 0 ? path : path.slice(0, end);
  const name = whole.slice(Math.max(whole.lastIndexOf("/"), whole.lastIndexOf("\\")) + 1);
  return name.replaceAll(bundleHash, "");
}

const uuid = /\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/gi;
const hexNumber = /\b0x[0-9a-f]+/gi;
const digest = /\b[0-9a-f]{8,}\b/gi;
const hasDigit = /\d/;
const hasLetter = /[a-f]/i;
/** One folder at a time: nothing to go back over. */
const folders = /(?<![^\s"'`(=[<:,])\/(?:[^\s/"'`:,]{1,255}\/)+/g;
const number = /(?<![A-Za-z0-9_])\d[\d.,:]*/g;
const spaces = /\s+/g;
/** `::h0123456789abcdef`, or the same inside a mangled name. */
const rustHash = /(?:::h|17h)[0-9a-f]{16}(?![0-9a-f])/g;
const crateHash = /\[[0-9a-f]{8,16}\]/g;
const cloneSuffix = /\.(?:isra|constprop|part|cold|lto_priv|llvm)(?:\.\d+)?(?![A-Za-z])/g;
const closure = /\{\{?closure\}?(?:#\d+)?\}(?:#\d+)?/g;
const javaLambdaClass = /\$\$Lambda(?:\$\d+)?(?:\/0x[0-9a-f]+|\/\d+)?/g;
const javaGenerated = /\b(GeneratedMethodAccessor|GeneratedConstructorAccessor|\$Proxy)\d+/g;
const javaNumbered = /\$\d+(?![A-Za-z0-9])/g;
const bundleHash = /[.-](?=[0-9a-f]*\d)[0-9a-f]{6,}(?=\.)/g;
