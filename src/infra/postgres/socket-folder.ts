import { chmod, chown, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Logger } from "pino";
import { EmbeddedPostgresError } from "./embedded-postgres-error.ts";
import type { ProcessIdentity } from "./process-identity.ts";

/**
 * The folder of the server's Unix socket, which only the user that PostgreSQL runs as may enter: nobody else can connect,
 * and nobody else can listen there in the server's place while it restarts.
 */
export interface SocketFolder {
  readonly path: string;
  /** Takes it away. */
  remove(): Promise<void>;
}

/**
 * Makes the folder anew: in the data folder, or, where a socket's path would be too long there, under a name of its own in
 * the system's folder for temporary files. The caller holds the data folder's lock, and no server runs on it.
 */
export async function makeSocketFolder(
  home: string,
  identity: ProcessIdentity,
  logger: Logger,
): Promise<SocketFolder> {
  const wanted = join(home, "socket");
  // What a killed service left behind, with its socket.
  await rm(wanted, { recursive: true, force: true });
  let path = wanted;
  if (fits(wanted)) await mkdir(wanted, { mode: 0o700 });
  else {
    // Made for its user alone, under a name that nobody could have taken before.
    path = await mkdtemp(join(tmpdir(), "device-ota-"));
    if (!fits(path)) {
      await rm(path, { recursive: true, force: true });
      throw new EmbeddedPostgresError(
        `a Unix socket's path may have ${longestPath} bytes, and neither ${wanted} nor ${path} leaves room for its name; ` +
          "choose a data folder with a shorter path, or a shorter TMPDIR",
      );
    }
    logger.info(
      { folder: path, dataDir: home },
      "the data folder's path is too long for a Unix socket: it is in the folder for temporary files",
    );
  }
  // Whatever the umask says.
  await chmod(path, 0o700);
  if (identity.owner !== undefined) await chown(path, identity.owner.uid, identity.owner.gid);
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}

/** The number in the socket's name. Nothing listens on a port of that number. */
export const SOCKET_PORT = 5432;

/** `sun_path` without the byte that ends it: 108 on Linux, 104 on macOS and the BSDs. */
const longestPath = process.platform === "linux" ? 107 : 103;

function fits(folder: string): boolean {
  return Buffer.byteLength(join(folder, `.s.PGSQL.${SOCKET_PORT}`)) <= longestPath;
}
