import pg from "pg";

/**
 * What devices sent and what they were told, as they saw it, to be compared with the table at the end. The promise that
 * it checks: what was acknowledged is stored exactly once, what was refused is not stored, nothing is stored twice, and
 * no acknowledgement takes an earlier one back.
 */
export class DeliveryHistory {
  readonly #epochs = new Map<string, EpochHistory>();
  readonly #violations: string[] = [];

  /** A heartbeat leaves the device, for the first time or again. */
  sent(deviceId: string, epoch: number, sequence: number): void {
    const history = this.#of(deviceId, epoch);
    if (history.sent.has(sequence)) history.resent++;
    history.sent.add(sequence);
    history.highestSent = Math.max(history.highestSent, sequence);
  }

  /** A stream was welcomed. */
  welcomed(deviceId: string, epoch: number, durableSequence: number): void {
    const history = this.#of(deviceId, epoch);
    for (let sequence = durableSequence + 1; sequence <= history.acked; sequence++) {
      if (history.sent.has(sequence) && !history.rejected.has(sequence)) {
        this.#violations.push(`${history.name}: welcome forgets ${sequence}, which was acknowledged`);
      }
    }
    history.durable = Math.max(history.durable, durableSequence);
    history.ackedOnStream = 0;
  }

  /** An ack arrived, of the stream that was welcomed last. */
  acked(deviceId: string, epoch: number, through: number, rejected: readonly number[] = []): void {
    const history = this.#of(deviceId, epoch);
    for (const sequence of rejected) history.rejected.add(sequence);
    if (through < history.ackedOnStream) {
      this.#violations.push(`${history.name}: ack of ${through} after ${history.ackedOnStream}`);
    }
    if (through > Math.max(history.highestSent, history.durable)) {
      this.#violations.push(`${history.name}: ack of ${through}, which was never sent`);
    }
    history.ackedOnStream = Math.max(history.ackedOnStream, through);
    history.acked = Math.max(history.acked, through);
  }

  /** Heartbeats that were acknowledged as stored or refused, of all devices. */
  get ackedCount(): number {
    let count = 0;
    for (const { sent, acked } of this.#epochs.values())
      for (const sequence of sent) if (sequence <= acked) count++;
    return count;
  }

  /** Heartbeats that were sent more than once, of all devices. */
  get resentCount(): number {
    let count = 0;
    for (const { resent } of this.#epochs.values()) count += resent;
    return count;
  }

  /** Compares with the table, and returns all that breaks the promise: nothing, if all is well. */
  async check(databaseUrl: string): Promise<string[]> {
    const violations = [...this.#violations];
    const stored = await storedIn(databaseUrl, [...this.#epochs.values()]);
    for (const [key, history] of this.#epochs) {
      const { sequences, mark } = stored.get(key) ?? { sequences: [], mark: undefined };
      for (const problem of compare(history, sequences, mark)) violations.push(`${history.name}: ${problem}`);
    }
    return violations;
  }

  #of(deviceId: string, epoch: number): EpochHistory {
    const key = keyOf(deviceId, epoch);
    let history = this.#epochs.get(key);
    if (history === undefined) {
      history = {
        name: `device ${deviceId} epoch ${epoch}`,
        deviceId,
        sent: new Set(),
        rejected: new Set(),
        resent: 0,
        highestSent: 0,
        acked: 0,
        ackedOnStream: 0,
        durable: 0,
      };
      this.#epochs.set(key, history);
    }
    return history;
  }
}

interface EpochHistory {
  readonly name: string;
  readonly deviceId: string;
  readonly sent: Set<number>;
  readonly rejected: Set<number>;
  resent: number;
  highestSent: number;
  acked: number;
  ackedOnStream: number;
  durable: number;
}

interface Stored {
  readonly sequences: readonly number[];
  /** The high-water mark; undefined if the device is in a later epoch. */
  readonly mark: number | undefined;
}

function* compare(
  history: EpochHistory,
  sequences: readonly number[],
  mark: number | undefined,
): Generator<string> {
  const { sent, rejected, acked } = history;
  const found = new Set<number>();
  for (const sequence of sequences) {
    if (found.has(sequence)) yield `${sequence} is stored twice`;
    if (!sent.has(sequence)) yield `${sequence} is stored and was never sent`;
    if (rejected.has(sequence)) yield `${sequence} is stored and was refused`;
    if (mark !== undefined && sequence > mark)
      yield `${sequence} is stored above the mark ${mark}: a resend doubles it`;
    found.add(sequence);
  }
  for (const sequence of sent) {
    if (sequence <= acked && !found.has(sequence) && !rejected.has(sequence))
      yield `${sequence} is acknowledged and lost`;
  }
}

async function storedIn(
  databaseUrl: string,
  histories: readonly EpochHistory[],
): Promise<Map<string, Stored>> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const { rows } = await client.query<{
      id: string;
      epoch: number;
      sequences: string[];
      mark: string | null;
    }>(
      `SELECT h.device_id AS id, h.epoch, array_agg(h.sequence ORDER BY h.sequence) AS sequences,
         (SELECT i.last_sequence FROM device_ingest i WHERE i.device_id = h.device_id AND i.epoch = h.epoch) AS mark
       FROM device_heartbeats h WHERE h.device_id = ANY ($1::uuid[]) GROUP BY h.device_id, h.epoch`,
      [histories.map(({ deviceId }) => deviceId)],
    );
    return new Map(
      rows.map(({ id, epoch, sequences, mark }) => [
        keyOf(id, epoch),
        { sequences: sequences.map(Number), mark: mark === null ? undefined : Number(mark) },
      ]),
    );
  } finally {
    await client.end();
  }
}

function keyOf(deviceId: string, epoch: number): string {
  return `${deviceId} ${epoch}`;
}
