/**
 * The word that the service's content security policy wants in each style element that is made here; the page's head has it.
 */
export function styleNonce(): string {
  return document.querySelector<HTMLMetaElement>("meta[property=csp-nonce]")?.nonce ?? "";
}

/** Tells it to the library that keeps a page from scrolling behind a dialog, which looks for it under this name. */
export function shareStyleNonce(): void {
  Object.assign(globalThis, { __webpack_nonce__: styleNonce() });
}
