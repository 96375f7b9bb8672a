/**
 * What pages of this service may load: scripts and styles from this origin alone, and style elements that name `nonce`
 * (https://www.w3.org/TR/CSP3/), which the console's component library makes in the page. Without a nonce, none.
 */
export function contentSecurityPolicy(nonce?: string): string {
  return [
    "default-src 'self'",
    `style-src 'self'${nonce === undefined ? "" : ` 'nonce-${nonce}'`}`,
    "img-src 'self' data:",
    "frame-ancestors 'none'",
    "base-uri 'none'",
    "form-action 'none'",
    "object-src 'none'",
  ].join("; ");
}
