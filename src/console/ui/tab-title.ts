/** The name of the browser's tab: what needs a person goes before the page, for that is what a narrow tab shows. */
let page = "";
let open = 0;

/** Names the tab after its page. */
export function titleTab(title: string): void {
  page = title;
  show();
}

/** Says in the tab's name how many alerts nobody has taken note of. */
export function countInTab(count: number): void {
  open = count;
  show();
}

function show(): void {
  document.title = `${open > 0 ? `(${open}) ` : ""}${page} · Device OTA`;
}
