import type { HeartbeatRecord } from "../device/state/heartbeat-record.ts";
import type { HeartbeatField } from "../heartbeat/heartbeat-fields.ts";
import { HeartbeatHistory } from "../heartbeat/heartbeat-history.ts";
import type { Clock } from "../infra/clock.ts";
import type { HeavyReads } from "../infra/database/heavy-reads.ts";

/** Which heartbeats to write, and how. */
export interface ExportJob {
  readonly deviceId: string;
  readonly from: Date | undefined;
  /** By default now. */
  readonly to: Date | undefined;
  readonly fields: readonly HeartbeatField[] | undefined;
  /** What comes before the first line. */
  readonly header: string;
  readonly line: (record: HeartbeatRecord) => string;
  readonly signal: AbortSignal;
}

/** Writes a device's heartbeats as text, however many there are. */
export class HeartbeatExport {
  readonly #reads: Pick<HeavyReads, "for">;
  readonly #clock: Clock;

  constructor(reads: Pick<HeavyReads, "for">, clock: Clock) {
    this.#reads = reads;
    this.#clock = clock;
  }

  /**
   * The text in pieces of whole lines, of {@link pieceBytes} or one longer line. Nothing is read ahead of who takes them,
   * so memory does not depend on how many heartbeats there are, or on how slow the reader is.
   */
  async *write(job: ExportJob): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    let piece: string[] = [job.header];
    let bytes = Buffer.byteLength(job.header);
    const to = job.to ?? this.#clock.now();
    const history = new HeartbeatHistory(this.#reads.for(job), this.#clock);
    for await (const records of history.scan({ ...job, to })) {
      job.signal.throwIfAborted();
      for (const record of records) {
        const line = job.line(record);
        const lineBytes = Buffer.byteLength(line);
        if (bytes > 0 && bytes + lineBytes > pieceBytes) {
          yield encoded(piece);
          piece = [];
          bytes = 0;
        }
        piece.push(line);
        bytes += lineBytes;
      }
    }
    if (bytes > 0) yield encoded(piece);
  }
}

/** Fits into one frame of most transports, and spares them from many small ones. */
const pieceBytes = 64 * 1024;

function encoded(piece: readonly string[]): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(piece.join(""));
}
