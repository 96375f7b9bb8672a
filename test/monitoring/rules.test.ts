import { spawnSync } from "node:child_process";
import { readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { createProgram } from "../../src/cli/command-line.ts";
import { createTerminal } from "../../src/cli/terminal.ts";
import { root } from "../docs/pages.ts";

/** What Prometheus itself says of the rules and the dashboard; promtool is in Debian's package prometheus, which CI installs. */

const folder = join(root, "deploy/monitoring");
const missing = spawnSync("promtool", ["--version"]).error !== undefined;
const needsPromtool = missing ? "promtool is not installed (Debian: apt install prometheus)" : "";

function promtool(...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync("promtool", args, { cwd: folder, encoding: "utf8" });
  return status === 0 ? "SUCCESS" : `${stdout}${stderr}`;
}

it("the alert rules are rules", ({ skip }) => {
  skip(missing, needsPromtool);
  expect(promtool("check", "rules", "alerts.yml")).toBe("SUCCESS");
});

it("the alert rules do what their tests say", ({ skip }) => {
  skip(missing, needsPromtool);
  expect(promtool("test", "rules", "alerts.test.yml")).toBe("SUCCESS");
});

it("the alerts name commands of the command line that exist", async () => {
  const stream = { write: () => undefined };
  const program = createProgram({
    terminal: createTerminal(stream, stream, {}),
    signal: new AbortController().signal,
    env: {},
  });
  const text = await readFile(join(folder, "alerts.yml"), "utf8");
  const named = [...text.matchAll(/device-ota ([a-z-]+) ([a-z-]+)/g)].map(([, group, verb]) => [group, verb]);
  expect(named.length).toBeGreaterThan(0);
  const missingCommands = named.filter(([group, verb]) => {
    const found = program.commands.find((command) => command.name() === group);
    return found?.commands.some((command) => command.name() === verb) !== true;
  });
  expect(missingCommands).toEqual([]);
});

it("the dashboard's queries can be read", async ({ skip }) => {
  skip(missing, needsPromtool);
  const { panels } = JSON.parse(await readFile(join(folder, "grafana-dashboard.json"), "utf8")) as Dashboard;
  const expressions = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
  expect(expressions.length).toBeGreaterThan(40);
  const rules = expressions.map((expr, index) => ({
    record: `dashboard:query_${index}`,
    expr: expr.replaceAll("$__rate_interval", "5m"),
  }));
  const file = join(tmpdir(), `dashboard-queries-${process.pid}.json`);
  try {
    await writeFile(file, JSON.stringify({ groups: [{ name: "dashboard", rules }] }));
    expect(promtool("check", "rules", file)).toBe("SUCCESS");
  } finally {
    await rm(file, { force: true });
  }
});

it("the dashboard has no two panels with one id or in one place", async () => {
  const { panels } = JSON.parse(await readFile(join(folder, "grafana-dashboard.json"), "utf8")) as Dashboard;
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
  expect(new Set(panels.map(({ gridPos: { x, y } }) => `${x} ${y}`)).size).toBe(panels.length);
});

interface Dashboard {
  readonly panels: readonly {
    readonly id: number;
    readonly gridPos: { readonly x: number; readonly y: number };
    readonly targets?: readonly { readonly expr: string }[];
  }[];
}
