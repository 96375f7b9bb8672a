/**
 * What is wrong with a text, in words; undefined if it can be stored and read back: PostgreSQL's text holds no NUL, and a lone
 * surrogate is no character in any encoding.
 */
export function textFault(text: string): string | undefined {
  if (text.includes("\0")) return "must not contain the character NUL";
  return text.isWellFormed() ? undefined : "must be well-formed Unicode";
}
