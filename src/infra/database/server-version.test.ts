import { expect, it } from "vitest";
import { requireServerVersion } from "./server-version.ts";
import type { Session } from "./session.ts";

function server(number: number, text: string): Session {
  return {
    query: <Row>() => Promise.resolve([{ number, text }] as Row[]),
    run: () => Promise.resolve(0),
  };
}

it.each([
  [160_000, "16.0"],
  [180_001, "18.1"],
  [190_000, "19beta1"],
])("takes a server of version %i", async (number, text) => {
  await expect(requireServerVersion(server(number, text))).resolves.toBeUndefined();
});

it.each([
  [150_018, "15.18 (Debian 15.18-0+deb12u1)"],
  [90_624, "9.6.24"],
])("refuses a server of version %i, and says what is needed", async (number, text) => {
  await expect(requireServerVersion(server(number, text))).rejects.toThrow(
    `the database is PostgreSQL ${text}, and the service needs 16 or newer`,
  );
});
