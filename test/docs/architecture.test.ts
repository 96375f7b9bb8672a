import { expect, it } from "vitest";
import { rooms, type Wall } from "../../scripts/walls.ts";
import { readPage } from "./pages.ts";

it("docs/architecture.md shows what each room may import, as the linter holds it", async () => {
  const expected = Object.entries(rooms).flatMap(([room, wall]) => [
    [`\`src/${room}${room.endsWith(".ts") ? "" : "/"}\``, imports(wall)],
    // The console's own rooms stand in its chapter, in words.
    ...Object.entries(room === "console" ? {} : (wall.rooms ?? {})).map(([inner, may]) => [
      `\`src/${room}/${inner}/\``,
      imports({ may }),
    ]),
  ]);
  const table = /^<!-- walls: [^>]* -->\n(.*?)\n<!-- \/walls -->$/ms.exec(
    await readPage("docs/architecture.md"),
  )?.[1];
  const rows = (table ?? "")
    .split("\n")
    .slice(3)
    .map((line) => line.split("|").map((cell) => cell.trim()))
    .map(([, folder, , may]) => [folder, may]);
  expect(rows).toEqual(expected);
});

function imports({ may, wireMay }: Wall): string {
  const own = may.map((each) => (each === "." ? "its own files" : each)).join(", ");
  return wireMay === undefined ? own : `${own}; handlers: ${wireMay.join(", ")}`;
}
