import { describe, expect, it } from "vitest";
import { createLogger, REDACTED } from "./logger.ts";

function logTo(pretty: boolean): { logger: ReturnType<typeof createLogger>; text: () => string } {
  let text = "";
  const write = (line: string): void => {
    text += line;
  };
  return { logger: createLogger({ level: "info", pretty, destination: { write } }), text: () => text };
}

describe("logger", () => {
  it("writes one JSON object a line and drops what is below its level", () => {
    const { logger, text } = logTo(false);
    logger.info({ deviceName: "a\nb\u001b[31m" }, "first\nline");
    logger.debug("dropped");
    logger.error({ err: new Error("outer", { cause: new Error("inner") }) }, "second");

    const lines = text().trimEnd().split("\n");
    expect(lines).toHaveLength(2);
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({ msg: "first\nline", deviceName: "a\nb\u001b[31m" });
    expect(JSON.parse(lines[1] ?? "")).toMatchObject({
      err: { message: "outer", cause: { message: "inner" } },
    });
  });

  it("redacts secrets at every depth at which requests and settings nest", () => {
    const { logger, text } = logTo(false);
    logger.info({ token: "s3cr3t-1", headers: { authorization: "Bearer s3cr3t-2" } });
    logger.info({ config: { s3: { secretKey: "s3cr3t-3" } }, enrolmentKey: "s3cr3t-4" });

    expect(text()).not.toContain("s3cr3t");
    expect(text()).toContain(REDACTED);
  });
});
