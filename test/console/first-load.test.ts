import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";

const folder = join(import.meta.dirname, "../../dist/console");

describe("the built console", () => {
  it("loads its shell in under 250 KB, compressed with gzip as on plain HTTP", async () => {
    const html = await readFile(join(folder, "index.html"), "utf8");
    const names = [...html.matchAll(/(?:src|href)="\/(assets\/[^"]+\.(?:js|css))"/g)].map(
      ([, name]) => name ?? "",
    );
    expect(names.length).toBeGreaterThan(1);
    const contents = await Promise.all(names.map((name) => readFile(join(folder, name))));
    const bytes = [Buffer.from(html), ...contents].reduce((sum, each) => sum + gzipSync(each).length, 0);
    expect(bytes).toBeLessThan(250_000);
  });

  it("names nothing that lies elsewhere", async () => {
    for (const name of await readdir(join(folder, "assets"))) {
      if (!/\.(?:css|html)$/.test(name)) continue;
      expect(await readFile(join(folder, "assets", name), "utf8")).not.toMatch(/url\(["']?https?:/);
    }
    expect(await readFile(join(folder, "index.html"), "utf8")).not.toMatch(/https?:\/\//);
  });
});
