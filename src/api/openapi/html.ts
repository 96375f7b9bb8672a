/** Markup that may stand in a page as it is. */
export class Html {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** What may stand in a template: texts are escaped, undefined and false are nothing. */
type HtmlValue = Html | string | number | undefined | false | readonly HtmlValue[];

/** Writes markup; whatever is put into it is escaped unless it is markup itself. */
export function html(parts: TemplateStringsArray, ...values: readonly HtmlValue[]): Html {
  return new Html(String.raw({ raw: parts }, ...values.map(textOf)));
}

function textOf(value: HtmlValue): string {
  if (value === undefined || value === false) return "";
  if (value instanceof Html) return value.text;
  if (typeof value === "object") return value.map(textOf).join("");
  return `${value}`.replaceAll(/[&<>"']/g, (char) => entities[char] as string);
}

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** The little of Markdown that comments of the contract use: paragraphs, lists, `code` and addresses. */
export function markdown(text: string): Html[] {
  return text.split(/\n{2,}/).flatMap((block) => {
    const lines = block.split("\n");
    const items = lines.filter((line) => line.startsWith("- "));
    const words = lines.filter((line) => !line.startsWith("- ")).join(" ");
    return [
      ...(words.trim() === "" ? [] : [html`<p>${inline(words)}</p>`]),
      ...(items.length === 0
        ? []
        : [html`<ul>${items.map((item) => html`<li>${inline(item.slice(2))}</li>`)}</ul>`]),
    ];
  });
}

/** A line with `code` and addresses. */
export function inline(text: string): HtmlValue[] {
  return text.split(/(`[^`]+`|https:\/\/[^\s)`]+[^\s)`.,;:])/).map((part, index) => {
    if (index % 2 === 0) return part;
    return part.startsWith("`")
      ? html`<code>${part.slice(1, -1)}</code>`
      : html`<a href="${part}" rel="noreferrer">${part}</a>`;
  });
}
