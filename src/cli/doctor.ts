import { existsSync } from "node:fs";
import { join } from "node:path";
import { objectStore } from "../assembly/object-store.ts";
import { type Config, ConfigError } from "../config.ts";
import { certificateFindings } from "../doctor/certificate-findings.ts";
import { databaseFindings } from "../doctor/database-findings.ts";
import { type Finding, reasonOf } from "../doctor/finding.ts";
import { descriptorFinding, diskFindings, storeFinding } from "../doctor/machine-findings.ts";
import { mailFinding } from "../doctor/mail-findings.ts";
import { CliError, exitCodes } from "./failure.ts";
import { cleanText, countText } from "./format.ts";
import { type LocalDatabaseOptions, localConfig, withLocalDatabase } from "./local-database.ts";
import type { Cli } from "./session.ts";
import type { Terminal, Tone } from "./terminal.ts";

/** What `doctor` is given. */
export type DoctorOptions = LocalDatabaseOptions & { readonly json?: boolean };

/** Prints what was found; fails with `precondition` if there is a fault. */
export async function doctor(cli: Cli, options: DoctorOptions): Promise<void> {
  const findings = await examine(cli, options);
  if (options.json === true) cli.terminal.out(JSON.stringify({ findings }, undefined, 2));
  else for (const finding of findings) cli.terminal.out(findingText(cli.terminal, finding));
  const faults = findings.filter(({ verdict }) => verdict === "fault").length;
  if (faults > 0) throw new CliError(exitCodes.precondition, countText(faults, "fault"));
}

/** Without settings nothing else can be looked at. */
async function examine(cli: Cli, options: DoctorOptions): Promise<Finding[]> {
  let config: Config;
  try {
    config = localConfig(cli, options);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const remedy = "docs/settings.md lists all settings with what they take";
    return error.faults.map((message) => ({ subject: "settings", verdict: "fault", message, remedy }));
  }
  const set = countText(config.settings.filter((setting) => setting.set).length, "setting");
  await using store = await objectStore(config);
  return [
    { subject: "settings", verdict: "ok", message: `${set} of DEVICE_OTA_…, the rest as by default` },
    // First: a data folder that cannot be written keeps the database from starting, and is easier to read here.
    ...(await diskFindings(config)),
    ...(await database(cli, options, config)),
    await storeFinding(store, config),
    ...(await certificateFindings(config)),
    await mailFinding(config),
    await descriptorFinding(),
  ];
}

async function database(cli: Cli, options: DoctorOptions, config: Config): Promise<Finding[]> {
  const { databaseUrl, postgresDir } = config;
  if (databaseUrl === undefined && !existsSync(join(postgresDir, "cluster")))
    return [{ subject: "database", verdict: "ok", message: `the first start makes one in ${postgresDir}` }];
  const findings: Finding[] = [];
  try {
    await withLocalDatabase(cli, { ...options, besideService: true }, async (urls) => {
      findings.push(...(await databaseFindings(urls)));
    });
  } catch (error) {
    findings.push({ subject: "database", verdict: "fault", message: reasonOf(error) });
  }
  return findings;
}

const tones = { ok: "green", warning: "yellow", fault: "red" } as const satisfies Record<string, Tone>;

function findingText(terminal: Terminal, { subject, verdict, message, remedy }: Finding): string {
  const head = `${terminal.paint(tones[verdict], verdict.padEnd(8))} ${subject.padEnd(12)} ${cleanText(message)}`;
  return remedy === undefined ? head : `${head}\n${" ".repeat(22)}→ ${remedy}`;
}
