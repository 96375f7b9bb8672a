/** A function of a program, where it lies in memory as the file says. */
export interface NamedFunction {
  readonly name: string;
  readonly address: number;
  /** In bytes; 0 if the file does not say, then it reaches to the next one. */
  readonly size: number;
}

/** The functions of a program by their addresses. */
export class FunctionTable {
  readonly #functions: readonly NamedFunction[];

  /** In any order; of several at one address the first counts. */
  constructor(functions: readonly NamedFunction[]) {
    this.#functions = functions.toSorted((a, b) => a.address - b.address);
  }

  get size(): number {
    return this.#functions.length;
  }

  /** The name of the function that an address lies in, as the compiler wrote it; undefined if in none. */
  nameAt(address: number): string | undefined {
    let [low, high] = [0, this.#functions.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#functions[middle]?.address ?? 0) <= address) low = middle + 1;
      else high = middle;
    }
    const last = this.#functions[low - 1];
    if (last === undefined) return undefined;
    let first = low - 1;
    while (this.#functions[first - 1]?.address === last.address) first--;
    const found = this.#functions[first] ?? last;
    return found.size > 0 && address >= found.address + found.size ? undefined : found.name;
  }
}
