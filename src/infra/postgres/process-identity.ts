import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { Logger } from "pino";
import { EmbeddedPostgresError } from "./embedded-postgres-error.ts";

const execFileAsync = promisify(execFile);

/** As whom PostgreSQL's programs run. */
export interface ProcessIdentity {
  /** The user to switch to before starting: set when the service is root, which PostgreSQL refuses to run as. */
  readonly user?: PosixUser;
  /** Who owns the files that the programs read and write, where that is not the service's own user. */
  readonly owner?: PosixUser;
  /** A command that the program is started through, or nothing. It must `exec`, so that the process id stays. */
  readonly prefix: readonly string[];
}

/** Numeric ids of a user and its primary group. */
interface PosixUser {
  readonly uid: number;
  readonly gid: number;
}

/**
 * Chooses the identity: the service's own user, or, for root, the system user `postgres`, made if it is missing.
 *
 * That user must be able to reach `paths`. Under a home folder closed to others (such as `/root`) it cannot; then the
 * programs keep one capability of root, the right to pass closed folders, through `setpriv` of util-linux. Where that
 * is not to be had either, the error says which path is out of reach.
 */
export async function choosePostgresIdentity(
  paths: readonly string[],
  logger: Logger,
): Promise<ProcessIdentity> {
  if (process.getuid?.() !== 0) return { prefix: [] };
  const user = (await lookUp(POSTGRES_USER)) ?? (await create(POSTGRES_USER, logger));
  if (await canReach({ user, prefix: [] }, paths)) return { user, owner: user, prefix: [] };
  for (const capability of ["dac_read_search", "dac_override"]) {
    const identity = { owner: user, prefix: throughSetpriv(user, capability) };
    if (!(await canReach(identity, paths))) continue;
    logger.warn(
      { user: POSTGRES_USER, capability, paths },
      "the folders of the embedded PostgreSQL are closed to its user: it runs with a capability to pass them",
    );
    return identity;
  }
  throw new EmbeddedPostgresError(
    `PostgreSQL does not run as root, and the user ${POSTGRES_USER} cannot reach ${paths.join(" and ")}; ` +
      "open the folders above to others (chmod o+x), or run the service as an ordinary user",
  );
}

const POSTGRES_USER = "postgres";

/** These helpers answer in milliseconds; the limit only keeps a broken name service from hanging the start. */
const HELPER_TIMEOUT_MS = 10_000;

async function lookUp(name: string): Promise<PosixUser | undefined> {
  try {
    const [uid, gid] = await Promise.all(
      ["-u", "-g"].map(async (flag) => {
        const { stdout } = await execFileAsync("id", [flag, name], { timeout: HELPER_TIMEOUT_MS });
        return Number.parseInt(stdout, 10);
      }),
    );
    return uid === undefined || gid === undefined ? undefined : { uid, gid };
  } catch {
    return undefined;
  }
}

async function create(name: string, logger: Logger): Promise<PosixUser> {
  const flags = ["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"];
  let cause: unknown;
  try {
    await execFileAsync("useradd", [...flags, "--shell", "/usr/sbin/nologin", name], {
      timeout: HELPER_TIMEOUT_MS,
      // `su` without a login leaves root with a user's PATH, on which this program is not.
      env: { ...process.env, PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin` },
    });
    logger.info({ user: name }, "made a system user for the embedded PostgreSQL");
  } catch (error) {
    cause = error;
  }
  // Another start may have made it at the same moment; what counts is that it is there.
  const user = await lookUp(name);
  if (user !== undefined) return user;
  throw new EmbeddedPostgresError(
    `PostgreSQL does not run as root, and the user ${name} cannot be made; make it (useradd --system ${name}), ` +
      "run the service as an ordinary user, or set DEVICE_OTA_DATABASE_URL",
    { cause },
  );
}

function throughSetpriv(user: PosixUser, capability: string): string[] {
  return [
    "setpriv",
    `--reuid=${user.uid}`,
    `--regid=${user.gid}`,
    "--clear-groups",
    // PostgreSQL asks access(2) whether it may run its own programs, and that call overlooks the capabilities of everybody
    // but root unless this bit is set (capabilities(7)).
    "--securebits=+no_setuid_fixup",
    `--inh-caps=-all,+${capability}`,
    `--ambient-caps=-all,+${capability}`,
    `--bounding-set=-all,+${capability}`,
    "--no-new-privs",
    "--",
  ];
}

async function canReach(identity: ProcessIdentity, paths: readonly string[]): Promise<boolean> {
  const [file, ...args] = [
    ...identity.prefix,
    "sh",
    "-c",
    'for path; do test -x "$path" || exit 1; done',
    "sh",
    ...paths,
  ];
  try {
    await execFileAsync(file as string, args, { ...identity.user, cwd: "/", timeout: HELPER_TIMEOUT_MS });
    return true;
  } catch {
    return false;
  }
}
