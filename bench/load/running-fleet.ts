import pg from "pg";
import { RpcClient } from "../../src/client/rpc-client.ts";
import type { MeasuredProcess } from "../harness/measured-process.ts";
import { PostgresCpu } from "../harness/postgres-cpu.ts";
import { type ProductReady, startProduct } from "../processes.ts";
import { seedDevices, seedFleet } from "./fleet.ts";

/** The service in a process of its own with a seeded fleet, an administrator's client and a connection to its database. */
export interface RunningFleet extends AsyncDisposable {
  readonly devices: number;
  readonly product: MeasuredProcess<ProductReady>;
  readonly admin: RpcClient;
  readonly database: pg.Client;
  readonly postgres: PostgresCpu;
}

/**
 * Starts the service over `devices` devices, whose tables are analysed and vacuumed as they would be after a while. With
 * `callers`, the default, they have credentials and so can call.
 */
export async function startFleet(
  devices: number,
  { callers = true, settings = {} }: { callers?: boolean; settings?: Record<string, string> } = {},
): Promise<RunningFleet> {
  await using stack = new AsyncDisposableStack();
  const product = stack.use(await startProduct(settings));
  const { databaseUrl, grpcAddress, adminToken } = product.ready;
  await (callers ? seedFleet : seedDevices)(databaseUrl, devices);
  const admin = stack.use(new RpcClient({ address: grpcAddress, token: adminToken }));
  const database = new pg.Client({ connectionString: databaseUrl });
  await database.connect();
  stack.defer(() => database.end());
  await database.query("VACUUM (ANALYZE) devices, device_state");
  const postgres = await PostgresCpu.of(database);
  const owned = stack.move();
  return { devices, product, admin, database, postgres, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** A large fleet, without credentials, that several benches share, since it takes a while to seed; made when the first one asks for it. */
export class SharedFleet implements AsyncDisposable {
  readonly #devices: number;
  #fleet: Promise<RunningFleet> | undefined;

  constructor(devices: number) {
    this.#devices = devices;
  }

  /** The fleet, running. It is disposed of with this object, not by who asked. */
  open(): Promise<RunningFleet> {
    this.#fleet ??= startFleet(this.#devices, { callers: false });
    return this.#fleet;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await (await this.#fleet)?.[Symbol.asyncDispose]();
  }
}
