/**
 * A piece of SQL as it stands in the sources: a whole statement, or a part of others. It holds no values. They travel beside
 * it as the parameters `$1`, `$2` and so on, so that no text from outside can become part of a statement.
 */
export class Sql {
  readonly text: string;
  /** Under this name each connection keeps it prepared, with its plan; undefined: it is planned at each call. */
  readonly name: string | undefined;
  /** The pieces that it was put together from. */
  readonly pieces: readonly Sql[];
  /** Where in the sources it stands: the same object whenever that line makes a piece. Undefined for what only joins. */
  readonly site: TemplateStringsArray | undefined;

  constructor(
    text: string,
    pieces: readonly Sql[] = [],
    more: { readonly name?: string; readonly site?: TemplateStringsArray } = {},
  ) {
    this.text = text;
    this.name = more.name;
    this.pieces = pieces;
    this.site = more.site;
    sqlObserver.made?.(this);
  }
}

/**
 * Writes SQL: ``sql`SELECT id FROM devices WHERE serial_number = $1` ``. Other pieces may be put in, and numbers of our own,
 * such as a limit or the position of a parameter; never a value.
 */
export function sql(strings: TemplateStringsArray, ...inserts: readonly (Sql | number)[]): Sql {
  let text = strings[0] ?? "";
  const pieces: Sql[] = [];
  for (const [index, insert] of inserts.entries()) {
    if (insert instanceof Sql) pieces.push(insert);
    text += (insert instanceof Sql ? insert.text : numberText(insert)) + (strings[index + 1] ?? "");
  }
  return new Sql(text, pieces, { site: strings });
}

/** The statement, kept prepared by each connection under a name that no other statement has. */
export function prepared(name: string, statement: Sql): Sql {
  return new Sql(statement.text, [statement], { name });
}

/** The pieces one after another, with a separator between each two; empty for none. */
export function joined(pieces: readonly Sql[], separator: Sql): Sql {
  return new Sql(pieces.map(({ text }) => text).join(separator.text), [...pieces, separator]);
}

/** The conditions combined with AND; true for none. */
export function allOf(conditions: readonly Sql[]): Sql {
  return conditions.length === 0 ? sql`true` : joined(conditions, sql` AND `);
}

/** The name of a table, column or channel, quoted. Where PostgreSQL takes no parameter for it. */
export function identifier(name: string): Sql {
  return new Sql(`"${name.replaceAll('"', '""')}"`);
}

/** Words of our own, such as the names of states, as a list of literals. No text from outside has only letters and `_`. */
export function words(texts: readonly string[]): Sql {
  const wrong = texts.find((text) => !/^[A-Za-z_]+$/.test(text));
  if (wrong !== undefined) throw new TypeError(`not a word: ${wrong}`);
  return new Sql(texts.map((text) => `'${text}'`).join(", "));
}

/** Told of each piece of SQL as it is made: a test learns of every statement that way. Nobody listens in the service. */
export const sqlObserver: { made?: (piece: Sql) => void } = {};

function numberText(value: number): string {
  if (!Number.isFinite(value)) throw new TypeError(`not a number that SQL can hold: ${value}`);
  return String(value);
}
