import type pg from "pg";
import type { HeartbeatRecord } from "../device/state/heartbeat-record.ts";
import { sessionOn } from "../infra/database/session.ts";
import { sql } from "../infra/database/sql.ts";
import { copyStatement, type HeartbeatCopyEncoder } from "./copy-encoder.ts";

/** What one transaction is to store of one device, all of one epoch and one stream. */
export interface DeviceRows {
  readonly deviceId: string;
  readonly epoch: number;
  /** Whether the device's own epoch is meant instead, whatever it is: see {@link Submission.followsEpoch}. */
  readonly followsEpoch: boolean;
  /** The generation of the stream that they came on; 0 for single calls, which no stream supersedes. */
  readonly generation: number;
  /** Rising by sequence, none twice. */
  readonly records: readonly HeartbeatRecord[];
  /** Heartbeats without a number, which are numbered behind all others. */
  readonly unnumbered: readonly HeartbeatRecord[];
}

/** What became of one device's heartbeats. */
export type DeviceVerdict =
  /** `records` were stored, the others had been before. `mark` is the highest sequence that is stored now. */
  | {
      readonly kind: "stored";
      readonly records: readonly HeartbeatRecord[];
      readonly epoch: number;
      readonly mark: number;
    }
  /** The device has no row in device_ingest yet: see {@link registerDevices}. Nothing was stored of it. */
  | { readonly kind: "unregistered" }
  /** The epoch has no numbers left for heartbeats without one. Nothing was stored. */
  | { readonly kind: "full"; readonly epoch: number }
  /** The device has used a later epoch since. */
  | { readonly kind: "stale_epoch"; readonly epoch: number }
  /** A newer stream of the device took over. */
  | { readonly kind: "superseded"; readonly generation: number };

/** A transaction that failed. */
export class IngestFailure extends Error {
  override readonly name = "IngestFailure";
  /** Whether the server may have committed it all the same: the connection was lost before the answer came. */
  readonly maybeCommitted: boolean;

  constructor(cause: unknown, maybeCommitted: boolean) {
    super("could not store heartbeats", { cause });
    this.maybeCommitted = maybeCommitted;
  }
}

/**
 * Stores heartbeats exactly once: locks the devices' marks in the order of their ids, moves them, and copies what lay
 * above them, in one transaction. Throws {@link IngestFailure}; then nothing was stored, unless it says otherwise. The
 * verdicts come in the order of `devices`.
 *
 * All of it is one message to the server: `BEGIN; move marks; COPY; COMMIT`. The marks' answer arrives before COPY asks
 * for its data, so the rows can still be chosen by it. One wait for the server instead of five; measured with 2,000
 * rows a flush, that and the binary format halve Node's CPU a row against pg-copy-streams with parametrised statements.
 */
export async function storeHeartbeats(
  pool: pg.Pool,
  encoder: HeartbeatCopyEncoder,
  devices: readonly DeviceRows[],
): Promise<readonly DeviceVerdict[]> {
  const query = new IngestQuery(encoder, devices);
  let client: pg.PoolClient;
  try {
    client = await pool.connect();
  } catch (error) {
    throw new IngestFailure(error, false);
  }
  try {
    client.query(query);
    const verdicts = await query.done;
    client.release();
    return verdicts;
  } catch (error) {
    // After a failed COPY nobody knows for sure what the connection expects next.
    client.release(true);
    throw new IngestFailure(error, query.maybeCommitted);
  }
}

/** Makes rows in device_ingest for devices that have none. */
export async function registerDevices(pool: pg.Pool, deviceIds: readonly string[]): Promise<void> {
  await sessionOn(pool).run(registerSql, [deviceIds]);
}

const registerSql = sql`
  INSERT INTO device_ingest (device_id) SELECT id FROM unnest($1::uuid[]) AS t(id) ORDER BY id
  ON CONFLICT (device_id) DO NOTHING`;

/** What of pg's connection this uses beyond its published type. */
interface Wire {
  readonly stream: { cork(): void; uncork(): void; write(bytes: Uint8Array): boolean };
  query(text: string): void;
}

/** The transaction as a query of pg's own interface for queries ("Submittable"), the one that pg-copy-streams uses. */
class IngestQuery implements pg.Submittable {
  readonly done: Promise<readonly DeviceVerdict[]>;
  /** Set once the server has everything that it needs to commit. */
  maybeCommitted = false;
  /** pg replaces this by one that ends its own time-out, and calls it with an error when time runs out. */
  callback: (error?: unknown) => void = () => undefined;
  readonly #encoder: HeartbeatCopyEncoder;
  readonly #devices: readonly DeviceRows[];
  readonly #text: string;
  readonly #settle: PromiseWithResolvers<readonly DeviceVerdict[]>;
  #verdicts: readonly DeviceVerdict[] = [];
  #data: Buffer | undefined;

