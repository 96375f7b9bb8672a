/**
 * Rows in the binary format of COPY (PostgreSQL manual, COPY, "Binary Format"), in one buffer that is kept and reused.
 * Binary, because neither side then formats or parses numbers and times as text. Each value is written by the method named
 * after its type; undefined is NULL.
 *
 * The bytes that {@link finish} returns are valid until {@link begin} is called again.
 */
export class CopyBuffer {
  #bytes = Buffer.allocUnsafeSlow(initialBytes);
  #view = viewOf(this.#bytes);
  #length = 0;

  /** Starts over. */
  begin(): void {
    if (this.#bytes.length > maxKeptBytes) this.#resize(initialBytes);
    this.#length = header.copy(this.#bytes);
  }

  /** Begins a row with so many values. */
  row(columns: number): void {
    this.#reserve(maxFixedBytes);
    this.#int16(columns);
  }

  /** Ends the data and returns all of it. */
  finish(): Buffer {
    this.#reserve(2);
    this.#int16(endOfData);
    return this.#bytes.subarray(0, this.#length);
  }

  smallint(value: number | undefined): void {
    if (value === undefined) {
      this.#null();
      return;
    }
    this.#view.setInt32(this.#length, 2);
    this.#view.setInt16(this.#length + 4, value);
    this.#length += 6;
  }

  integer(value: number): void {
    this.#view.setInt32(this.#length, 4);
    this.#view.setInt32(this.#length + 4, value);
    this.#length += 8;
  }

  /** A whole number up to 2^53. */
  bigint(value: number | undefined): void {
    if (value === undefined) {
      this.#null();
      return;
    }
    const high = Math.floor(value / two32);
    this.#view.setInt32(this.#length, 8);
    this.#view.setInt32(this.#length + 4, high);
    this.#view.setUint32(this.#length + 8, value - high * two32);
    this.#length += 12;
  }

  timestamptz(value: Date | undefined): void {
    this.bigint(value === undefined ? undefined : (value.getTime() - postgresEpochMs) * 1_000);
  }

  real(value: number | undefined): void {
    if (value === undefined) {
      this.#null();
      return;
    }
    this.#view.setInt32(this.#length, 4);
    this.#view.setFloat32(this.#length + 4, value);
    this.#length += 8;
  }

  double(value: number | undefined): void {
    if (value === undefined) {
      this.#null();
      return;
    }
    this.#view.setInt32(this.#length, 8);
    this.#view.setFloat64(this.#length + 4, value);
    this.#length += 12;
  }

  boolean(value: boolean | undefined): void {
    if (value === undefined) {
      this.#null();
      return;
    }
    this.#view.setInt32(this.#length, 1);
    this.#bytes[this.#length + 4] = value ? 1 : 0;
    this.#length += 5;
  }

  uuid(text: string): void {
    this.#view.setInt32(this.#length, 16);
    let at = this.#length + 4;
    for (let index = 0; index < text.length; ) {
      const code = text.charCodeAt(index);
      if (code === dash) {
        index++;
        continue;
      }
      this.#bytes[at++] = (hexDigit(code) << 4) | hexDigit(text.charCodeAt(index + 1));
      index += 2;
    }
    if (at !== this.#length + 20) throw new RangeError(`not a UUID: ${text}`);
    this.#length = at;
  }

  text(text: string | undefined): void {
    if (text === undefined) {
      this.#null();
      return;
    }
    this.#reserve(text.length * maxBytesPerCodeUnit + maxFixedBytes);
    const start = this.#length + 4;
    let end = start;
    if (text.length <= longestCopiedText) {
      // For short texts a loop beats the call into native code.
      for (let index = 0; index < text.length; index++) {
        const code = text.charCodeAt(index);
        if (code >= 0x80) {
          end = start + this.#bytes.write(text, start, "utf8");
          break;
        }
        this.#bytes[end++] = code;
      }
    } else {
      end = start + this.#bytes.write(text, start, "utf8");
    }
    this.#view.setInt32(this.#length, end - start);
    this.#length = end;
  }

  bytea(value: Uint8Array | undefined): void {
    if (value === undefined) {
      this.#null();
      return;
    }
    this.#reserve(value.length + maxFixedBytes);
    this.#view.setInt32(this.#length, value.length);
    this.#bytes.set(value, this.#length + 4);
    this.#length += 4 + value.length;
  }

  jsonb(value: unknown): void {
    if (value === undefined) {
      this.#null();
      return;
    }
    const text = JSON.stringify(value);
    this.#reserve(text.length * maxBytesPerCodeUnit + maxFixedBytes);
    const written = this.#bytes.write(text, this.#length + 5, "utf8");
    this.#view.setInt32(this.#length, written + 1);
    this.#bytes[this.#length + 4] = jsonbVersion;
    this.#length += 5 + written;
  }

  #int16(value: number): void {
    this.#view.setInt16(this.#length, value);
    this.#length += 2;
  }

  #null(): void {
    this.#view.setInt32(this.#length, nullLength);
    this.#length += 4;
  }

  #reserve(bytes: number): void {
    if (this.#length + bytes > this.#bytes.length) {
      this.#resize(Math.max(this.#bytes.length * 2, this.#length + bytes));
    }
  }

  #resize(bytes: number): void {
    const larger = Buffer.allocUnsafeSlow(bytes);
    this.#bytes.copy(larger, 0, 0, Math.min(this.#length, bytes));
    this.#bytes = larger;
    this.#view = viewOf(larger);
  }
}

/** Room for some 2,500 plain heartbeats. */
const initialBytes = 1024 * 1024;

/** A larger buffer served one exceptional batch and is given back. */
const maxKeptBytes = 8 * 1024 * 1024;

/** More than a row takes without its texts, digest and documents, each of which reserves for itself and what follows. */
const maxFixedBytes = 512;

/** Signature, flags (none) and the length of the header extension (none). */
const header = Buffer.concat([Buffer.from("PGCOPY\n\xff\r\n\0", "latin1"), Buffer.alloc(8)]);

const endOfData = -1;
const nullLength = -1;
const jsonbVersion = 1;
const postgresEpochMs = Date.UTC(2000, 0, 1);
const two32 = 2 ** 32;
const dash = 0x2d;
const maxBytesPerCodeUnit = 3;
const longestCopiedText = 40;

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function hexDigit(code: number): number {
  // "0"-"9", then "A"-"F" and "a"-"f", whose low four bits are 1 to 6.
  return code <= 0x39 ? code - 0x30 : (code & 0x0f) + 9;
}
