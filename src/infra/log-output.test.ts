import { describe, expect, it } from "vitest";
import { LogOutput, maxWaitingBytes } from "./log-output.ts";

/** An output that takes `room` more bytes and then fails. */
function outputWith(room: number) {
  let text = "";
  const disk = { room };
  const output = new LogOutput((bytes) => {
    const taken = Math.min(disk.room, bytes.length);
    if (taken === 0) throw Object.assign(new Error("no space"), { code: "ENOSPC" });
    disk.room -= taken;
    text += Buffer.from(bytes.subarray(0, taken)).toString();
    return taken;
  });
  return { output, disk, text: () => text };
}

describe("LogOutput", () => {
  it("writes lines at once", () => {
    const { output, text } = outputWith(Infinity);
    output.write("a\n");
    output.write("b\n");
    expect(text()).toBe("a\nb\n");
  });

  it("keeps lines, and the rest of one, until there is room, in order", async () => {
    const { output, disk, text } = outputWith(3);
    for (const line of ["one\n", "two\n", "three\n"]) output.write(line);
    expect(text()).toBe("one");
    disk.room = 3;
    await expect.poll(text).toBe("one\ntw");
    disk.room = Infinity;
    await expect.poll(text).toBe("one\ntwo\nthree\n");
    output.write("four\n");
    expect(text()).toBe("one\ntwo\nthree\nfour\n");
    expect(output.droppedLines).toBe(0);
  });

  it("drops what is more than it may keep, counts it, and says so when there is room", async () => {
    const { output, disk, text } = outputWith(0);
    const line = `${"x".repeat(1_023)}\n`;
    for (let written = 0; written < maxWaitingBytes; written += line.length) output.write(line);
    output.write("lost\n");
    output.write("lost too\n");
    expect(output.droppedLines).toBe(2);
    disk.room = Infinity;
    await expect.poll(text).toContain('"lines":2,"msg":"lines of the log were lost"}\n');
    expect(text()).not.toContain("lost too");
    expect(text().length).toBeGreaterThan(maxWaitingBytes);
  });

  it("gives up what cannot be written when it is closed", async () => {
    const { output, text } = outputWith(0);
    output.write("never\n");
    await output[Symbol.asyncDispose]();
    output.write("after\n");
    expect(text()).toBe("");
  });
});
