import { describe, expect, it } from "vitest";
import { LiveView } from "./live-view.ts";
import { renderFacts, renderTable } from "./table.ts";
import { createTerminal, type TerminalStream } from "./terminal.ts";

function sink(options: { isTTY?: boolean; columns?: number } = {}): TerminalStream & { text: string } {
  return {
    ...options,
    text: "",
    write(text) {
      this.text += text;
    },
  };
}

describe("createTerminal", () => {
  it.each([
    ["a terminal", true, {}, true, true],
    ["a pipe", false, {}, false, false],
    ["a terminal with NO_COLOR", true, { NO_COLOR: "1" }, true, false],
    ["a terminal with an empty NO_COLOR", true, { NO_COLOR: "" }, true, true],
    ["a pipe with FORCE_COLOR", false, { FORCE_COLOR: "1" }, false, true],
    ["NO_COLOR over FORCE_COLOR", false, { NO_COLOR: "1", FORCE_COLOR: "1" }, false, false],
    ["a dumb terminal", true, { TERM: "dumb" }, false, false],
  ])("knows what %s can show", (_what, isTTY, env, interactive, coloured) => {
    const terminal = createTerminal(sink({ isTTY }), sink(), env);
    expect(terminal.interactive).toBe(interactive);
    expect(terminal.paint("red", "x") !== "x").toBe(coloured);
  });

  it("keeps answers and notes apart", () => {
    const [out, err] = [sink(), sink()];
    const terminal = createTerminal(out, err, {});
    terminal.out("answer");
    terminal.note("note");
    expect([out.text, err.text]).toEqual(["answer\n", "note\n"]);
  });
});

describe("tables", () => {
  const terminal = createTerminal(sink(), sink(), {});

  it("align columns without rules or trailing blanks", () => {
    const table = renderTable(
      terminal,
      [
        { title: "name", text: ({ name }) => name },
        { title: "count", text: ({ count }) => String(count), align: "right" },
      ],
      [
        { name: "a", count: 1 },
        { name: "longer", count: 1000 },
      ],
    );
    expect(table.split("\n")).toEqual(["NAME    COUNT", "a           1", "longer   1000"]);
  });

  it("leave out facts that are not known", () => {
    expect(
      renderFacts(terminal, [
        ["id", "1"],
        ["expires", undefined],
        ["longer name", "x"],
      ]),
    ).toBe("id           1\nlonger name  x");
  });
});

describe("LiveView", () => {
  it("redraws in place and gives the cursor back", () => {
    const out = sink({ isTTY: true, columns: 80 });
    const view = new LiveView(createTerminal(out, sink(), {}));
    view.draw(["one", "two"]);
    view.draw(["three"]);
    view.close();
    expect(out.text).toBe(
      "\u001b[?25lone\u001b[K\ntwo\u001b[K\n\u001b[J" + "\u001b[2A\rthree\u001b[K\n\u001b[J" + "\u001b[?25h",
    );
  });

  it("cuts lines that would wrap", () => {
    const out = sink({ isTTY: true, columns: 10 });
    const view = new LiveView(createTerminal(out, sink(), {}));
    view.draw(["\u001b[31m0123456789abc\u001b[39m"]);
    expect(out.text).toContain("012345678\u001b[K\n");
  });

  it("writes nothing if nothing was drawn", () => {
    const out = sink({ isTTY: true });
    new LiveView(createTerminal(out, sink(), {})).close();
    expect(out.text).toBe("");
  });
});
