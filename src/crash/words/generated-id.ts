/**
 * Whether a word is one that a machine made: a serial number, a token, base64. A word of people has vowels, few digits, and
 * changes between letters and digits once or twice. Errors are names too: short ones (`E1234`) stay.
 */
export function isGeneratedId(word: string): boolean {
  if (word.length < 6 || word.includes("_")) return false;
  const { digits, letters, upper, lower, changes, consonants } = shapeOf(word);
  if (letters === 0) return false;
  if (digits >= 4) return true;
  const isUpper = lower === 0;
  if (digits >= 2 && changes >= (isUpper ? 3 : 4) && (isUpper || word.length >= 10)) return true;
  return upper > 0 && lower > 0 && word.length >= 10 && ((digits > 0 && changes >= 5) || consonants >= 8);
}

interface Shape {
  readonly digits: number;
  readonly letters: number;
  readonly upper: number;
  readonly lower: number;
  /** From a letter to a digit or back, and from a lower-case letter to an upper-case one. */
  readonly changes: number;
  /** The most in a row. */
  readonly consonants: number;
}

function shapeOf(word: string): Shape {
  let [digits, upper, lower, changes, consonants, row] = [0, 0, 0, 0, 0, 0];
  let last = "";
  for (const character of word) {
    const sort = sortOf(character);
    if (sort === "digit") digits++;
    if (sort === "upper") upper++;
    if (sort === "lower") lower++;
    if (last !== "" && sort !== last && !(last === "upper" && sort === "lower")) changes++;
    row = sort === "digit" || "aeiouAEIOU".includes(character) ? 0 : row + 1;
    consonants = Math.max(consonants, row);
    last = sort;
  }
  return { digits, letters: upper + lower, upper, lower, changes, consonants };
}

function sortOf(character: string): "digit" | "upper" | "lower" {
  if (character >= "0" && character <= "9") return "digit";
  return character >= "A" && character <= "Z" ? "upper" : "lower";
}
