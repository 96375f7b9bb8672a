import { describe, expect, it } from "vitest";
import { Parameters } from "./parameters.ts";
import { allOf, identifier, joined, prepared, type Sql, sql } from "./sql.ts";

describe("sql", () => {
  it("puts pieces and numbers into one text, and remembers the pieces", () => {
    const columns = sql`id, name`;
    const statement = sql`SELECT ${columns} FROM devices LIMIT ${10}`;
    expect(statement.text).toBe("SELECT id, name FROM devices LIMIT 10");
    expect(statement.pieces).toEqual([columns]);
    expect(prepared("read", statement)).toMatchObject({ name: "read", text: statement.text });
  });

  it.each(["x'; DROP TABLE devices; --", "1", Number.NaN, Number.POSITIVE_INFINITY, null, undefined, {}])(
    "refuses to hold %j",
    (value) => {
      expect(() => sql`SELECT ${value as unknown as Sql}`).toThrow(TypeError);
    },
  );

  it("joins pieces, and takes no condition for one that always holds", () => {
    expect(joined([sql`a`, sql`b`], sql`, `).text).toBe("a, b");
    expect(joined([], sql`, `).text).toBe("");
    expect(allOf([sql`a`, sql`b`]).text).toBe("a AND b");
    expect(allOf([]).text).toBe("true");
  });

  it("quotes names", () => {
    expect(identifier('a"b').text).toBe('"a""b"');
  });
});

describe("Parameters", () => {
  it("number values in the order in which they came, each with its type", () => {
    const parameters = new Parameters();
    const statement = sql`a = ${parameters.add("x", "text")} AND b = ANY(${parameters.add(["y"], "text[]")})`;
    expect(statement.text).toBe("a = $1::text AND b = ANY($2::text[])");
    expect(parameters.values).toEqual(["x", ["y"]]);
  });
});
