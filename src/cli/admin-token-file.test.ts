import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { adminTokenFile, readAdminToken, saveAdminToken } from "./admin-token-file.ts";

it("saves a token for its user alone, also after a start that was killed while it saved one", async () => {
  const folder = await mkdtemp(join(tmpdir(), "device-ota-token-"));
  try {
    // What such a start has left, by the process id that a container's next one has again.
    const leftover = `${adminTokenFile(folder)}.${process.pid}`;
    await writeFile(leftover, "ota_op_o");
    await saveAdminToken(folder, "ota_op_one");
    await saveAdminToken(folder, "ota_op_two");
    expect(await readAdminToken(folder)).toBe("ota_op_two");
    expect((await stat(adminTokenFile(folder))).mode & 0o777).toBe(0o600);
    expect((await readdir(folder)).toSorted()).toEqual(["admin-token", `admin-token.${process.pid}`]);
  } finally {
    await rm(folder, { recursive: true });
  }
});