  constructor(encoder: HeartbeatCopyEncoder, devices: readonly DeviceRows[]) {
    this.#encoder = encoder;
    this.#devices = devices;
    this.#settle = Promise.withResolvers();
    this.done = this.#settle.promise;
    // Nearly always all rows are new: they are encoded before the marks are locked. This also proves that every device
    // id is a UUID, without which the text below would not be safe.
    this.#data = encode(encoder, devices.map(allOf));
    this.#text = `BEGIN; ${useIndexes}; ${moveMarks(devices)}; ${copyStatement}; COMMIT`;
  }

  submit(connection: pg.Connection): void {
    connection.query(this.#text);
  }

  handleRowDescription(): void {
    // The only row has fixed columns.
  }

  handleDataRow(message: { readonly fields: readonly (string | null)[] }): void {
    const [exceptions = null, present = null] = message.fields;
    if (exceptions === null && present === null) return;
    this.#verdicts = judge(this.#devices, parsed(exceptions) ?? [], parsed(present));
    this.#data = undefined;
  }

  handleCopyInResponse(connection: Wire): void {
    if (this.#verdicts.length === 0) this.#verdicts = this.#devices.map(storedWhole);
    const data = this.#data ?? encode(this.#encoder, this.#verdicts.map(storedOf));
    const { stream } = connection;
    const head = Buffer.allocUnsafe(5);
    head[0] = copyDataCode;
    head.writeUInt32BE(data.length + 4, 1);
    this.maybeCommitted = true;
    stream.cork();
    stream.write(head);
    stream.write(data);
    stream.write(copyDone);
    stream.uncork();
  }

  handleCommandComplete(): void {
    // Of each statement in turn; ReadyForQuery ends them all.
  }

  handleReadyForQuery(): void {
    this.callback();
    this.#settle.resolve(this.#verdicts);
  }

  handleError(error: unknown): void {
    this.callback();
    // An answer that is an error is certain: the server rolled back.
    if (isServerError(error)) this.maybeCommitted = false;
    this.#settle.reject(error);
  }
}

/**
 * For a batch of some thousand devices the planner likes to hash the whole table, twice, which grows with the fleet: 14 us
 * a row with 100,000 devices. Looking each one up costs 6 us a row, whatever the size of the fleet.
 */
const useIndexes = "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off";

/** The highest sequence: beyond it JavaScript's numbers are no longer whole. */
const maxSequence = Number.MAX_SAFE_INTEGER;

const copyDataCode = 0x64;
const copyDone = Buffer.from([0x63, 0, 0, 0, 4]);

/**
 * Locks, judges and moves all marks, and returns only what is out of the ordinary: the first column lists
 * `[position, epoch, last sequence, stream generation]` of the devices whose mark was not simply below all that they
 * sent; the second the positions of all devices, if some of them have no row.
 *
 * The subquery locks the rows in the order of their ids, so two replicas that share devices cannot stop each other.
 */
function moveMarks(devices: readonly DeviceRows[]): string {
  let ids = "";
  let epochs = "";
  let firsts = "";
  let lasts = "";
  let unnumbered = "";
  let generations = "";
  let follows = "";
  let separator = "";
  for (const { deviceId, epoch, followsEpoch, generation, records, unnumbered: zeros } of devices) {
    ids += separator + deviceId;
    epochs += separator + epoch;
    firsts += separator + (records[0]?.sequence ?? 0);
    lasts += separator + (records.at(-1)?.sequence ?? 0);
    unnumbered += separator + zeros.length;
    generations += separator + generation;
    follows += separator + followsEpoch;
    separator = ",";
  }
  return `WITH moved AS (
    UPDATE device_ingest d
    SET epoch = CASE WHEN l.refused THEN d.epoch ELSE l.epoch END,
        last_sequence = CASE WHEN l.refused THEN d.last_sequence ELSE greatest(l.last, l.base) + l.unnumbered END,
        updated_at = now()
    FROM (
      SELECT i.*, e.epoch, o.epoch AS old_epoch, o.last_sequence AS old_last, o.stream_generation AS old_generation,
        i.told < o.epoch AND NOT i.follows OR (i.generation > 0 AND i.generation < o.stream_generation)
          OR greatest(i.last, b.base) + i.unnumbered > ${maxSequence} AS refused,
        b.base
      FROM unnest('{${ids}}'::uuid[], '{${epochs}}'::int[], '{${firsts}}'::bigint[], '{${lasts}}'::bigint[],
        '{${unnumbered}}'::int[], '{${generations}}'::bigint[], '{${follows}}'::boolean[])
        WITH ORDINALITY AS i (device_id, told, first, last, unnumbered, generation, follows, position)
      JOIN device_ingest o ON o.device_id = i.device_id
      CROSS JOIN LATERAL (SELECT CASE WHEN i.follows THEN greatest(o.epoch, 1) ELSE i.told END AS epoch) e
      CROSS JOIN LATERAL (SELECT CASE WHEN e.epoch = o.epoch THEN o.last_sequence ELSE 0 END AS base) b
      ORDER BY o.device_id
      FOR UPDATE OF o
    ) l
    WHERE d.device_id = l.device_id
    RETURNING l.position, l.old_epoch, l.old_last, l.old_generation,
      NOT l.refused AND l.unnumbered = 0 AND l.first > l.base AND l.epoch = l.told AS ordinary
  )
  SELECT (SELECT json_agg(json_build_array(position, old_epoch, old_last, old_generation)) FROM moved WHERE NOT ordinary),
    CASE WHEN (SELECT count(*) FROM moved) < ${devices.length} THEN (SELECT coalesce(json_agg(position), '[]') FROM moved) END`;
}

/** Decides as the SQL above did, for the devices that it did not find ordinary. */
function judge(
  devices: readonly DeviceRows[],
  exceptions: readonly (readonly [number, number, number, number])[],
  present: readonly number[] | undefined,
): DeviceVerdict[] {
  const verdicts: DeviceVerdict[] =
    present === undefined ? devices.map(storedWhole) : devices.map(() => ({ kind: "unregistered" }));
  for (const position of present ?? []) {
    const device = devices[position - 1];
    if (device !== undefined) verdicts[position - 1] = storedWhole(device);
  }
  for (const [position, epoch, last, generation] of exceptions) {
    const device = devices[position - 1];
    if (device !== undefined) verdicts[position - 1] = judgeOne(device, { epoch, last, generation });
  }
  return verdicts;
}

function judgeOne(
  device: DeviceRows,
  old: { readonly epoch: number; readonly last: number; readonly generation: number },
): DeviceVerdict {
  const epoch = device.followsEpoch ? Math.max(old.epoch, 1) : device.epoch;
  if (epoch < old.epoch) return { kind: "stale_epoch", epoch: old.epoch };
  if (device.generation > 0 && device.generation < old.generation) {
    return { kind: "superseded", generation: old.generation };
  }
  const base = epoch === old.epoch ? old.last : 0;
  let mark = Math.max(base, device.records.at(-1)?.sequence ?? 0);
  if (mark + device.unnumbered.length > maxSequence) return { kind: "full", epoch };
  const fresh = inEpoch(device.records, epoch).filter(({ sequence }) => sequence > base);
  const numbered = inEpoch(device.unnumbered, epoch).map((record) => ({ ...record, sequence: ++mark }));
  return { kind: "stored", records: numbered.length === 0 ? fresh : [...fresh, ...numbered], epoch, mark };
}

/** The records, counted in an epoch. */
export function inEpoch(records: readonly HeartbeatRecord[], epoch: number): readonly HeartbeatRecord[] {
  return records.map((record) => (record.epoch === epoch ? record : { ...record, epoch }));
}

function storedWhole({ epoch, records }: DeviceRows): DeviceVerdict {
  return { kind: "stored", records, epoch, mark: records.at(-1)?.sequence ?? 0 };
}

function allOf({ records, unnumbered }: DeviceRows): readonly HeartbeatRecord[] {
  return unnumbered.length === 0 ? records : [...records, ...unnumbered];
}

function storedOf(verdict: DeviceVerdict): readonly HeartbeatRecord[] {
  return verdict.kind === "stored" ? verdict.records : [];
}

function encode(encoder: HeartbeatCopyEncoder, rows: readonly (readonly HeartbeatRecord[])[]): Buffer {
  encoder.begin();
  for (const records of rows) for (const record of records) encoder.add(record);
  return encoder.finish();
}

function parsed<T>(json: string | null): readonly T[] | undefined {
  return json === null ? undefined : (JSON.parse(json) as readonly T[]);
}

/** An ErrorResponse of the server has a severity; a lost connection or our own time-out has not. */
function isServerError(error: unknown): boolean {
  return typeof error === "object" && error !== null && "severity" in error;
}
