/** Room before a piece's content: for the envelope of a message (at most 23 bytes) and a transport's frame header. */
const pieceHeadBytes = 32;

/** Room behind a piece's content: for what a message has after its data, such as a checksum. */
const pieceTailBytes = 8;

/**
 * A piece of a download in memory that can be used again. There is room around the content, so that a message can be
 * written around it where it lies.
 */
export class Piece {
  readonly #pool: PiecePool;
  readonly #length: number;
  #memory: Buffer | undefined;

  constructor(pool: PiecePool, memory: Buffer, length: number) {
    this.#pool = pool;
    this.#memory = memory;
    this.#length = length;
  }

  /** The content. */
  get data(): Buffer<ArrayBuffer> {
    return this.#held().subarray(pieceHeadBytes, pieceHeadBytes + this.#length) as Buffer<ArrayBuffer>;
  }

  /** The content between `head` and `tail`, which must fit the room around it. Not copied: `data` lies in the middle. */
  wrapped(head: Uint8Array, tail: Uint8Array): Buffer {
    if (head.length > pieceHeadBytes || tail.length > pieceTailBytes) {
      throw new RangeError("the envelope does not fit the room around a piece");
    }
    const memory = this.#held();
    const start = pieceHeadBytes - head.length;
    const end = pieceHeadBytes + this.#length;
    memory.set(head, start);
    memory.set(tail, end);
    return memory.subarray(start, end + tail.length);
  }

  /**
   * Gives the memory back: nobody may look at what was taken from the piece from now on. A piece that is never released
   * is left to the garbage collector. Idempotent.
   */
  release(): void {
    const memory = this.#memory;
    this.#memory = undefined;
    if (memory !== undefined) this.#pool.give(memory);
  }

  #held(): Buffer {
    if (this.#memory === undefined) throw new Error("a piece was used after its release");
    return this.#memory;
  }
}

/**
 * Memory for pieces of one size. Every MiB that is allocated outside the JavaScript heap brings the next collection of the
 * whole heap nearer (V8 makes one for some 60 MiB): in a service with a heap of 50 MiB that took a third of the time of a
 * download, and most of the time that its buffers took was the kernel's, which clears fresh pages.
 */
export class PiecePool {
  readonly #pieceBytes: number;
  readonly #free: Buffer[] = [];

  constructor(pieceBytes: number) {
    this.#pieceBytes = pieceBytes;
  }

  /** A piece whose content `fill` writes into the memory it is given; it returns how many bytes it wrote. */
  async fill(write: (memory: Buffer) => Promise<number>): Promise<Piece> {
    const memory =
      this.#free.pop() ?? Buffer.allocUnsafeSlow(pieceHeadBytes + this.#pieceBytes + pieceTailBytes);
    const length = await write(memory.subarray(pieceHeadBytes, pieceHeadBytes + this.#pieceBytes));
    return new Piece(this, memory, length);
  }

  /** For {@link Piece.release}. */
  give(memory: Buffer): void {
    if (this.#free.length < maxFreePieces) this.#free.push(memory);
  }
}

/** Memory that waits for the next download; with pieces of 256 KiB 8 MiB, enough for some downloads at full speed. */
const maxFreePieces = 32;
